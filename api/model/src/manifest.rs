//! The Kubernetes objects that a WorkloadDefinition holds, read from either of its two forms.
//!
//! [`is_list`] and [`is_secret`] are the one answer to what is taken apart and what holds secret values: whoever reads
//! objects by another rule than whoever redacts them lets a value through in clear.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    kinds::workload_definition::{ResourceIdentity, Spec},
    name,
    problem::FieldError,
    yaml,
};

/// The most objects of one definition: what an instance's run loads, applies and reports at once.
pub const MAX_OBJECTS: usize = 1000;
/// The longest name of an object, and of a group, that Kubernetes takes. A longer one could be applied nowhere, and the
/// inventory has no room for it: its indexes hold rows of less than 2,700 bytes in PostgreSQL.
const MAX_NAME: usize = 253;

/// One Kubernetes object as its author wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// 1-based document number, or index + 1 in `manifests`.
    pub number: u64,
    /// Which object.
    pub identity: ResourceIdentity,
    /// All of it.
    pub object: Value,
}

/// The objects of a definition, in their author's order; `List`s are taken apart.
pub fn of_spec(spec: &Spec) -> Result<Vec<Manifest>, Vec<FieldError>> {
    match (&spec.manifests, &spec.yaml_document) {
        (Some(manifests), None) => {
            let places = manifests.iter().enumerate();
            collect(places.map(|(index, value)| {
                let number = index as u64 + 1;
                (
                    FieldError::new(format!("spec.manifests[{index}]"), ""),
                    number,
                    value.clone(),
                )
            }))
        }
        (None, Some(text)) => {
            let documents = yaml::documents(text).map_err(|error| vec![error.within("spec.yamlDocument")])?;
            collect(documents.into_iter().map(|document| {
                let place = FieldError {
                    field: "spec.yamlDocument".to_owned(),
                    message: String::new(),
                    line: Some(document.line),
                    document: Some(document.number),
                };
                (place, document.number, document.value)
            }))
        }
        _ => Err(vec![FieldError::new(
            "spec",
            "must have exactly one of manifests and yamlDocument",
        )]),
    }
}

fn collect(places: impl Iterator<Item = (FieldError, u64, Value)>) -> Result<Vec<Manifest>, Vec<FieldError>> {
    let mut manifests = Vec::new();
    let mut errors = Vec::new();
    let mut seen: BTreeMap<ResourceIdentity, u64> = BTreeMap::new();
    let mut count = 0;
    for (place, number, value) in places {
        let mut wrong = |(path, message): (String, String)| {
            let field = if path.is_empty() {
                place.field.clone()
            } else {
                format!("{}.{path}", place.field)
            };
            errors.push(FieldError {
                field,
                message,
                ..place.clone()
            });
        };
        let objects = flatten(value).unwrap_or_else(|error| {
            wrong(error);
            count += 1;
            Vec::new()
        });
        // Wrong ones count, too: of millions there would be millions of errors.
        count += objects.len();
        if count > MAX_OBJECTS {
            return Err(vec![FieldError::new(
                "spec",
                format!(
                    "holds more than {MAX_OBJECTS} Kubernetes objects, which are the most of one definition. Make several \
                     definitions of it"
                ),
            )]);
        }
        for object in objects {
            match identity(&object) {
                Err(error) => wrong(error),
                Ok(identity) => {
                    let unversioned = ResourceIdentity {
                        version: String::new(),
                        ..identity.clone()
                    };
                    if let Some(first) = seen.insert(unversioned, number) {
                        let message = format!(
                            "{} {:?} is already in document {first}",
                            identity.kind, identity.name
                        );
                        wrong((String::new(), message));
                    }
                    manifests.push(Manifest {
                        number,
                        identity,
                        object,
                    });
                }
            }
        }
    }
    if manifests.is_empty() && errors.is_empty() {
        errors.push(FieldError::new(
            "spec",
            "must hold at least one Kubernetes object",
        ));
    }
    if errors.is_empty() {
        Ok(manifests)
    } else {
        Err(errors)
    }
}

/// Whether an object is taken apart into its `items`, whatever its `apiVersion`.
pub fn is_list(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("List")
}

/// Whether an object's `data` and `stringData` hold secret values.
pub fn is_secret(object: &Value) -> bool {
    let is = |key: &str, word: &str| object.get(key).and_then(Value::as_str) == Some(word);
    is("kind", "Secret") && is("apiVersion", "v1")
}

