//! Event: what happened to an object. Read through the API only; equal ones are counted, not repeated.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The event's own id.
    pub id: Uuid,
    /// The object that it happened to.
    pub object_id: Uuid,
    /// Its kind.
    pub object_kind: String,
    /// Its name.
    pub object_name: String,
    /// Normal or Warning.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// CamelCase.
    pub reason: String,
    /// In the past tense, naming object and value.
    pub message: String,
    /// How often it happened.
    pub count: i64,
    /// When first.
    pub first_seen: jiff::Timestamp,
    /// When last.
    pub last_seen: jiff::Timestamp,
}

/// Normal or Warning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum EventType {
    #[default]
    Normal,
    Warning,
}

/// An event as a controller reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewEvent {
    /// The object that it happened to.
    pub object_id: Uuid,
    /// Normal or Warning.
    #[serde(rename = "type", default)]
    pub kind: EventType,
    /// CamelCase.
    pub reason: String,
    /// In the past tense, naming object and value.
    pub message: String,
}
