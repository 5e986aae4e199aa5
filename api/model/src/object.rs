//! The one form that every object has, in REST, in files and (its metadata aside) as a custom resource.
//!
//! `spec` and `status` are JSON here; [`crate::kind::Kind`] gives them their types. Server-owned metadata in a
//! submitted file is accepted and ignored by name, so that what `get -o yaml` printed can be applied again.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{condition, problem::FieldError};

/// The API group of every kind.
pub const GROUP: &str = "threeport.io";
/// The one version of the API that is served.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of every object.
pub const API_VERSION: &str = "threeport.io/v1alpha1";

/// The most bytes of all annotations of an object, as in Kubernetes.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// The most bytes of all its labels: whoever asks whether an object is selected reads them with it, hundreds at once.
const MAX_LABELS: usize = 16 << 10;

/// What is wrong with annotations as a whole.
pub fn annotations_problem(annotations: &BTreeMap<String, String>) -> Option<FieldError> {
    bytes_problem("metadata.annotations", annotations, MAX_ANNOTATIONS)
}

/// What is wrong with labels as a whole.
pub fn labels_problem(labels: &BTreeMap<String, String>) -> Option<FieldError> {
    bytes_problem("metadata.labels", labels, MAX_LABELS)
}

fn bytes_problem(field: &str, strings: &BTreeMap<String, String>, most: usize) -> Option<FieldError> {
    let bytes: usize = strings.iter().map(|(key, value)| key.len() + value.len()).sum();
    (bytes > most).then(|| FieldError::new(field, format!("must be at most {} KiB together", most >> 10)))
}

/// Who owns the desired state of an object, and so may change it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ManagedBy {
    /// Written through REST or `tptctl`; its custom resource is a mirror.
    #[default]
    Api,
    /// Written as a custom resource; read-only through REST until taken over.
    Kubernetes,
    /// Written by the control plane itself.
    System,
}

impl ManagedBy {
    /// The word that JSON, labels and the database use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Kubernetes => "kubernetes",
            Self::System => "system",
        }
    }

    /// The owner named by `word`, if there is one.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "api" => Some(Self::Api),
            "kubernetes" => Some(Self::Kubernetes),
            "system" => Some(Self::System),
            _ => None,
        }
    }
}

/// Where an object that Kubernetes manages came from: one incarnation of one custom resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// `metadata.uid` of the custom resource.
    pub uid: String,
    /// `metadata.generation` of the custom resource; an older one of the same uid is refused.
    pub generation: i64,
}

/// What identifies an object and counts its changes. All but `name`, `labels` and `annotations` is the server's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Random (UUIDv4) and never used again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// RFC 1123 label, unique per kind within its control plane.
    pub name: String,
    /// For selectors; keys and values as in Kubernetes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// For people and tools; not selectable.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// +1 per change of the desired state: specification, pins, deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Changes with metadata and specification, not with status. With the id the ETag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<i64>,
    /// Who may change the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<ManagedBy>,
    /// The custom resource that the object was taken from, where Kubernetes manages it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// RFC 3339, the database's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<jiff::Timestamp>,
    /// RFC 3339, the database's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<jiff::Timestamp>,
    /// When the status last changed: RFC 3339, the database's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_updated_at: Option<jiff::Timestamp>,
    /// When deletion was asked for; the object lives until what it made is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_requested_at: Option<jiff::Timestamp>,
}

/// An object of any kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// The kind's name, as in `WorkloadInstance`.
    pub kind: String,
    /// Identity and counters.
    pub metadata: Metadata,
    /// What is wanted.
    #[serde(default)]
    pub spec: Value,
    /// What is.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub status: Value,
}

impl Object {
    /// A new object of `kind`, as a person would write it.
    pub fn new(kind: &str, name: &str, spec: Value) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: kind.to_owned(),
            metadata: Metadata {
                name: name.to_owned(),
                ..Metadata::default()
            },
            spec,
            status: Value::Null,
        }
    }

    /// The specification as its kind's type. Fails where the database holds what this version can't read.
    pub fn typed_spec<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.spec)
    }

    /// The status as its kind's type; an absent status is the default one. What can't be read of it (of another version, after
    /// a downgrade say) is left out alone: only who goes on without it writes it anew.
    pub fn typed_status<T: DeserializeOwned + Default>(&self) -> T {
        if self.status.is_null() {
            return T::default();
        }
        T::deserialize(&self.status).unwrap_or_else(|_| readable(&self.status))
    }

    /// The id that the server gave; nil for an object that was never stored.
    pub fn id(&self) -> Uuid {
        self.metadata.id.unwrap_or_default()
    }

    /// The generation of the desired state; 0 for an object that was never stored.
    pub fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or_default()
    }

    /// Whether somebody asked for its deletion.
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_requested_at.is_some()
    }

    /// `Kind/name`, for messages.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.kind, self.metadata.name)
    }
}

/// What can be read of a status. Every field of one has a default, so each can be tried alone.
fn readable<T: DeserializeOwned + Default>(status: &Value) -> T {
    let mut fields = status.as_object().cloned().unwrap_or_default();
    if fields.contains_key("conditions") {
        fields.insert("conditions".to_owned(), json!(condition::of_status(status)));
    }
    fields.retain(|name, value| {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        T::deserialize(Value::Object(alone)).is_ok()
    });
    T::deserialize(Value::Object(fields)).unwrap_or_default()
}

/// A page of objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectList {
    /// In the order of their names.
    pub items: Vec<Object>,
    /// Opaque; pass it as `?continue=` for the next page. Absent on the last page.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none", default)]
    pub continue_token: Option<String>,
    /// Where a watch that follows this list starts (`/watch?since=`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub watch_token: Option<String>,
}
