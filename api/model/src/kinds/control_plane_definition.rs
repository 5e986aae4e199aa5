//! ControlPlaneDefinition: how control planes of one sort are configured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    condition::Condition,
    kind::{Column, Kind, MESSAGE, READY, REASON},
};

/// See the module.
pub struct ControlPlaneDefinition;

/// What instances have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Whether callers must authenticate. `false` is for tests.
    #[serde(default = "yes")]
    pub auth_enabled: bool,
    /// Whether a child gets its parent's and genesis' records.
    #[serde(default = "yes")]
    pub onboard_parent: bool,
    /// Chart values for all instances.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty", default)]
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub values: serde_json::Map<String, Value>,
}

fn yes() -> bool {
    true
}

/// Whether the definition can be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation that the status speaks about.
    pub observed_generation: i64,
    /// `Accepted` and `Ready`.
    pub conditions: Vec<Condition>,
}

impl Kind for ControlPlaneDefinition {
    const KIND: &'static str = "ControlPlaneDefinition";
    const PLURAL: &'static str = "controlplanedefinitions";
    const SINGULAR: &'static str = "controlplanedefinition";
    const SHORT_NAME: &'static str = "tpcpd";
    const DESCRIPTION: &'static str = "How control planes of one sort are configured.";
    const COLUMNS: &'static [Column] = &[READY, REASON, MESSAGE];
    type Spec = Spec;
    type Status = Status;
}
