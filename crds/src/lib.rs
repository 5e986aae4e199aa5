//! The custom resources of Threeport: for each kind of the model one wrapper of the same name, and the
//! CustomResourceDefinition made from it.
//!
//! kube-derive gives the typed wrapper and the schema of the model's specification and status; names, columns and
//! texts come from the kind's own declaration ([`definition`]), and [`schema`] makes of the schema what a
//! Kubernetes API server takes and what the API wants to answer to itself. So nothing is declared twice.
//!
//! The files in `yaml/` are what `crdgen` writes; a test fails where they are out of date. Schemas only grow within
//! v1alpha1: an older operator must be able to live with a newer definition.
//!
//! What not to do: don't add defaults to a specification's schema. The API fills them in; a custom resource stays
//! as its author wrote it, so that GitOps tools see no difference.

pub mod definition;
pub mod kinds;
pub mod resource;
pub mod schema;
pub mod status;

pub use definition::{HASH_ANNOTATION, VERSION_ANNOTATION};
pub use kinds::all;
pub use resource::CustomResource;
pub use status::{ApiStatus, Status};

/// What a definition is called in its file in `yaml/`: `workloadinstances.yaml`.
pub fn file_name(plural: &str) -> String {
    format!("{plural}.yaml")
}
