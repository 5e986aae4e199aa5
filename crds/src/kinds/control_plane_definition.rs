//! ControlPlaneDefinition as a custom resource. Its fields are declared in `threeport_model::kinds::control_plane_definition`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use threeport_model::kinds::{self, control_plane_definition};

use crate::{Status, definition};

type KindStatus = Status<control_plane_definition::Status>;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "threeport.io",
    version = "v1alpha1",
    kind = "ControlPlaneDefinition",
    namespaced,
    status = "KindStatus"
)]
#[serde(transparent)]
pub struct Spec(pub control_plane_definition::Spec);

/// The definition to install.
pub fn crd() -> CustomResourceDefinition {
    definition::complete::<kinds::ControlPlaneDefinition>(ControlPlaneDefinition::crd(), &[])
}
