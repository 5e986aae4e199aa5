//! `GET /whoami` and `GET /version`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who the API takes the caller for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// As operations record it.
    pub actor: String,
    /// What it may.
    pub role: Role,
    /// The control plane that answers.
    pub control_plane_id: Uuid,
    /// Its name.
    pub control_plane: String,
    /// The namespace that it runs in and serves custom resources in; empty outside of Kubernetes.
    pub namespace: String,
}

/// Who may what, in the first form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Objects and status of mirrored kinds.
    Facade,
    /// Claims, status, inventory, events.
    Controller,
    /// Its registration and observations.
    Agent,
    /// Nothing but `whoami`, `version`, health.
    None,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Of the program.
    pub version: String,
    /// Of the database schema.
    pub schema_version: i64,
    /// `sqlite`, `postgresql` or `cockroachdb`.
    pub database: String,
}
