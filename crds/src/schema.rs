//! From the schema that schemars derives to a structural one, as Kubernetes calls what it takes.
//!
//! - A specification keeps unknown fields (`x-kubernetes-preserve-unknown-fields` on each of its objects: pruning
//!   starts again below an object that says nothing), so that the API, not silent pruning, answers to them.
//! - No defaults: the API fills them in, and a custom resource stays as its author wrote it.
//! - Conditions are a map by type, so that server-side apply merges them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value, json};
use threeport_model::Kind;

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const VALIDATIONS: &str = "x-kubernetes-validations";

/// A CEL rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Where below `spec`, as a JSON pointer into the schema's `properties`: empty for `spec` itself.
    pub at: &'static str,
    /// The expression; `self` is what stands there.
    pub rule: &'static str,
    /// What a person reads.
    pub message: &'static str,
}

/// Names are RFC 1123 labels in the API, while Kubernetes takes longer ones with dots for custom resources.
const NAME_RULE: &str =
    "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')";
const NAME_MESSAGE: &str =
    "metadata.name must be an RFC 1123 label: at most 63 lower case letters, digits and '-'";

/// The structural form of a kind's schema.
pub fn structural<K: Kind>(derived: JSONSchemaProps, rules: &[Rule]) -> JSONSchemaProps {
    let fallback = derived.clone();
    let mut schema = serde_json::to_value(derived).unwrap_or(Value::Null);
    clean(&mut schema);
    if let Some(spec) = schema.pointer_mut("/properties/spec") {
        keep_unknown(spec);
    }
    if let Some(conditions) = schema.pointer_mut("/properties/status/properties/conditions") {
        conditions["x-kubernetes-list-type"] = json!("map");
        conditions["x-kubernetes-list-map-keys"] = json!(["type"]);
    }
    schema["description"] = json!(K::DESCRIPTION);
    for (part, description) in [
        ("spec", description::<K::Spec>()),
        ("status", description::<K::Status>()),
    ] {
        schema["properties"][part]["description"] = description;
    }
    schema[VALIDATIONS] = json!([{"rule": NAME_RULE, "message": NAME_MESSAGE}]);
    for rule in rules {
        if let Some(place) = schema.pointer_mut(&format!("/properties/spec{}", rule.at)) {
            place[VALIDATIONS] = json!([{"rule": rule.rule, "message": rule.message}]);
        }
    }
    serde_json::from_value(schema).unwrap_or(fallback)
}

/// What the model says of a type; kube-derive has the wrapper's text in its place.
fn description<T: JsonSchema>() -> Value {
    schema_for!(T).get("description").cloned().unwrap_or(Value::Null)
}

/// Takes off what a structural schema can't have, and defaults.
fn clean(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.remove("default");
    object.remove("title");
    if object.get("additionalProperties").is_some_and(Value::is_boolean) {
        object.remove("additionalProperties");
    }
    if object.get("type") == Some(&json!("array")) {
        object.remove(PRESERVE);
        let items = object.entry("items").or_insert_with(|| json!({}));
        if items.as_object().is_none_or(|items| !items.contains_key("type")) {
            *items = json!({"type": "object", PRESERVE: true});
        }
    }
    for_each_child(object, clean);
}

fn keep_unknown(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if object.get("type") == Some(&json!("object")) {
        object.insert(PRESERVE.to_owned(), json!(true));
    }
    for_each_child(object, keep_unknown);
}

fn for_each_child(object: &mut Map<String, Value>, visit: fn(&mut Value)) {
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(visit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = object.get_mut(key) {
            visit(child);
        }
    }
}
