//! The kinds, a file each, of the same name as in the model. A new kind is a file here and a line in [`all`].

pub mod control_plane_definition;
pub mod control_plane_instance;
pub mod kubernetes_runtime_definition;
pub mod kubernetes_runtime_instance;
pub mod workload_definition;
pub mod workload_instance;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// The definitions of all kinds, in the order of the model's `ALL`.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        workload_definition::crd(),
        workload_instance::crd(),
        kubernetes_runtime_definition::crd(),
        kubernetes_runtime_instance::crd(),
        control_plane_definition::crd(),
        control_plane_instance::crd(),
    ]
}
