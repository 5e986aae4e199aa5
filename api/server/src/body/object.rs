//! An object as a person submits it: the envelope is checked here, the specification by its kind.
//!
//! What the server owns (status, ids, times, and what Kubernetes adds) is accepted and ignored by name, so that what
//! `get -o yaml` printed can be sent back. Anything else that is not known is refused with its path.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use threeport_model::{
    API_VERSION, FieldError, KindDescriptor, find_kind, name, problem::Code, yaml::Document,
};

use super::{MAX_DOCUMENT, MAX_WRONG, labels};
use crate::problem::ApiError;

/// Metadata that the server or Kubernetes writes.
const SERVER_OWNED: &[&str] = &[
    "createdAt",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionRequestedAt",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "id",
    "managedBy",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "source",
    "statusUpdatedAt",
    "uid",
    "updatedAt",
];
/// The most objects in one request.
pub const MAX_OBJECTS: usize = 1000;

/// What its author said of an object; the specification is raw.
#[derive(Clone)]
pub struct Submitted {
    /// Its kind.
    pub kind: &'static KindDescriptor,
    /// RFC 1123 label.
    pub name: String,
    /// Without the server's.
    pub labels: BTreeMap<String, String>,
    /// Without the server's.
    pub annotations: BTreeMap<String, String>,
    /// As sent.
    pub spec: Value,
    /// Where it began in a YAML body.
    pub line: Option<u64>,
    /// Which document of a YAML body it was.
    pub document: Option<u64>,
}

/// The one object in `documents`.
pub fn single(documents: Vec<Document>, namespace: &str) -> Result<Submitted, ApiError> {
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next()) {
        (Some(document), None) => submitted(document.value, namespace).map_err(refused),
        _ => Err(
            ApiError::new(Code::Malformed, "the body must hold exactly one object")
                .next("send several objects to POST /v1alpha1/apply"),
        ),
    }
}

/// All objects in `documents`: objects, `kind: List`s and JSON arrays of them. An error names the object by its place.
pub fn several(documents: Vec<Document>, namespace: &str) -> Result<Vec<Submitted>, ApiError> {
    let mut objects = Vec::new();
    let mut errors = Vec::new();
    let mut count = 0;
    for document in documents {
        let (number, line) = (place(document.number), place(document.line));
        let values = flatten(document.value)?;
        let first = count;
        count += values.len();
        // Before one is looked at: of millions that are wrong there would be millions of errors.
        if count > MAX_OBJECTS {
            let detail = format!("more than {MAX_OBJECTS} objects in one request");
            return Err(ApiError::new(Code::TooLarge, detail));
        }
        for (index, value) in (first..).zip(values) {
            match submitted(value, namespace) {
                Ok(object) => objects.push(Submitted {
                    line,
                    document: number,
                    ..object
                }),
                Err(found) => errors.extend(found.into_iter().map(|error| FieldError {
                    line: error.line.or(line),
                    document: error.document.or(number),
                    ..error.within(&format!("objects[{index}]"))
                })),
            }
        }
    }
    if !errors.is_empty() {
        return Err(refused(errors));
    }
    if objects.is_empty() {
        return Err(ApiError::new(Code::Malformed, "the body holds no object"));
    }
    Ok(objects)
}

/// JSON has no places: its documents are number 0.
fn place(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

fn flatten(value: Value) -> Result<Vec<Value>, ApiError> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Object(mut map) if map.get("kind").and_then(Value::as_str) == Some("List") => {
            let known = ["apiVersion", "kind", "metadata", "items"];
            if let Some(unknown) = map.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(ApiError::field(unknown.clone(), "is not a field of a List"));
            }
            match map.remove("items") {
                Some(Value::Array(items)) => Ok(items),
                _ => Err(ApiError::field("items", "must be a list of objects")),
            }
        }
        other => Ok(vec![other]),
    }
}

fn refused(errors: Vec<FieldError>) -> ApiError {
    let too_large = errors.iter().any(|error| error.message.starts_with(TOO_LARGE));
    let refused = ApiError::invalid(errors);
    if too_large {
        ApiError {
            errors: refused.errors,
            ..ApiError::new(Code::TooLarge, refused.detail)
        }
    } else {
        refused
    }
}

