//! Which claims of volumes are our StatefulSets': they have no owner, carry no label of ours, and outlive their sets.
//!
//! One is named `<template>-<set>-<ordinal>`, and each of the three but the last may have dashes in it: only who knows the
//! templates knows whose it is. They are read from the definition. Where that has the set no more, its claims are taken for
//! somebody else's: data that stay are a nuisance, data that go are gone.

use threeport_model::{kinds::workload_definition, manifest};

use super::super::world::World;
use crate::target::Resource;

/// What the names of our claims in a namespace begin with: `<template>-<set>`.
pub(super) fn of_ours(world: &World, namespace: &str) -> Vec<String> {
    let spec = world
        .definition()
        .and_then(|definition| definition.typed_spec::<workload_definition::Spec>().ok());
    let manifests = spec
        .and_then(|spec| manifest::of_spec(&spec).ok())
        .unwrap_or_default();
    let own = world.namespace.as_deref().unwrap_or_default();
    let is_set = |group: &str, kind: &str| group == "apps" && kind == "StatefulSet";
    let mut claims = Vec::new();
    for manifest in manifests {
        let set = &manifest.identity;
        let set_namespace = if set.namespace.is_empty() {
            own
        } else {
            &set.namespace
        };
        let is_ours =
            world.claim.inventory.iter().any(|row| {
                is_set(&row.group, &row.kind) && row.name == set.name && row.namespace == namespace
            });
        if !is_set(&set.group, &set.kind) || set_namespace != namespace || !is_ours {
            continue;
        }
        let templates = manifest.object["spec"]["volumeClaimTemplates"].as_array();
        let names = templates
            .into_iter()
            .flatten()
            .filter_map(|template| template["metadata"]["name"].as_str());
        claims.extend(names.map(|template| format!("{template}-{}", set.name)));
    }
    claims
}

/// Whether an object is one of them.
pub(super) fn is_one(resource: &Resource, name: &str, claims: &[String]) -> bool {
    let Some((beginning, ordinal)) = name.rsplit_once('-') else {
        return false;
    };
    resource.group.is_empty()
        && resource.plural == "persistentvolumeclaims"
        && !ordinal.is_empty()
        && ordinal.bytes().all(|byte| byte.is_ascii_digit())
        && claims.iter().any(|claim| claim == beginning)
}
