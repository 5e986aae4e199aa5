//! Whose a live object is: read from its labels. Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use threeport_model::identity::{CONTROL_PLANE, INSTANCE, INSTANCE_NAME};
use uuid::Uuid;

/// How long a creation may take that the cluster's webhooks draw out. What made an object may be older than it by that.
const CREATION: SignedDuration = SignedDuration::from_secs(60);

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
fn managers(object: &Value) -> Vec<String> {
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

/// Whether `manager` applied to this very object, and it is by that that the object is an instance's. What a backup tool
/// restores (Velero) has the managers of what it was copied from, too: their entries are older than the object. And where
/// somebody else set the label to this instance, it is another one's object, which `manager` applied, too: the label is
/// then no longer among the fields of its entry.
pub(super) fn is_applied_by(object: &Value, manager: &str) -> bool {
    let metadata = &object["metadata"];
    let Some(created) = time(&metadata["creationTimestamp"]) else {
        return false;
    };
    let label = format!("f:{INSTANCE}");
    let entries = metadata["managedFields"].as_array().into_iter().flatten();
    entries
        .filter(|entry| entry["manager"] == *manager && entry["operation"] == "Apply")
        .filter(|entry| entry["fieldsV1"]["f:metadata"]["f:labels"][&label].is_object())
        .filter_map(|entry| time(&entry["time"]))
        .any(|applied| created.duration_since(applied) <= CREATION)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
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

    #[test]
    fn who_applied_what_an_object_was_copied_from_did_not_apply_it() {
        let of = |operation: &str, time: Value, created: Value| {
            let entry =
                json!({"manager": "us", "operation": operation, "time": time, "fieldsV1": fields(INSTANCE)});
            let them = json!({"manager": "them", "operation": "Apply", "time": "2026-01-02T00:00:00Z",
                "fieldsV1": fields(INSTANCE)});
            let entries = json!([them, entry]);
            is_applied_by(
                &json!({"metadata": {"creationTimestamp": created, "managedFields": entries}}),
                "us",
            )
        };
        let created = || json!("2026-01-02T00:00:00Z");
        for time in [
            "2026-01-01T23:59:00Z",
            "2026-01-02T00:00:00Z",
            "2026-03-01T00:00:00Z",
        ] {
            assert!(of("Apply", json!(time), created()), "{time}");
        }
        for (operation, time, created) in [
            ("Apply", json!("2026-01-01T23:58:59Z"), created()),
            ("Apply", json!("2020-01-01T00:00:00Z"), created()),
            ("Apply", json!("yesterday"), created()),
            ("Apply", Value::Null, created()),
            ("Apply", created(), Value::Null),
            ("Update", created(), created()),
        ] {
            assert!(
                !of(operation, time.clone(), created.clone()),
                "{operation} {time} {created}"
            );
        }
        let fresh = json!({"metadata": {"creationTimestamp": created(), "managedFields": []}});
        assert!(!is_applied_by(&fresh, "us"));
    }

    /// What server-side apply records of a label that was applied.
    pub(crate) fn fields(label: &str) -> Value {
        json!({"f:metadata": {"f:labels": {format!("f:{label}"): {}}}})
    }

    #[test]
    fn who_applied_an_object_did_not_give_it_to_whom_another_gave_it() {
        let of = |fields: Value| {
            let time = "2026-01-02T00:00:00Z";
            let entry = json!({"manager": "us", "operation": "Apply", "time": time, "fieldsV1": fields});
            is_applied_by(
                &json!({"metadata": {"creationTimestamp": time, "managedFields": [entry]}}),
                "us",
            )
        };
        assert!(of(fields(INSTANCE)));
        for taken in [fields(CONTROL_PLANE), json!({}), Value::Null] {
            assert!(!of(taken.clone()), "{taken}");
        }
    }
}
