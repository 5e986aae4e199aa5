//! `PUT /v1alpha1/sources/{uid}` and `DELETE`: how the facade brings a custom resource that Kubernetes manages to the
//! database. The store refuses an older generation of the same uid.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A custom resource as its author left it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceRequest {
    /// The kind.
    pub kind: String,
    /// The name.
    pub name: String,
    /// `metadata.generation` of the custom resource.
    pub generation: i64,
    /// Raw: what it says that the API does not know is the API's to refuse.
    pub spec: Value,
    /// Without server-owned ones.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Without server-owned ones.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Seen, read from the cluster itself and not from a cache, to be behind what was taken from it before: its etcd was
    /// restored. Otherwise an older generation is late, and refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub regressed: bool,
    /// Who wrote it, where the cluster can tell; else the field manager and "user unknown".
    #[serde(default)]
    pub on_behalf_of: Option<String>,
}