const TOO_LARGE: &str = "is larger than";

/// Checks the envelope of one object.
pub fn submitted(value: Value, namespace: &str) -> Result<Submitted, Vec<FieldError>> {
    let Value::Object(mut envelope) = value else {
        return Err(vec![FieldError::new(
            "",
            "must be an object with apiVersion, kind, metadata and spec",
        )]);
    };
    let mut errors = Vec::new();
    match envelope.remove("apiVersion") {
        Some(Value::String(version)) if version == API_VERSION => {}
        _ => errors.push(FieldError::new("apiVersion", format!("must be {API_VERSION:?}"))),
    }
    let kind = kind(envelope.remove("kind"), &mut errors);
    let metadata = metadata(envelope.remove("metadata"), namespace, &mut errors);
    let spec = envelope
        .remove("spec")
        .unwrap_or_else(|| Value::Object(Map::new()));
    envelope.remove("status");
    for unknown in envelope.keys().take(MAX_WRONG) {
        errors.push(FieldError::new(
            unknown,
            "is not a field of an object; it has apiVersion, kind, metadata, spec",
        ));
    }
    check_document(&spec, &mut errors);
    match kind {
        Some(kind) if errors.is_empty() => {
            let (name, labels, annotations) = metadata;
            Ok(Submitted {
                kind,
                name,
                labels,
                annotations,
                spec,
                line: None,
                document: None,
            })
        }
        _ => Err(errors),
    }
}

/// A document within its limit, wherever it came from.
fn check_document(spec: &Value, errors: &mut Vec<FieldError>) {
    let length = spec
        .get("yamlDocument")
        .and_then(Value::as_str)
        .map_or(0, str::len);
    if length > MAX_DOCUMENT {
        let message = format!("{TOO_LARGE} {} MiB", MAX_DOCUMENT >> 20);
        errors.push(FieldError::new("spec.yamlDocument", message));
    }
}

fn kind(value: Option<Value>, errors: &mut Vec<FieldError>) -> Option<&'static KindDescriptor> {
    let Some(Value::String(word)) = value else {
        errors.push(FieldError::new("kind", "is required and must be a string"));
        return None;
    };
    let kind = find_kind(&word).filter(|kind| kind.kind == word);
    if kind.is_none() {
        errors.push(FieldError::new(
            "kind",
            format!("{word:?} is not a kind of {API_VERSION}"),
        ));
    }
    kind
}

type Named = (String, BTreeMap<String, String>, BTreeMap<String, String>);

fn metadata(value: Option<Value>, namespace: &str, errors: &mut Vec<FieldError>) -> Named {
    let mut map = match value {
        Some(Value::Object(map)) => map,
        _ => {
            errors.push(FieldError::new(
                "metadata",
                "is required and must be an object with a name",
            ));
            return Named::default();
        }
    };
    let name = match map.remove("name") {
        Some(Value::String(name)) => {
            errors.extend(name::problem(&name).map(|problem| FieldError::new("metadata.name", problem)));
            name
        }
        Some(_) => {
            errors.push(FieldError::new("metadata.name", "must be a string"));
            String::new()
        }
        None => {
            errors.push(FieldError::new("metadata.name", "is required"));
            String::new()
        }
    };
    match map.remove("namespace") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) if text == namespace => {}
        Some(_) => {
            let message = format!("must be absent or {namespace:?}, the control plane's namespace");
            errors.push(FieldError::new("metadata.namespace", message));
        }
    }
    let labels = labels::labels(&map.remove("labels").unwrap_or_default(), errors);
    let annotations = labels::annotations(&map.remove("annotations").unwrap_or_default(), errors);
    let unknown = map.keys().filter(|key| !SERVER_OWNED.contains(&key.as_str()));
    for unknown in unknown.take(MAX_WRONG) {
        errors.push(FieldError::new(
            format!("metadata.{unknown}"),
            "is not a field of metadata",
        ));
    }
    (name, labels, annotations)
}
