//! Objects: reading, listing, and the ways of writing. Every way ends in [`write`] or [`remove`]; [`change`] says what
//! differs, and [`rows`] has the statements. A [`draft`] is an object as somebody wants it, a [`row`] as it is stored.

mod apply;
pub(crate) mod change;
pub(crate) mod circle;
mod cluster;
pub(crate) mod create;
mod delete;
pub(crate) mod draft;
pub(crate) mod list;
pub(crate) mod owner;
mod plan;
pub(crate) mod read;
pub(crate) mod remove;
pub(crate) mod row;
pub(crate) mod rows;
mod secrets;
pub(crate) mod selector;
mod source;
mod take_over;
mod update;
pub(crate) mod write;
