//! The Kubernetes objects that a WorkloadDefinition holds, read from either of its two forms.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    kinds::workload_definition::{ResourceIdentity, Spec},
    problem::FieldError,
    yaml,
};

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
    for (place, number, value) in places {
        for object in flatten(value) {
            match identity(&object) {
                Err((path, message)) => {
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
                }
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
                        errors.push(FieldError {
                            message,
                            ..place.clone()
                        });
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

fn flatten(value: Value) -> Vec<Value> {
    let is_list = value.get("kind").and_then(Value::as_str) == Some("List");
    match value {
        Value::Object(mut map) if is_list => match map.remove("items") {
            Some(Value::Array(items)) => items,
            _ => vec![Value::Object(map)],
        },
        other => vec![other],
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
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if group == crate::GROUP {
        return Err((
            "apiVersion".to_owned(),
            "objects of threeport.io can't be part of a workload".to_owned(),
        ));
    }
    Ok(ResourceIdentity {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        namespace: text(&["metadata", "namespace"]).unwrap_or_default().to_owned(),
        name: name.to_owned(),
    })
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
    fn one_object_twice_is_refused() {
        let one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        let errors = of_spec(&spec(&format!("{one}---\n{one}"))).unwrap_err();
        assert!(errors[0].message.contains("already in document 1"), "{errors:?}");
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
