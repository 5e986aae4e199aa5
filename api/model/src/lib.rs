//! Every kind of Threeport, declared once, and the words that its parts speak with each other.
//!
//! A kind is one file in [`kinds`]: its specification, status, references, rules and columns. From that one
//! declaration come the REST body and its validation, the OpenAPI schema, the custom resource and the CLI's
//! columns. What the parts say to each other beyond objects (claims, inventory, observations, problems) is in
//! [`protocol`] and [`problem`]. Nothing in this crate does I/O, reads a clock or makes a random number.
//!
//! What not to do: don't put behaviour of one part (a table name, an HTTP status, a kube type) in here; don't
//! declare the same field a second time elsewhere.

pub mod condition;
pub mod digest;
pub mod document;
pub mod duration;
pub mod etag;
mod explain;
pub mod identity;
pub mod image;
pub mod kind;
pub mod kinds;
pub mod manifest;
pub mod name;
pub mod object;
pub mod ownership;
pub mod problem;
pub mod protocol;
pub mod selector;
pub mod typed;
pub mod yaml;

pub use condition::{Condition, ConditionStatus};
pub use etag::Etag;
pub use explain::explain;
pub use kind::{Column, Kind, KindDescriptor, Reference, find_kind};
pub use object::{API_VERSION, GROUP, ManagedBy, Metadata, Object, VERSION};
pub use problem::{Code, FieldError, Problem};
