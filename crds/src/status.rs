//! What the status of every custom resource has beside the fields of its kind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use threeport_model::ManagedBy;
use uuid::Uuid;

/// A kind's status as its custom resource shows it: `observedGeneration`, at the top and in each condition, is the
/// custom resource's own, never the database's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status<S> {
    /// The kind's own fields.
    #[serde(flatten)]
    pub kind: S,
    /// What the control plane's API has of this object.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub api: Option<ApiStatus>,
}

/// What the control plane's API has of an object: the numbers that REST shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiStatus {
    /// The object's id in the database.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<Uuid>,
    /// The database's generation of the desired state that is shown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<i64>,
    /// The generation of this custom resource that the database's generation stands for; absent where the database
    /// does not have what you see.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub synced_generation: Option<i64>,
    /// With the id, the ETag of REST.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resource_version: Option<i64>,
    /// Who may change the specification.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub managed_by: Option<ManagedBy>,
    /// The last operation that this custom resource asked the API for; finds it in `tptctl` and in logs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub operation_id: Option<String>,
}
