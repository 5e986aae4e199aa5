//! Small workloads that stories place: the sample's image, a ConfigMap's value, a Service.

use serde_json::{Value, json};

/// The image of the sample, in the version that the testbed loaded first.
pub const IMAGE: &str = "localhost/threeport-sample:1";
/// The same program, reporting version 2.
pub const OTHER_IMAGE: &str = "localhost/threeport-sample:2";
/// An image that no registry has.
pub const MISSING_IMAGE: &str = "localhost/threeport-sample:missing";

/// A Deployment that answers `name=<name> value=<from ConfigMap>`, with its ConfigMap and Service.
pub fn service(name: &str, image: &str) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"value": format!("value-of-{name}")},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
        }),
        deployment(name, image, 1),
    ]
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
