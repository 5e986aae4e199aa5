//! `POST /v1alpha1/apply`: many objects, one transaction, any order. The body is `kind: List`, one object, a JSON
//! array of objects (`application/json`) or multi-document YAML (`application/yaml`). `?dryRun=true` answers the
//! same and stores nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::object::Object;

/// What became of each object, in the order in which they were sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyResponse {
    /// Finds this very request in operations and logs.
    pub operation_id: Uuid,
    /// True where nothing was stored because that was asked for.
    #[serde(default)]
    pub dry_run: bool,
    /// One per object.
    pub results: Vec<Applied>,
}

/// What became of one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// What was done.
    pub outcome: Outcome,
    /// The object as it is now.
    pub object: Object,
}

/// What was done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was not there.
    Created,
    /// Its specification, labels or annotations changed.
    Configured,
    /// Nothing changed.
    Unchanged,
}
