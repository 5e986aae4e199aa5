//! `GET /v1alpha1/watch?since=<token>&kinds=A,B`: server-sent events. Event names are `changed`, `removed` and
//! `bookmark`; the data is a [`WatchEvent`], the event id the token to continue with. 410 Gone: list again.
//! Delivery is at least once; nobody's correctness rests on it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::object::Object;

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum WatchEvent {
    /// Created, or changed in metadata, specification or status.
    Changed {
        /// As it is now.
        object: Box<Object>,
    },
    /// A tombstone, or out of the selector or the watcher's rights.
    Removed {
        /// Its id.
        id: Uuid,
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Nothing happened, but the token moved on.
    Bookmark,
}
