//! What an agent and the API say to each other: registration, heartbeat, observations.
//!
//! The API issues an epoch at registration; an agent that learns (409 Conflict) that there is a newer one registers
//! anew. An epoch begins with a snapshot per kind, which is closed only where its list was complete: what is not in a
//! closed snapshot is Missing; what could not be listed is Unknown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::kinds::workload_instance::{Health, RunningImage};

/// How often an agent says that it is there, in seconds.
pub const HEARTBEAT_SECONDS: u64 = 2;
/// After how long without a word an agent counts as not heard, in seconds.
pub const HEARD_SECONDS: i64 = 12;
/// The most observations in one request.
pub const MAX_OBSERVATIONS: usize = 500;

/// `POST /v1alpha1/agents`: registers an agent of a runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisterRequest {
    /// Name of the KubernetesRuntimeInstance; the one the control plane runs in where absent.
    #[serde(default)]
    pub runtime: Option<String>,
    /// The agent's version.
    pub version: String,
}

/// What a registered agent must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisterResponse {
    /// Whose objects to look for.
    pub control_plane_id: Uuid,
    /// The runtime's id.
    pub runtime_id: Uuid,
    /// Goes with everything that the agent says from now on.
    pub epoch: i64,
    /// What to watch.
    pub watches: Watches,
}

/// The kinds to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watches {
    /// Digest of `kinds`; a heartbeat's answer with another one says: ask again.
    pub revision: String,
    /// The kinds in the runtime's inventory, sorted. The agent adds Pods by itself, for reasons.
    pub kinds: Vec<WatchedKind>,
}

/// One kind to watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchedKind {
    /// Empty for the core group.
    pub group: String,
    /// The version to watch it in.
    pub version: String,
    /// As in `kind:`.
    pub kind: String,
}

/// `POST /v1alpha1/agents/{runtimeId}/heartbeat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatRequest {
    /// The agent's epoch.
    pub epoch: i64,
    /// [`HeartbeatResponse::seen`] or [`ObservationsResponse::seen`] of the last answer: a database that does not remember it
    /// was set back, and with it what it knows of the epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<jiff::Timestamp>,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatResponse {
    /// See [`Watches::revision`]; what changed is asked for by `GET /v1alpha1/agents/{runtimeId}/watches`.
    pub watches_revision: String,
    /// When the agent was heard, by the database's clock; goes with the next heartbeat.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<jiff::Timestamp>,
}

/// `POST /v1alpha1/agents/{runtimeId}/observations`: what the agent saw, in the order in which it saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservationsRequest {
    /// The agent's epoch.
    pub epoch: i64,
    /// Monotone within the epoch; an older one is dropped per object.
    pub sequence: i64,
    /// At most [`MAX_OBSERVATIONS`].
    pub observations: Vec<Observation>,
    /// Kinds whose complete list ends with this request: what was not in it since the epoch began is Missing.
    #[serde(default)]
    pub closed: Vec<WatchedKind>,
    /// Kinds that can't be listed now, and why: their objects are Unknown.
    #[serde(default)]
    pub unlistable: Vec<Unlistable>,
}

/// A kind that can't be listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unlistable {
    /// Which.
    pub kind: WatchedKind,
    /// Why.
    pub message: String,
}

/// What was seen of one object that carries our control plane's label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// Empty for the core group.
    pub group: String,
    /// The version it was watched in.
    pub version: String,
    /// As in `kind:`.
    pub kind: String,
    /// Empty for cluster-scoped objects.
    #[serde(default)]
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The object's uid.
    pub uid: String,
    /// From its label.
    pub instance_id: Uuid,
    /// Its `metadata.resourceVersion`.
    pub resource_version: String,
    /// See [`crate::ownership`]; absent where our entry is gone.
    #[serde(default)]
    pub ownership_digest: Option<String>,
    /// Other field managers of the object, sorted; for naming who fights.
    #[serde(default)]
    pub other_managers: Vec<String>,
    /// How it is. `Missing`: it was seen to be deleted.
    pub health: Health,
    /// Why, the pod's reason first.
    #[serde(default)]
    pub message: String,
    /// Images that its pods run.
    #[serde(default)]
    pub images: Vec<RunningImage>,
    /// Of a Job: the plan hash for which it completed, also when it is being deleted or gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
}

/// What became of observations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservationsResponse {
    /// How many changed something.
    pub changed: i64,
    /// Observed objects whose instance the database doesn't know; they are left alone.
    #[serde(default)]
    pub unknown: Vec<Uuid>,
    /// When the agent was heard by this, by the database's clock; goes with the next heartbeat.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<jiff::Timestamp>,
}

/// What the database knows of a runtime's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentState {
    /// The runtime that it is in.
    #[serde(default)]
    pub runtime_id: Option<Uuid>,
    /// Its epoch.
    pub epoch: i64,
    /// Its version.
    pub version: String,
    /// When it was last heard, by the database's clock.
    pub last_seen: jiff::Timestamp,
    /// Whether that is less than [`HEARD_SECONDS`] ago, by the same clock.
    pub heard: bool,
    /// The kinds whose snapshot of this epoch is closed.
    #[serde(default)]
    pub closed: Vec<WatchedKind>,
}
