//! KubernetesRuntimeInstance as a custom resource. Its fields are declared in `threeport_model::kinds::kubernetes_runtime_instance`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use threeport_model::kinds::{self, kubernetes_runtime_instance};

use crate::{Status, definition, schema::Rule};

type KindStatus = Status<kubernetes_runtime_instance::Status>;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "threeport.io",
    version = "v1alpha1",
    kind = "KubernetesRuntimeInstance",
    namespaced,
    status = "KindStatus"
)]
#[serde(transparent)]
pub struct Spec(pub kubernetes_runtime_instance::Spec);

const RULES: &[Rule] = &[Rule {
    at: "/properties/connection",
    rule: "[has(self.inCluster), has(self.kubeconfig), has(self.eks)].filter(way, way).size() == 1",
    message: "must have exactly one of inCluster, kubeconfig and eks",
}];

/// The definition to install.
pub fn crd() -> CustomResourceDefinition {
    definition::complete::<kinds::KubernetesRuntimeInstance>(KubernetesRuntimeInstance::crd(), RULES)
}
