//! Small workloads that stories place: the sample's image, a ConfigMap's value, a Service, and one of every sort.

use serde_json::{Value, json};

/// The image of the sample, in the version that the testbed loaded first.
pub const IMAGE: &str = "localhost/threeport-sample:1";
/// The same program, reporting version 2.
pub const OTHER_IMAGE: &str = "localhost/threeport-sample:2";
/// An image that no registry has.
pub const MISSING_IMAGE: &str = "localhost/threeport-sample:missing";
/// What every [`secret`] holds. The same for all, so that what the API shows in its place is the same too.
pub const SECRET_VALUE: &str = "not-a-real-key";

/// A Deployment that answers `name=<name> value=<from ConfigMap>`, with its ConfigMap and Service.
pub fn service(name: &str, image: &str) -> Vec<Value> {
    vec![
        config(name),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
        }),
        deployment(name, image, 1),
    ]
}

/// One object of every sort that the sample has: a [`service`], a StatefulSet that also reads a Secret, a Job that
/// completes, and a CRD with a custom resource. CRDs are no namespace's, so the group has the name in it.
pub fn every_sort(name: &str) -> Vec<Value> {
    let group = format!("{name}.example.com");
    let more = [
        secret(name),
        stateful_set(name),
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "job", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["job"],
                    "env": [{"name": "NAME", "value": name}],
                }],
            }}},
        }),
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("recipes.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"kind": "Recipe", "listKind": "RecipeList", "plural": "recipes", "singular": "recipe"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"dish": {"type": "string"}}}},
                    }},
                }],
            },
        }),
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "Recipe", "metadata": {"name": name},
            "spec": {"dish": "apple pie"},
        }),
    ];
    service(name, IMAGE).into_iter().chain(more).collect()
}

/// The ConfigMap alone.
pub fn config(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"value": format!("value-of-{name}")},
    })
}

/// A Secret as a person writes it.
pub fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque",
        "stringData": {"key": SECRET_VALUE},
    })
}

/// The Deployment as a StatefulSet, with the Secret's value beside the ConfigMap's.
fn stateful_set(name: &str) -> Value {
    let mut set = deployment(name, IMAGE, 1);
    // The Deployment's pods are not its own.
    let labels = json!({"app": format!("{name}-set")});
    set["kind"] = json!("StatefulSet");
    set["spec"]["serviceName"] = json!(name);
    set["spec"]["selector"]["matchLabels"] = labels.clone();
    set["spec"]["template"]["metadata"]["labels"] = labels;
    let key = json!({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": name, "key": "key"}}});
    if let Some(environment) = set["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut() {
        environment.push(key);
    }
    set
}

/// The Deployment alone.
pub fn deployment(name: &str, image: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "sample",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["serve"],
                        "env": [
                            {"name": "PORT", "value": "8080"},
                            {"name": "NAME", "value": name},
                            {"name": "VALUE", "valueFrom": {"configMapKeyRef": {"name": name, "key": "value"}}},
                        ],
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                        "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}},
                    }],
                },
            },
        },
    })
}

/// A WorkloadDefinition of `manifests` as a custom resource or file.
pub fn definition(name: &str, manifests: &[Value]) -> Value {
    json!({
        "apiVersion": "threeport.io/v1alpha1", "kind": "WorkloadDefinition",
        "metadata": {"name": name}, "spec": {"manifests": manifests},
    })
}

/// A WorkloadInstance of the definition of the same name, with more fields of its specification.
pub fn instance(name: &str, definition: &str, more: &Value) -> Value {
    let mut spec = json!({"definition": definition});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    json!({
        "apiVersion": "threeport.io/v1alpha1", "kind": "WorkloadInstance",
        "metadata": {"name": name}, "spec": spec,
    })
}

/// Objects as one text that `kubectl apply -f -` takes.
pub fn text(objects: &[Value]) -> String {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    list.to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use threeport_model::{manifest, yaml};

    use super::*;

    #[test]
    fn every_sort_is_one_of_each_kind_of_the_sample() {
        let documents = yaml::documents(include_str!("../../sample/threeport.yaml")).unwrap();
        let mut documents = documents.iter().map(|document| &document.value);
        let definition = documents.find(|object| object["kind"] == "WorkloadDefinition");
        let spec = serde_json::from_value(definition.unwrap()["spec"].clone()).unwrap();
        let manifests = manifest::of_spec(&spec).unwrap();
        let sample: BTreeSet<String> = manifests
            .into_iter()
            .map(|manifest| manifest.identity.kind)
            .collect();

        let mut kinds: Vec<String> = every_sort("all")
            .iter()
            .map(|object| object["kind"].as_str().unwrap().to_owned())
            .collect();
        kinds.sort();
        assert_eq!(kinds, Vec::from_iter(sample));
    }
}
