//! `spec.replicas` is left to an autoscaler that owns it: a HorizontalPodAutoscaler whose scaleTargetRef names the
//! object, or whoever wrote it through the scale subresource. Pure.
//!
//! A field that only we own must not be left out of an apply: server-side apply would remove it and the default (1)
//! would scale the workload down. So it is left out where another manager owns it, and carried over as it is where
//! nobody else does yet.

use serde_json::Value;
use threeport_model::kinds::workload_definition::ResourceIdentity;

/// Whether the object's author set replicas at all.
pub(super) fn has_replicas(object: &Value) -> bool {
    object.pointer("/spec/replicas").is_some_and(Value::is_number)
}

/// Whether an autoscaler among `objects` (HorizontalPodAutoscalers, desired or live) names this one.
pub(super) fn is_named<'a>(
    identity: &ResourceIdentity,
    objects: impl IntoIterator<Item = &'a Value>,
) -> bool {
    objects
        .into_iter()
        .filter(|object| object["kind"] == "HorizontalPodAutoscaler")
        .any(|autoscaler| {
            let reference = &autoscaler["spec"]["scaleTargetRef"];
            let api_version = reference["apiVersion"].as_str().unwrap_or_default();
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            autoscaler["metadata"]["namespace"] == *identity.namespace
                && group == identity.group
                && reference["kind"] == *identity.kind
                && reference["name"] == *identity.name
        })
}

/// Whether replicas were written through the scale subresource.
pub(super) fn is_scaled(live: &Value) -> bool {
    entries(live).any(|entry| entry["subresource"] == "scale" && owns_replicas(entry))
}

/// The object as it is to be applied over `live`.
pub(super) fn leave(mut object: Value, live: Option<&Value>, manager: &str, named: bool) -> Value {
    let scaled = live.is_some_and(is_scaled);
    if !has_replicas(&object) || !(named || scaled) {
        return object;
    }
    let only_ours = live
        .is_some_and(|live| !entries(live).any(|entry| owns_replicas(entry) && entry["manager"] != *manager));
    match live.and_then(|live| live.pointer("/spec/replicas")) {
        Some(replicas) if only_ours => object["spec"]["replicas"] = replicas.clone(),
        _ => {
            if let Some(spec) = object["spec"].as_object_mut() {
                spec.remove("replicas");
            }
        }
    }
    object
}

fn entries(live: &Value) -> impl Iterator<Item = &Value> {
    live["metadata"]["managedFields"].as_array().into_iter().flatten()
}

fn owns_replicas(entry: &Value) -> bool {
    entry.pointer("/fieldsV1/f:spec/f:replicas").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(manager: &str, subresource: &str) -> Value {
        let entry = json!({"manager": manager, "subresource": subresource,
            "fieldsV1": {"f:spec": {"f:replicas": {}}}});
        json!({"spec": {"replicas": 7}, "metadata": {"managedFields": [entry]}})
    }

    #[test]
    fn an_autoscaler_names_one_object_of_its_namespace() {
        let web = ResourceIdentity {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        let autoscaler = json!({
            "kind": "HorizontalPodAutoscaler", "metadata": {"namespace": "shop", "name": "any"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1beta1", "kind": "Deployment", "name": "web"}},
        });
        assert!(is_named(&web, [&json!({"kind": "ConfigMap"}), &autoscaler]));
        assert!(!is_named(&web, []));
        for (pointer, other) in [
            ("/kind", "VerticalPodAutoscaler"),
            ("/metadata/namespace", "default"),
            ("/spec/scaleTargetRef/apiVersion", "example.org/v1"),
            ("/spec/scaleTargetRef/apiVersion", "v1"),
            ("/spec/scaleTargetRef/kind", "StatefulSet"),
            ("/spec/scaleTargetRef/name", "web-2"),
        ] {
            let mut changed = autoscaler.clone();
            if let Some(field) = changed.pointer_mut(pointer) {
                *field = other.into();
            }
            assert!(!is_named(&web, [&changed]), "{pointer}: {other}");
        }
    }

    #[test]
    fn what_somebody_scaled_is_left_out() {
        let desired = json!({"spec": {"replicas": 2, "paused": false}});
        let applied = leave(desired.clone(), Some(&live("hpa", "scale")), "us", false);
        assert_eq!(applied, json!({"spec": {"paused": false}}));
        assert_eq!(
            leave(desired.clone(), Some(&live("kubectl-edit", "")), "us", false),
            desired
        );
        assert_eq!(leave(desired.clone(), None, "us", false), desired);
    }

    #[test]
    fn an_autoscaler_that_has_not_scaled_yet_finds_what_is_there() {
        let desired = json!({"spec": {"replicas": 2}});
        let applied = leave(desired.clone(), Some(&live("us", "")), "us", true);
        assert_eq!(applied["spec"]["replicas"], 7);
        assert_eq!(leave(desired, None, "us", true), json!({"spec": {}}));
    }
}
