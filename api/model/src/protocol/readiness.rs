//! `GET /readiness`: what `/readyz` says to people, for programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The reason of an API that has no connection to NATS.
pub const NATS_UNAVAILABLE: &str = "NatsUnavailable";
/// The reason of an API whose serving certificate ends soon, as nobody renewed it.
pub const CERTIFICATE_ENDS: &str = "CertificateEnds";

/// How an API is that can serve; one that can't refuses to say more than that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// What does not work all the same; the most urgent is first.
    pub degraded: Vec<Degradation>,
}

/// Something that does not work, though the API serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Degradation {
    /// For programs: `NatsUnavailable`, `CertificateEnds`; a later version may know others.
    pub reason: String,
    /// For people: what does not work, and what comes of it.
    pub message: String,
}

impl Degradation {
    /// Something that does not work.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }
}
