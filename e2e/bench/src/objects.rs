//! What is placed: a Namespace, a ConfigMap, a Service and a Deployment without replicas, per instance. The control plane
//! makes them of a definition, the loop applies the same.

use serde_json::{Value, json};
use threeport_model::{Object, identity};
use uuid::Uuid;

/// The plurals of an instance's objects.
pub(crate) const RESOURCES: [&str; 4] = ["namespaces", "configmaps", "services", "deployments"];
/// The label by which the custom resources and objects of one run are selected.
pub(crate) const RUN: &str = "bench";

const NAME: &str = "web";
/// What the Deployment's image is, before and after the edit.
const IMAGES: [&str; 2] = ["localhost/threeport-sample:1", "localhost/threeport-sample:2"];

/// The objects of a definition; `edited` differs in the Deployment's image.
fn manifests(edited: bool) -> Vec<Value> {
    let labels = json!({"app": NAME});
    vec![
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME},
            "data": {"greeting": "hello", "level": "info"},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{
                        "name": NAME,
                        "image": IMAGES[usize::from(edited)],
                        "args": ["serve"],
                        "ports": [{"containerPort": 8080}],
                        "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}},
                    }]},
                },
            },
        }),
    ]
}

/// A WorkloadDefinition of them.
pub(crate) fn definition(name: &str, edited: bool) -> Object {
    labelled(
        Object::new(
            "WorkloadDefinition",
            name,
            json!({"manifests": manifests(edited)}),
        ),
        name,
    )
}

/// A WorkloadInstance that places a definition.
pub(crate) fn instance(name: &str, definition: &str) -> Object {
    labelled(
        Object::new("WorkloadInstance", name, json!({"definition": definition})),
        definition,
    )
}

fn labelled(mut object: Object, run: &str) -> Object {
    object.metadata.labels.insert(RUN.to_owned(), run.to_owned());
    object
}

/// The objects of one instance in their order, as a control plane of that id would apply them.
pub(crate) fn rendered(control_plane: Uuid, instance: &str) -> Vec<Value> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": instance}});
    let labels = identity::labels(control_plane, Uuid::new_v4(), instance);
    let mut objects: Vec<Value> = std::iter::once(namespace).chain(manifests(false)).collect();
    for object in &mut objects {
        object["metadata"]["labels"] = json!(labels);
        if object["kind"] != "Namespace" {
            object["metadata"]["namespace"] = json!(instance);
        }
    }
    objects
}

/// The Deployment of those objects, edited.
pub(crate) fn edited(objects: &[Value]) -> Option<Value> {
    let mut deployment = objects.last()?.clone();
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(IMAGES[1]);
    Some(deployment)
}

/// The names of a run's instances.
pub(crate) fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{prefix}-{index:04}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_applies_what_the_definition_holds() {
        let objects = rendered(Uuid::nil(), "a");
        assert_eq!(objects.len(), RESOURCES.len());
        let definition = definition("d", true);
        let wanted = &definition.spec["manifests"][2]["spec"];
        assert_eq!(&edited(&objects).unwrap()["spec"], wanted);
        assert_ne!(&objects[3]["spec"], wanted);
        assert_eq!(objects[1]["data"], definition.spec["manifests"][0]["data"]);
    }
}
