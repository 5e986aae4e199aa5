//! How an object in a cluster says whose it is: labels, annotations, field managers.
//!
//! Identity is on an object from its first write, and nothing without it is ever written or removed. Names and
//! values are a contract with every cluster that was ever touched: never change one.

use std::collections::BTreeMap;

use uuid::Uuid;

/// Label: id of the control plane that made the object.
pub const CONTROL_PLANE: &str = "threeport.io/control-plane";
/// Label: id of the instance that the object belongs to.
pub const INSTANCE: &str = "threeport.io/instance";
/// Label: the instance's name, for people.
pub const INSTANCE_NAME: &str = "threeport.io/instance-name";
/// Label of a custom resource: `api` where it is a mirror. Only a facade's ServiceAccount may set it.
pub const MANAGED_BY: &str = "threeport.io/managed-by";
/// Label of a namespace that a control plane serves with custom resources.
pub const SERVED: &str = "threeport.io/control-plane-namespace";
/// Annotation that allows an immutable field to be changed by deleting and creating: value `recreate`.
pub const ON_IMMUTABLE: &str = "threeport.io/on-immutable";
/// Annotation of an object that a control plane applied: the hash of what it applied.
pub const PLAN_HASH: &str = "threeport.io/plan-hash";
/// Finalizer of custom resources whose deletion must reach the API first.
pub const FINALIZER: &str = "threeport.io/deletion";
/// What a placeholder of a stored secret value starts with; the keyed digest follows.
pub const SECRET_PLACEHOLDER: &str = "threeport.io/secret:";

/// Annotation in which kubectl keeps all that it applied last, secret values included.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The labels of an object of `instance`.
pub fn labels(control_plane: Uuid, instance: Uuid, instance_name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (CONTROL_PLANE.to_owned(), control_plane.to_string()),
        (INSTANCE.to_owned(), instance.to_string()),
        (INSTANCE_NAME.to_owned(), instance_name.to_owned()),
    ])
}

/// The field manager under which a control plane applies. At most 128 characters, as Kubernetes wants.
pub fn field_manager(control_plane: Uuid) -> String {
    format!("threeport-{control_plane}")
}
