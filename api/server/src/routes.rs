//! The routes, a file per group. A handler parses, asks the store, converts the answer; nothing below it knows HTTP.
//!
//! A new route is an entry in its group's `ROUTES` (see [`crate::router::Route`]); a new kind needs nothing here.

pub mod agents;
pub mod apply;
pub mod claims;
pub mod events;
pub mod health;
pub mod history;
pub mod inventory;
pub mod objects;
pub mod openapi;
pub mod operations;
pub mod sources;
pub mod status;
pub mod watch;
pub mod whoami;
