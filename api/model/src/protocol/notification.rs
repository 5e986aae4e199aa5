//! What JetStream carries: which object may need work. No object, no verb. A hint, never the truth.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The stream's name, unless the installation's prefix says otherwise.
pub const STREAM: &str = "threeport-desired";
/// What subjects start with; `<kind plural>.<id>` follows.
pub const SUBJECT_PREFIX: &str = "threeport.desired";
/// Header: W3C trace context.
pub const TRACE_HEADER: &str = "traceparent";
/// Header: `relay` where the relay published it, [`MANY`] where its commit made work for hundreds, else `commit`.
pub const ORIGIN_HEADER: &str = "threeport-origin";
/// See [`ORIGIN_HEADER`]. Who doesn't know it takes it for `commit`.
pub const MANY: &str = "many";

/// The payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The object.
    pub id: Uuid,
    /// Of its pending row when it was published.
    pub token: String,
}

/// The subject of one object: `threeport.desired.workloadinstances.<id>`.
pub fn subject(plural: &str, id: Uuid) -> String {
    format!("{SUBJECT_PREFIX}.{plural}.{id}")
}
