//! The kinds, a file each. A new kind is a file here and a line in [`ALL`].

pub mod control_plane_definition;
pub mod control_plane_instance;
pub mod event;
pub mod kubernetes_runtime_definition;
pub mod kubernetes_runtime_instance;
pub mod operation;
pub mod workload_definition;
pub mod workload_instance;

pub use control_plane_definition::ControlPlaneDefinition;
pub use control_plane_instance::ControlPlaneInstance;
pub use kubernetes_runtime_definition::KubernetesRuntimeDefinition;
pub use kubernetes_runtime_instance::KubernetesRuntimeInstance;
pub use workload_definition::WorkloadDefinition;
pub use workload_instance::WorkloadInstance;

use crate::kind::KindDescriptor;

/// Every kind that a person can write, in the order in which they are shown.
pub static ALL: &[KindDescriptor] = &[
    KindDescriptor::of::<WorkloadDefinition>(),
    KindDescriptor::of::<WorkloadInstance>(),
    KindDescriptor::of::<KubernetesRuntimeDefinition>(),
    KindDescriptor::of::<KubernetesRuntimeInstance>(),
    KindDescriptor::of::<ControlPlaneDefinition>(),
    KindDescriptor::of::<ControlPlaneInstance>(),
];
