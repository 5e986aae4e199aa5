//! Whose a live object is: read from its labels. Pure.

use serde_json::Value;
use threeport_model::identity::{CONTROL_PLANE, INSTANCE, INSTANCE_NAME};
use uuid::Uuid;

/// Whose a live object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This instance's.
    Ours,
    /// Another instance's of this control plane.
    Instance(String),
    /// Made by this control plane, and left by its instance since others live in it.
    Left,
    /// Another control plane's.
    ControlPlane(String),
    /// Somebody else's; who, as far as it says.
    Foreign(String),
}

impl Owner {
    /// Of an object with metadata.
    pub(super) fn of(object: &Value, control_plane: Uuid, instance: Uuid) -> Self {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        match (label(CONTROL_PLANE), label(INSTANCE)) {
            (Some(plane), _) if plane != control_plane.to_string() => Self::ControlPlane(plane.to_owned()),
            (Some(_), Some(other)) if other == instance.to_string() => Self::Ours,
            (Some(_), Some(other)) => Self::Instance(label(INSTANCE_NAME).unwrap_or(other).to_owned()),
            (Some(_), None) => Self::Left,
            (None, _) => Self::Foreign(foreign(object)),
        }
    }

    /// For messages: "belongs to ...".
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Ours => "this instance".to_owned(),
            Self::Instance(name) => format!("WorkloadInstance/{name}"),
            Self::Left => "this control plane, which keeps it for others".to_owned(),
            Self::ControlPlane(id) => format!("control plane {id}"),
            Self::Foreign(owner) => owner.clone(),
        }
    }
}

fn foreign(object: &Value) -> String {
    let metadata = &object["metadata"];
    if let Some(release) = metadata["annotations"]["meta.helm.sh/release-name"].as_str() {
        return format!("Helm release {release}");
    }
    if let Some(tool) = metadata["labels"]["app.kubernetes.io/managed-by"].as_str() {
        return tool.to_owned();
    }
    let managers = managers(object);
    if managers.is_empty() {
        "somebody else".to_owned()
    } else {
        managers.join(", ")
    }
}

/// The field managers of an object, sorted.
pub(super) fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten();
    let mut managers: Vec<_> = entries
        .filter_map(|entry| entry["manager"].as_str().map(str::to_owned))
        .collect();
    managers.sort();
    managers.dedup();
    managers
}

/// Whether `manager` wrote fields of the object.
pub(super) fn is_written_by(object: &Value, manager: &str) -> bool {
    managers(object).iter().any(|other| other == manager)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn owners_are_told_apart() {
        let (plane, instance) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let of = |labels: Value| Owner::of(&json!({"metadata": {"labels": labels}}), plane, instance);
        assert_eq!(of(json!({CONTROL_PLANE: plane, INSTANCE: instance})), Owner::Ours);
        let other = json!({CONTROL_PLANE: plane, INSTANCE: Uuid::from_u128(3), INSTANCE_NAME: "api"});
        assert_eq!(of(other).describe(), "WorkloadInstance/api");
        assert_eq!(of(json!({CONTROL_PLANE: plane})), Owner::Left);
        let foreign_plane = json!({CONTROL_PLANE: Uuid::from_u128(9), INSTANCE: instance});
        assert!(matches!(of(foreign_plane), Owner::ControlPlane(_)));
        assert_eq!(
            of(json!({"app.kubernetes.io/managed-by": "Argo"})).describe(),
            "Argo"
        );
        // An instance label alone is not an identity: without the control plane's it is somebody else's.
        assert!(matches!(of(json!({INSTANCE: instance})), Owner::Foreign(_)));
    }
}
