//! What it means to be a kind: one trait, implemented once per kind in [`crate::kinds`], and the descriptor made
//! from it, by which everything that is generic over kinds (routes, store, mirror, CLI) works on JSON.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{kinds, problem::FieldError, typed};

/// One kind, declared once.
pub trait Kind: Send + Sync + 'static {
    /// As in `kind:`.
    const KIND: &'static str;
    /// Lower case, as in `kubectl get` and in routes.
    const PLURAL: &'static str;
    /// Lower case.
    const SINGULAR: &'static str;
    /// For `kubectl get`.
    const SHORT_NAME: &'static str;
    /// One sentence for `kubectl explain`, OpenAPI and docs.
    const DESCRIPTION: &'static str;
    /// Whether it is mirrored as a custom resource.
    const CUSTOM_RESOURCE: bool = true;
    /// Whether an object makes something in a runtime: its status tells the applied `revision`, and a deleted one lives
    /// on until its controller has seen that what it made is gone.
    const FOOTPRINT: bool = false;
    /// The columns of `get` after NAME and before AGE.
    const COLUMNS: &'static [Column];
    /// Fields of the status that move by themselves (a heartbeat's time), as JSON pointers: custom resources leave them
    /// out, so that an idle system writes nothing to etcd. REST has them.
    const UNMIRRORED: &'static [&'static str] = &[];
    /// The desired state.
    type Spec: Serialize + DeserializeOwned + JsonSchema;
    /// The observed state: has `observedGeneration` and `conditions`.
    type Status: Serialize + DeserializeOwned + JsonSchema + Default;

    /// What the types can't say. Fields are named from `spec.` on.
    fn validate(_spec: &Self::Spec) -> Vec<FieldError> {
        Vec::new()
    }

    /// What a change must not do (immutable fields).
    fn validate_change(_old: &Self::Spec, _new: &Self::Spec) -> Vec<FieldError> {
        Vec::new()
    }

    /// What this version of the program does not serve, though the model has it: answered 422 NotSupported.
    fn not_supported(_spec: &Self::Spec) -> Vec<FieldError> {
        Vec::new()
    }

    /// The objects that the specification names. Resolved to ids when written.
    fn references(_spec: &Self::Spec) -> Vec<Reference> {
        Vec::new()
    }

    /// A place that at most one living object of a control plane may hold, such as `runtime/default`.
    fn slot(_spec: &Self::Spec) -> Option<&'static str> {
        None
    }
}

/// A field that names another object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Where it stands: `spec.definition`.
    pub field: String,
    /// The kind of what it names.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl Reference {
    /// The field by which an instance names its definition, whatever its kind.
    pub const DEFINITION: &'static str = "spec.definition";
    /// The field by which an object names the runtime that it is in, whatever its kind.
    pub const RUNTIME: &'static str = "spec.runtime";

    /// A reference from `field` to `kind/name`.
    pub fn new(field: &str, kind: &str, name: &str) -> Self {
        Self {
            field: field.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// A column of a table, as CRDs have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// In capitals.
    pub name: &'static str,
    /// `string`, `integer` or `date`.
    pub kind: &'static str,
    /// A JSONPath from the object's root, of the simple form that CRDs take.
    pub path: &'static str,
    /// 0 is shown always, 1 with `-o wide`.
    pub priority: i32,
}

impl Column {
    /// A string column that is always shown.
    pub const fn text(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            kind: "string",
            path,
            priority: 0,
        }
    }

    /// An integer column that is always shown.
    pub const fn number(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            kind: "integer",
            path,
            priority: 0,
        }
    }

    /// A string column of `-o wide`.
    pub const fn wide(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            kind: "string",
            path,
            priority: 1,
        }
    }
}

/// READY, of every kind.
pub const READY: Column = Column::text("READY", ".status.conditions[?(@.type==\"Ready\")].status");
/// REASON, of every kind.
pub const REASON: Column = Column::text("REASON", ".status.conditions[?(@.type==\"Ready\")].reason");
/// MESSAGE, of every kind, wide.
pub const MESSAGE: Column = Column::wide("MESSAGE", ".status.conditions[?(@.type==\"Ready\")].message");

