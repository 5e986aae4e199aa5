//! KubernetesRuntimeDefinition: what kind of cluster a runtime is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::Condition,
    kind::{Column, Kind, MESSAGE, READY, REASON},
    problem::FieldError,
};

/// See the module.
pub struct KubernetesRuntimeDefinition;

/// How a cluster is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Who provides it. Only `existing` is served now.
    #[serde(default)]
    pub infra_provider: InfraProvider,
    /// The provider's account, where it needs one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub infra_provider_account_name: Option<String>,
    /// Spread over zones.
    #[serde(default)]
    pub high_availability: bool,
    /// Size of its nodes.
    #[serde(default)]
    pub node_size: NodeSize,
    /// What its nodes are good at.
    #[serde(default)]
    pub node_profile: NodeProfile,
    /// Most nodes that it may grow to.
    #[serde(default = "node_maximum")]
    #[schemars(range(min = 1, max = 5000))]
    pub node_maximum: i64,
}

fn node_maximum() -> i64 {
    250
}

/// Who provides a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum InfraProvider {
    /// It is there already.
    #[default]
    Existing,
    /// kind, on a developer's machine.
    Kind,
    /// Amazon EKS.
    Eks,
}

/// Size of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum NodeSize {
    #[serde(rename = "2XSmall")]
    TwoXSmall,
    XSmall,
    Small,
    #[default]
    Medium,
    Large,
    XLarge,
    #[serde(rename = "2XLarge")]
    TwoXLarge,
    #[serde(rename = "3XLarge")]
    ThreeXLarge,
    #[serde(rename = "4XLarge")]
    FourXLarge,
}

/// What nodes are good at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum NodeProfile {
    #[default]
    Balanced,
    ComputeOptimized,
    MemoryOptimized,
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

impl Kind for KubernetesRuntimeDefinition {
    const KIND: &'static str = "KubernetesRuntimeDefinition";
    const PLURAL: &'static str = "kubernetesruntimedefinitions";
    const SINGULAR: &'static str = "kubernetesruntimedefinition";
    const SHORT_NAME: &'static str = "tpkrd";
    const DESCRIPTION: &'static str = "What kind of Kubernetes cluster a runtime is.";
    const COLUMNS: &'static [Column] = &[
        READY,
        REASON,
        Column::text("PROVIDER", ".spec.infraProvider"),
        MESSAGE,
    ];
    type Spec = Spec;
    type Status = Status;

    fn validate(spec: &Spec) -> Vec<FieldError> {
        if (1..=5000).contains(&spec.node_maximum) {
            Vec::new()
        } else {
            vec![FieldError::new("spec.nodeMaximum", "must be between 1 and 5000")]
        }
    }

    fn not_supported(spec: &Spec) -> Vec<FieldError> {
        if spec.infra_provider == InfraProvider::Existing {
            Vec::new()
        } else {
            vec![FieldError::new(
                "spec.infraProvider",
                "only \"existing\" is served by this version",
            )]
        }
    }
}
