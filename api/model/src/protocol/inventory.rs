//! `POST /v1alpha1/inventory`: the rows that say which live object belongs to which instance. They are written with
//! intent before the first apply, so that nothing that was ever made is forgotten.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::kinds::workload_instance::{Health, RunningImage};

/// One live (or intended) object of one instance in one runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryRow {
    /// The row's own id; made by who writes the intent.
    pub id: Uuid,
    /// The runtime.
    pub runtime_id: Uuid,
    /// The instance.
    pub instance_id: Uuid,
    /// Empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The version it was applied with; not part of the identity.
    pub version: String,
    /// As in `kind:`.
    pub kind: String,
    /// As in the REST path; empty until discovery told it.
    #[serde(default)]
    pub plural: String,
    /// Empty for cluster-scoped objects.
    #[serde(default)]
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// Of the live object; absent until the first apply was answered.
    #[serde(default)]
    pub uid: Option<String>,
    /// Digest of what was applied, without our own labels, secret values as placeholders.
    #[serde(default)]
    pub plan_hash: Option<String>,
    /// See [`crate::ownership`].
    #[serde(default)]
    pub ownership_digest: Option<String>,
    /// `metadata.resourceVersion` that the last apply was answered with. Health counts only from observations that
    /// are not older; that the object is Missing counts by its uid alone.
    #[serde(default)]
    pub applied_resource_version: Option<String>,
    /// Of a Job: the plan hash for which it was seen to complete.
    #[serde(default)]
    pub completed_hash: Option<String>,
    /// What an agent saw last. Server-owned: ignored when written by a controller.
    #[serde(default)]
    pub observed: Observed,
    /// Times at which a foreign change of a field of ours was healed, milliseconds since 1970, newest last, at most 5.
    #[serde(default)]
    pub healed_at: Vec<i64>,
    /// Whether an agent found the object, and the database has no record that the instance ever had it. Server-owned.
    #[serde(default)]
    pub unrecorded: bool,
}

/// What an agent saw of an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// How it is; Unknown until it was seen.
    pub health: Health,
    /// Why.
    pub message: String,
    /// Its uid.
    pub uid: Option<String>,
    /// Its `metadata.resourceVersion`.
    pub resource_version: Option<String>,
    /// See [`crate::ownership`].
    pub ownership_digest: Option<String>,
    /// Images that its pods run.
    pub images: Vec<RunningImage>,
    /// The epoch and sequence of the observation.
    pub epoch: i64,
    /// Within the epoch.
    pub sequence: i64,
    /// Who else owns fields of the object (field managers), where a field of ours was taken.
    pub other_managers: Vec<String>,
    /// By the database's clock.
    pub seen_at: Option<jiff::Timestamp>,
}

/// Writes rows with intent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntentRequest {
    /// The instance.
    pub instance_id: Uuid,
    /// The claim's fence.
    pub epoch: i64,
    /// New or changed rows. A row that another instance holds is not written; see the answer.
    pub rows: Vec<InventoryRow>,
}

/// What became of the intent: all rows or, where there are conflicts, none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntentResponse {
    /// Objects that other instances have already.
    pub conflicts: Vec<OwnedBy>,
}

/// An object that another instance has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnedBy {
    /// The wanted row.
    pub id: Uuid,
    /// The other instance's id.
    pub instance_id: Uuid,
    /// The other instance's name.
    pub instance_name: String,
}