/// A kind as data: what generic code needs, over JSON.
#[derive(Clone, Copy)]
pub struct KindDescriptor {
    /// See [`Kind::KIND`].
    pub kind: &'static str,
    /// See [`Kind::PLURAL`].
    pub plural: &'static str,
    /// See [`Kind::SINGULAR`].
    pub singular: &'static str,
    /// See [`Kind::SHORT_NAME`].
    pub short_name: &'static str,
    /// See [`Kind::DESCRIPTION`].
    pub description: &'static str,
    /// See [`Kind::CUSTOM_RESOURCE`].
    pub custom_resource: bool,
    /// See [`Kind::FOOTPRINT`].
    pub footprint: bool,
    /// See [`Kind::COLUMNS`].
    pub columns: &'static [Column],
    /// See [`Kind::UNMIRRORED`].
    pub unmirrored: &'static [&'static str],
    /// Parses and validates a specification; the answer is its normal form (defaults filled in).
    pub normalize: fn(&Value) -> Result<Value, Vec<FieldError>>,
    /// See [`Kind::not_supported`]; of a normal form.
    pub not_supported: fn(&Value) -> Vec<FieldError>,
    /// See [`Kind::validate_change`]; of normal forms.
    pub validate_change: fn(&Value, &Value) -> Vec<FieldError>,
    /// See [`Kind::references`]; of a normal form.
    pub references: fn(&Value) -> Vec<Reference>,
    /// See [`Kind::slot`]; of a normal form.
    pub slot: fn(&Value) -> Option<&'static str>,
    /// The JSON schema of the specification.
    pub spec_schema: fn(&mut SchemaGenerator) -> Schema,
    /// The JSON schema of the status.
    pub status_schema: fn(&mut SchemaGenerator) -> Schema,
}

impl KindDescriptor {
    /// The descriptor of `K`.
    pub const fn of<K: Kind>() -> Self {
        Self {
            kind: K::KIND,
            plural: K::PLURAL,
            singular: K::SINGULAR,
            short_name: K::SHORT_NAME,
            description: K::DESCRIPTION,
            custom_resource: K::CUSTOM_RESOURCE,
            footprint: K::FOOTPRINT,
            columns: K::COLUMNS,
            unmirrored: K::UNMIRRORED,
            normalize: normalize::<K>,
            not_supported: |spec| on_spec::<K, _>(spec, K::not_supported),
            validate_change: |old, new| match (parse::<K>(old), parse::<K>(new)) {
                (Ok(old), Ok(new)) => K::validate_change(&old, &new),
                _ => Vec::new(),
            },
            references: |spec| on_spec::<K, _>(spec, K::references),
            slot: |spec| on_spec::<K, _>(spec, K::slot),
            spec_schema: K::Spec::json_schema,
            status_schema: K::Status::json_schema,
        }
    }
}

fn parse<K: Kind>(spec: &Value) -> Result<K::Spec, Vec<FieldError>> {
    typed::from_json(spec).map_err(|error| vec![error.within("spec")])
}

fn on_spec<K: Kind, T: Default>(spec: &Value, ask: impl FnOnce(&K::Spec) -> T) -> T {
    parse::<K>(spec).map(|spec| ask(&spec)).unwrap_or_default()
}

fn normalize<K: Kind>(spec: &Value) -> Result<Value, Vec<FieldError>> {
    let empty = Value::Object(serde_json::Map::new());
    let typed = parse::<K>(if spec.is_null() { &empty } else { spec })?;
    let errors = K::validate(&typed);
    if !errors.is_empty() {
        return Err(errors);
    }
    serde_json::to_value(&typed).map_err(|error| vec![FieldError::new("spec", error.to_string())])
}

/// The kind by its name, plural, singular or short name, in any case.
pub fn find_kind(word: &str) -> Option<&'static KindDescriptor> {
    let word = word.to_ascii_lowercase();
    kinds::ALL.iter().find(|kind| {
        [kind.plural, kind.singular, kind.short_name].contains(&word.as_str())
            || kind.kind.eq_ignore_ascii_case(&word)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn words_of_kinds_are_unique() {
        let words: Vec<_> = kinds::ALL
            .iter()
            .flat_map(|kind| [kind.plural, kind.singular, kind.short_name])
            .collect();
        assert_eq!(words.len(), words.iter().collect::<BTreeSet<_>>().len());
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_path() {
        let kind = find_kind("tpwi").unwrap();
        let errors = (kind.normalize)(&json!({"definition": "web", "runtyme": "x"})).unwrap_err();
        assert!(errors[0].message.contains("runtyme"), "{errors:?}");
        assert!(errors[0].field.starts_with("spec"), "{errors:?}");
        let nested =
            (kind.normalize)(&json!({"definition": "web", "dependsOn": [{"kind": "X", "nam": "y"}]}));
        assert_eq!(nested.unwrap_err()[0].field, "spec.dependsOn[0].nam");
    }

    #[test]
    fn normal_forms_are_stable() {
        let kind = find_kind("WorkloadInstance").unwrap();
        let once = (kind.normalize)(&json!({"definition": "web"})).unwrap();
        assert_eq!(once, (kind.normalize)(&once).unwrap());
        assert_eq!(
            (kind.references)(&once),
            vec![Reference::new("spec.definition", "WorkloadDefinition", "web")]
        );
    }
}
