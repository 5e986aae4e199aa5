//! ControlPlaneInstance: a control plane. The first form has one record, that of the control plane itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    condition::Condition,
    kind::{Column, Kind, MESSAGE, READY, REASON, Reference},
    kinds::{ControlPlaneDefinition, KubernetesRuntimeInstance},
    name,
    problem::FieldError,
};

/// See the module.
pub struct ControlPlaneInstance;

/// The slot of the record of itself.
pub const SELF_SLOT: &str = "control-plane/self";

/// Where a control plane runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Name of the ControlPlaneDefinition.
    pub definition: String,
    /// Name of the KubernetesRuntimeInstance that it runs in.
    pub runtime: String,
    /// The namespace that it runs in.
    pub namespace: String,
    /// The wanted version; what runs where absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
}

/// What a control plane says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation that the status speaks about.
    pub observed_generation: i64,
    /// `Ready`.
    pub conditions: Vec<Condition>,
    /// Whether this is the control plane that answers.
    pub is_self: bool,
    /// Whether it has no parent.
    pub genesis: bool,
    /// Who installed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Names of those that it installed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// Where its API is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_endpoint: Option<String>,
    /// What runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Version of its database schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<i64>,
    /// Its parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
}

/// Who installed a control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parent {
    /// Its name.
    pub name: String,
    /// Where its API is.
    pub endpoint: String,
}

/// A part of a control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// As in `threeport-api`.
    pub name: String,
    /// Replicas that are ready.
    pub ready: i64,
    /// Replicas that are wanted.
    pub desired: i64,
    /// What they run.
    pub image: String,
}

impl Kind for ControlPlaneInstance {
    const KIND: &'static str = "ControlPlaneInstance";
    const PLURAL: &'static str = "controlplaneinstances";
    const SINGULAR: &'static str = "controlplaneinstance";
    const SHORT_NAME: &'static str = "tpcpi";
    const DESCRIPTION: &'static str = "A Threeport control plane.";
    const COLUMNS: &'static [Column] = &[
        READY,
        REASON,
        Column::text("NAMESPACE", ".spec.namespace"),
        Column::text("VERSION", ".status.version"),
        Column::text("RUNTIME", ".spec.runtime"),
        MESSAGE,
    ];
    type Spec = Spec;
    type Status = Status;

    fn validate(spec: &Spec) -> Vec<FieldError> {
        let fields = [
            (Reference::DEFINITION, &spec.definition),
            (Reference::RUNTIME, &spec.runtime),
            ("spec.namespace", &spec.namespace),
        ];
        let problem = |(field, value): (&str, &String)| Some(FieldError::new(field, name::problem(value)?));
        fields.into_iter().filter_map(problem).collect()
    }

    fn references(spec: &Spec) -> Vec<Reference> {
        vec![
            Reference::new(
                Reference::DEFINITION,
                ControlPlaneDefinition::KIND,
                &spec.definition,
            ),
            Reference::new(Reference::RUNTIME, KubernetesRuntimeInstance::KIND, &spec.runtime),
        ]
    }
}
