//! WorkloadDefinition as a custom resource. Its fields are declared in `threeport_model::kinds::workload_definition`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use threeport_model::kinds::{self, workload_definition};

use crate::{Status, definition, schema::Rule};

type KindStatus = Status<workload_definition::Status>;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "threeport.io",
    version = "v1alpha1",
    kind = "WorkloadDefinition",
    namespaced,
    status = "KindStatus"
)]
#[serde(transparent)]
pub struct Spec(pub workload_definition::Spec);

const RULES: &[Rule] = &[Rule {
    at: "",
    rule: "has(self.manifests) != has(self.yamlDocument)",
    message: "must have exactly one of manifests and yamlDocument",
}];

/// The definition to install.
pub fn crd() -> CustomResourceDefinition {
    definition::complete::<kinds::WorkloadDefinition>(WorkloadDefinition::crd(), RULES)
}
