//! The desired objects of an instance: its definition's documents with namespace and identity. Pure.
//!
//! Identity labels go on the objects themselves and never into pod templates: an upgrade of ours restarts nobody's
//! pods. The hash of an object is over what its author wrote, not over our labels, for the same reason. It goes on the
//! object as an annotation, so that whoever looks knows which plan was applied last, whoever applied it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use threeport_model::{
    digest, identity::PLAN_HASH, kinds::workload_definition::ResourceIdentity, manifest::Manifest,
};

use super::order::{Rank, rank};
use crate::target::Resource;

/// A kind that a definition's documents use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServedKind {
    pub(super) resource: Resource,
    /// Whether the cluster serves it now. Otherwise a CRD of the same set brings it.
    pub(super) served: bool,
}

/// Kinds by group, version and kind.
pub(super) type Kinds = BTreeMap<(String, String, String), ServedKind>;

/// An object as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Desired {
    pub(super) identity: ResourceIdentity,
    pub(super) resource: Resource,
    pub(super) served: bool,
    /// With identity; secret values are placeholders.
    pub(super) object: Value,
    pub(super) hash: String,
    pub(super) rank: Rank,
}

/// What goes into every object.
#[derive(Clone, Debug)]
pub(super) struct Placement<'a> {
    /// For documents that name none.
    pub(super) namespace: &'a str,
    /// Whether the namespace itself is the instance's.
    pub(super) owns_namespace: bool,
    pub(super) labels: &'a BTreeMap<String, String>,
}

/// Metadata that only the API server writes; a document that was read from a cluster may have it.
const SERVER_OWNED: &[&str] = &[
    "creationTimestamp",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The key under which kinds are looked up.
pub(super) fn kind_key(identity: &ResourceIdentity) -> (String, String, String) {
    (
        identity.group.clone(),
        identity.version.clone(),
        identity.kind.clone(),
    )
}

/// The desired objects in the order in which they are applied. Every kind must be in `kinds`.
pub(super) fn render(manifests: &[Manifest], kinds: &Kinds, placement: &Placement<'_>) -> Vec<Desired> {
    let mut desired: Vec<_> = manifests
        .iter()
        .filter_map(|manifest| {
            Some(one(
                manifest,
                kinds.get(&kind_key(&manifest.identity))?,
                placement,
            ))
        })
        .collect();
    let used: BTreeSet<&str> = desired
        .iter()
        .map(|object| object.identity.namespace.as_str())
        .collect();
    let defined = desired
        .iter()
        .any(|object| object.rank == Rank::Namespace && object.identity.name == placement.namespace);
    if placement.owns_namespace && used.contains(placement.namespace) && !defined {
        desired.push(namespace(placement));
    }
    desired.sort_by_key(|object| object.rank);
    desired
}

fn one(manifest: &Manifest, kind: &ServedKind, placement: &Placement<'_>) -> Desired {
    let mut object = manifest.object.clone();
    let mut identity = manifest.identity.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    let namespaced = kind.resource.namespaced;
    if !namespaced {
        identity.namespace.clear();
    } else if identity.namespace.is_empty() {
        placement.namespace.clone_into(&mut identity.namespace);
    }
    if let Some(metadata) = metadata(&mut object) {
        SERVER_OWNED
            .iter()
            .for_each(|field| drop(metadata.remove(*field)));
        metadata.remove("namespace");
        // A document that was read from a cluster may have it.
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(PLAN_HASH);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        if namespaced {
            metadata.insert("namespace".to_owned(), json!(identity.namespace));
        }
    }
    finish(identity, kind.resource.clone(), kind.served, object, placement)
}

fn namespace(placement: &Placement<'_>) -> Desired {
    let resource = Resource::namespace();
    let identity = ResourceIdentity {
        version: resource.version.clone(),
        kind: resource.kind.clone(),
        name: placement.namespace.to_owned(),
        ..ResourceIdentity::default()
    };
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": placement.namespace}});
    finish(identity, resource, true, object, placement)
}

fn finish(
    identity: ResourceIdentity,
    resource: Resource,
    served: bool,
    mut object: Value,
    placement: &Placement<'_>,
) -> Desired {
    let hash = digest::of_json(&object);
    if let Some(metadata) = metadata(&mut object) {
        let labels = placement
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)));
        extend(metadata, "labels", labels);
        extend(metadata, "annotations", [(PLAN_HASH.to_owned(), json!(hash))]);
    }
    let rank = rank(&identity.group, &identity.kind);
    Desired {
        identity,
        resource,
        served,
        object,
        hash,
        rank,
    }
}

/// Puts entries into a map of the metadata, which may not be there yet.
fn extend(
    metadata: &mut Map<String, Value>,
    field: &str,
    entries: impl IntoIterator<Item = (String, Value)>,
) {
    let map = metadata.get(field).and_then(Value::as_object);
    let mut map = map.cloned().unwrap_or_default();
    map.extend(entries);
    metadata.insert(field.to_owned(), Value::Object(map));
}

/// The metadata; there always is one, for an object without a name is no manifest.
fn metadata(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("metadata")?.as_object_mut()
}

/// The kind that a CRD among `manifests` brings, if one does.
pub(super) fn kind_of_set(manifests: &[Manifest], wanted: &ResourceIdentity) -> Option<Resource> {
    let definitions = manifests
        .iter()
        .filter(|manifest| manifest.identity.kind == "CustomResourceDefinition");
    definitions
        .map(|manifest| &manifest.object["spec"])
        .find_map(|spec| {
            let same = spec["group"] == *wanted.group && spec["names"]["kind"] == *wanted.kind;
            let served = spec["versions"]
                .as_array()?
                .iter()
                .any(|version| version["name"] == *wanted.version);
            (same && served).then(|| Resource {
                group: wanted.group.clone(),
                version: wanted.version.clone(),
                kind: wanted.kind.clone(),
                plural: spec["names"]["plural"].as_str().unwrap_or_default().to_owned(),
                namespaced: spec["scope"] == "Namespaced",
            })
        })
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
