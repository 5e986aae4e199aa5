//! A custom resource as an API server has it, however deeply its author nested it.
//!
//! An API server takes ten thousand levels, serde_json reads a hundred and twenty-eight: one such resource would fail every
//! list of its kind, and so hold up all others. What is nested deeper than the API takes is therefore left out when it is
//! read. The API refuses what is left, by the rule by which it refuses all that is nested too deeply.

use std::{borrow::Cow, fmt};

use kube::{
    Resource,
    core::{ApiResource, DynamicObject, DynamicResourceScope, ObjectMeta},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use threeport_model::yaml::MAX_DEPTH;

/// Enough for the API to see that it is too much, and few enough for serde_json, lists around them included.
const LEVELS: usize = MAX_DEPTH + 16;

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CustomResource(pub DynamicObject);

impl<'de> Deserialize<'de> for CustomResource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Levels(LEVELS).deserialize(deserializer)?;
        DynamicObject::deserialize(read)
            .map(Self)
            .map_err(D::Error::custom)
    }
}

impl Resource for CustomResource {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(of)
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(of)
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(of)
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// Reads a value of so many levels; what is below them is null.
#[derive(Clone, Copy)]
struct Levels(usize);

impl Levels {
    fn below(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0 == 0 {
            // Without recursion, however deep it is.
            IgnoredAny::deserialize(deserializer).map(|_| Value::Null)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.below())? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(self.below())?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use kube::{
        ResourceExt,
        core::{ObjectList, WatchEvent},
    };

    use super::*;

    fn resource(name: &str, spec: &str) -> String {
        format!(
            r#"{{"apiVersion": "threeport.io/v1alpha1", "kind": "WorkloadDefinition", "metadata": {{"name": "{name}",
                "managedFields": [{{"manager": "kubectl", "fieldsV1": {spec}}}]}}, "spec": {spec}}}"#
        )
    }

    /// One of lists in lists, one of maps in maps, and one of which nothing is to be said.
    fn resources() -> [String; 3] {
        let nested = |open: &str, close: &str| {
            let within = format!("{}1{}", open.repeat(5000), close.repeat(5000));
            format!(r#"{{"manifests": {within}}}"#)
        };
        [
            resource("lists", &nested("[", "]")),
            resource("maps", &nested(r#"{"a": "#, "}")),
            resource("plain", r#"{"manifests": []}"#),
        ]
    }

    fn levels(value: &Value) -> usize {
        let below = match value {
            Value::Array(items) => items.iter().map(levels).max(),
            Value::Object(fields) => fields.values().map(levels).max(),
            _ => return 0,
        };
        1 + below.unwrap_or_default()
    }

    #[test]
    fn what_is_nested_deeply_holds_up_no_other() {
        let list = format!(
            r#"{{"apiVersion": "v1", "kind": "List", "metadata": {{}}, "items": [{}]}}"#,
            resources().join(", ")
        );
        let read: ObjectList<CustomResource> = serde_json::from_str(&list).unwrap();
        let names: Vec<_> = read.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["lists", "maps", "plain"]);
        for deep in &read.items[..2] {
            assert!(levels(&deep.0.data) > MAX_DEPTH, "the API could not tell");
        }
        assert!(
            serde_json::from_str::<ObjectList<DynamicObject>>(&list).is_err(),
            "positive control: it can be read by anybody"
        );
    }

    #[test]
    fn a_watch_tells_of_it_too() {
        for resource in resources() {
            let line = format!(r#"{{"type": "ADDED", "object": {resource}}}"#);
            let read: WatchEvent<CustomResource> = serde_json::from_str(&line).unwrap();
            assert!(matches!(read, WatchEvent::Added(_)), "{read:?}");
        }
    }

    #[test]
    fn anything_else_is_read_and_written_as_it_is() {
        let text = resource(
            "plain",
            r#"{"a": [1, -2, 3.5, 1e300, true, null, "\u00e9"], "b": {}}"#,
        );
        let ours: CustomResource = serde_json::from_str(&text).unwrap();
        let kubes: DynamicObject = serde_json::from_str(&text).unwrap();
        assert_eq!(ours.0, kubes);
        assert_eq!(
            serde_json::to_value(&ours).unwrap(),
            serde_json::to_value(&kubes).unwrap()
        );
    }
}
