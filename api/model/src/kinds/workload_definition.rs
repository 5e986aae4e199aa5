//! WorkloadDefinition: a set of Kubernetes objects as a template; it has no footprint of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    condition::Condition,
    kind::{Column, Kind, MESSAGE, READY, REASON},
    manifest,
    problem::FieldError,
};

/// See the module.
pub struct WorkloadDefinition;

/// What a workload consists of: exactly one of `manifests` and `yamlDocument`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Kubernetes objects, embedded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub manifests: Option<Vec<Value>>,
    /// Kubernetes objects as multi-document YAML, up to 8 MiB through REST.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub yaml_document: Option<String>,
}

/// What is known of a definition and its instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation that the status speaks about.
    pub observed_generation: i64,
    /// `Accepted`, `Ready`, and `Reconciling` or `Stalled` where they apply.
    pub conditions: Vec<Condition>,
    /// The objects that the definition holds.
    pub resources: Vec<ResourceIdentity>,
    /// The images that its built-in kinds use.
    pub images: Vec<ImageUse>,
    /// How its instances are.
    pub instances: InstanceCounts,
}

/// Which object a document describes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceIdentity {
    /// Empty for the core group.
    #[serde(default)]
    pub group: String,
    /// As in `apiVersion`, without the group.
    pub version: String,
    /// As in `kind:`.
    pub kind: String,
    /// Empty for cluster-scoped objects, and where the document leaves it to the instance.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// As in `metadata.name`.
    pub name: String,
}

/// An image that a definition uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageUse {
    /// In full: `docker.io/library/nginx`.
    pub repository: String,
    /// Tag or digest.
    pub reference: String,
    /// The delivery that pinned it, if one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pinned_by: Option<String>,
}

/// Living, not suspended instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceCounts {
    /// All of them.
    pub total: i64,
    /// Those that have applied this very generation.
    pub current: i64,
    /// Those that are Ready for it.
    pub ready: i64,
}

impl Kind for WorkloadDefinition {
    const KIND: &'static str = "WorkloadDefinition";
    const PLURAL: &'static str = "workloaddefinitions";
    const SINGULAR: &'static str = "workloaddefinition";
    const SHORT_NAME: &'static str = "tpwd";
    const DESCRIPTION: &'static str = "A set of Kubernetes objects as a template that instances place.";
    const COLUMNS: &'static [Column] = &[
        READY,
        REASON,
        Column::number("INSTANCES", ".status.instances.total"),
        Column::number("CURRENT", ".status.instances.current"),
        MESSAGE,
    ];
    type Spec = Spec;
    type Status = Status;

    fn validate(spec: &Spec) -> Vec<FieldError> {
        match manifest::of_spec(spec) {
            Ok(_) => Vec::new(),
            Err(errors) => errors,
        }
    }
}
