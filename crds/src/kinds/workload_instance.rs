//! WorkloadInstance as a custom resource. Its fields are declared in `threeport_model::kinds::workload_instance`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use threeport_model::kinds::{self, workload_instance};

use crate::{Status, definition};

type KindStatus = Status<workload_instance::Status>;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "threeport.io",
    version = "v1alpha1",
    kind = "WorkloadInstance",
    namespaced,
    status = "KindStatus"
)]
#[serde(transparent)]
pub struct Spec(pub workload_instance::Spec);

/// The definition to install.
pub fn crd() -> CustomResourceDefinition {
    definition::complete::<kinds::WorkloadInstance>(WorkloadInstance::crd(), &[])
}