/// The items of a `List`; anything else is one object.
fn flatten(value: Value) -> Result<Vec<Value>, (String, String)> {
    if !is_list(&value) {
        return Ok(vec![value]);
    }
    let items = match value {
        Value::Object(mut map) => map.remove("items"),
        _ => None,
    };
    let Some(Value::Array(items)) = items else {
        return Err(("items".to_owned(), "must be a list of objects".to_owned()));
    };
    match items.iter().position(is_list) {
        Some(index) => Err((
            format!("items[{index}]"),
            "is a List itself; write its items here".to_owned(),
        )),
        None => Ok(items),
    }
}

fn identity(object: &Value) -> Result<ResourceIdentity, (String, String)> {
    if !object.is_object() {
        return Err((String::new(), "must be a Kubernetes object".to_owned()));
    }
    let text = |path: &[&str]| {
        let value = path.iter().try_fold(object, |value, key| value.get(key));
        value.and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    let required = |path: &[&str]| {
        text(path).ok_or_else(|| {
            (
                path.join("."),
                "is required and must be a non-empty string".to_owned(),
            )
        })
    };
    let api_version = required(&["apiVersion"])?;
    let kind = required(&["kind"])?;
    if text(&["metadata", "name"]).is_none() && text(&["metadata", "generateName"]).is_some() {
        let message = "is required; generateName would make a new object with every apply".to_owned();
        return Err(("metadata.name".to_owned(), message));
    }
    let name = required(&["metadata", "name"])?;
    let (group, version) = match api_version.split_once('/') {
        None => ("", api_version),
        Some((group, version)) if !group.is_empty() && !version.is_empty() && !version.contains('/') => {
            (group, version)
        }
        Some(_) => {
            let message = format!("must be like v1 or apps/v1, not {api_version:?}");
            return Err(("apiVersion".to_owned(), message));
        }
    };
    if group.is_empty() && kind == "SecretList" {
        let message = "can't be applied as one object; write each Secret as an object of its own".to_owned();
        return Err(("kind".to_owned(), message));
    }
    if group == crate::GROUP {
        return Err((
            "apiVersion".to_owned(),
            "objects of threeport.io can't be part of a workload".to_owned(),
        ));
    }
    let namespace = text(&["metadata", "namespace"]).unwrap_or_default();
    for (field, part, word, most) in [
        ("apiVersion", "the group ", group, MAX_NAME),
        ("apiVersion", "the version ", version, name::MAX_LENGTH),
        ("kind", "", kind, name::MAX_LENGTH),
        ("metadata.name", "", name, MAX_NAME),
        ("metadata.namespace", "", namespace, name::MAX_LENGTH),
    ] {
        if word.len() > most {
            let message = format!("{part}must be at most {most} characters, has {}", word.len());
            return Err((field.to_owned(), message));
        }
    }
    for (field, word) in [
        ("apiVersion", group),
        ("apiVersion", version),
        ("metadata.name", name),
        ("metadata.namespace", namespace),
    ] {
        if !is_part_of_a_path(word) {
            let message = format!("must be no path and have no /, %, ? or #, unlike {word:?}");
            return Err((field.to_owned(), message));
        }
    }
    Ok(ResourceIdentity {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// Whether a word stands for itself in a URL of a Kubernetes API: with another one another object would be asked for. Kubernetes
/// itself has no name with `/` or `%` (its `IsValidPathSegmentName`).
fn is_part_of_a_path(word: &str) -> bool {
    let is_special = |character: char| {
        matches!(character, '/' | '%' | '?' | '#') || character.is_whitespace() || character.is_control()
    };
    !matches!(word, "." | "..") && !word.contains(is_special)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        Spec {
            yaml_document: Some(text.to_owned()),
            manifests: None,
        }
    }

    #[test]
    fn both_forms_give_the_same_objects() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n";
        let from_text = of_spec(&spec(text)).unwrap();
        let values = vec![from_text[0].object.clone()];
        let from_values = of_spec(&Spec {
            manifests: Some(values),
            yaml_document: None,
        })
        .unwrap();
        assert_eq!(from_text, from_values);
        assert_eq!(from_text[0].identity.group, "apps");
    }

    #[test]
    fn an_error_names_document_line_and_path() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: ConfigMap\nmetadata: {name: b}\n";
        let errors = of_spec(&spec(text)).unwrap_err();
        assert_eq!(errors[0].field, "spec.yamlDocument.apiVersion");
        assert_eq!((errors[0].document, errors[0].line), (Some(2), Some(5)));
    }

    #[test]
    fn no_word_leads_to_another_object() {
        let found = |version: &str, name: &str, namespace: &str| {
            let metadata = serde_json::json!({"name": name, "namespace": namespace});
            let object = serde_json::json!({"apiVersion": version, "kind": "Role", "metadata": metadata});
            identity(&object).map_err(|(field, _)| field)
        };
        let fine = found("rbac.authorization.k8s.io/v1", "system:web.a-b_c", "shop");
        assert_eq!(fine.unwrap().name, "system:web.a-b_c");
        for (version, name, namespace, field) in [
            ("v1", "web?limit=1", "shop", "metadata.name"),
            ("v1", "../secrets/web", "shop", "metadata.name"),
            ("v1", "..", "shop", "metadata.name"),
            ("v1", "we%62", "shop", "metadata.name"),
            ("v1", "web\n", "shop", "metadata.name"),
            ("v1", "web", "shop#", "metadata.namespace"),
            ("apps?/v1", "web", "shop", "apiVersion"),
            ("v1?", "web", "shop", "apiVersion"),
        ] {
            assert_eq!(found(version, name, namespace), Err(field.to_owned()), "{name}");
        }
    }

    #[test]
    fn no_word_is_longer_than_kubernetes_takes() {
        let found = |lengths: [usize; 5]| {
            let [group, version, kind, name, namespace] = lengths.map(|length| "a".repeat(length));
            let metadata = serde_json::json!({"name": name, "namespace": namespace});
            let version = format!("{group}/{version}");
            identity(&serde_json::json!({"apiVersion": version, "kind": kind, "metadata": metadata}))
        };
        let most = [253, 63, 63, 253, 63];
        found(most).unwrap();
        let fields = [
            "apiVersion",
            "apiVersion",
            "kind",
            "metadata.name",
            "metadata.namespace",
        ];
        for (index, expected) in fields.into_iter().enumerate() {
            let mut lengths = most;
            lengths[index] += 1;
            let (field, message) = found(lengths).unwrap_err();
            assert_eq!(field, expected);
            let bound = format!(
                "must be at most {} characters, has {}",
                most[index], lengths[index]
            );
            assert!(message.ends_with(&bound), "{message}");
        }
    }

    #[test]
    fn one_object_twice_is_refused() {
        let one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        let errors = of_spec(&spec(&format!("{one}---\n{one}"))).unwrap_err();
        assert!(errors[0].message.contains("already in document 1"), "{errors:?}");
    }

    #[test]
    fn lists_are_taken_apart_and_what_only_looks_like_one_is_refused() {
        let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
        let found = of_spec(&spec(&format!("kind: List\nitems: [{map}]\n"))).unwrap();
        assert_eq!(found[0].identity.kind, "ConfigMap");
        for (text, field) in [
            (
                format!("kind: List\nitems: [{{kind: List, items: [{map}]}}]\n"),
                "items[0]",
            ),
            (
                format!("kind: List\nmetadata: {{name: a}}\nitems: {map}\n"),
                "items",
            ),
            (
                format!("apiVersion: v1\nkind: SecretList\nmetadata: {{name: a}}\nitems: [{map}]\n"),
                "kind",
            ),
            (
                "apiVersion: /v1\nkind: Secret\nmetadata: {name: a}\n".to_owned(),
                "apiVersion",
            ),
        ] {
            let errors = of_spec(&spec(&text)).unwrap_err();
            assert_eq!(errors[0].field, format!("spec.yamlDocument.{field}"), "{text}");
        }
    }

    #[test]
    fn a_definition_has_a_largest_size() {
        let text = |count| {
            let one = |index| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{index}}}\n");
            (0..count).map(one).collect::<String>()
        };
        assert_eq!(of_spec(&spec(&text(MAX_OBJECTS))).unwrap().len(), MAX_OBJECTS);
        let errors = of_spec(&spec(&text(MAX_OBJECTS + 1))).unwrap_err();
        assert!(
            errors[0].message.contains("more than 1000 Kubernetes objects"),
            "{errors:?}"
        );
    }

    #[test]
    fn of_very_many_that_are_wrong_one_error_is_made() {
        let zeros = vec![Value::from(0); 10 * MAX_OBJECTS];
        let manifests = Spec {
            manifests: Some(zeros.clone()),
            yaml_document: None,
        };
        let list = serde_json::json!({"kind": "List", "items": zeros});
        for spec in [manifests, spec(&list.to_string())] {
            assert_eq!(of_spec(&spec).unwrap_err().len(), 1);
        }
        let most = Spec {
            manifests: Some(vec![Value::from(0); MAX_OBJECTS]),
            yaml_document: None,
        };
        assert_eq!(of_spec(&most).unwrap_err().len(), MAX_OBJECTS);
    }

    #[test]
    fn nothing_and_both_are_refused() {
        assert!(of_spec(&Spec::default()).is_err());
        assert!(of_spec(&spec("")).is_err());
        let both = Spec {
            manifests: Some(vec![]),
            yaml_document: Some(String::new()),
        };
        assert!(of_spec(&both).is_err());
    }
}
