//! When a namespace of ours may be deleted: only if nothing but ours lives in it, and that is known.
//!
//! Otherwise it stays and our identity is taken off. Where another instance of this control plane lives in it, the
//! control plane's label stays on: the last of them to leave removes it.

use futures::{FutureExt, StreamExt, stream};
use kube::api::PropagationPolicy;
use serde_json::{Value, json};
use threeport_engine::RunError;
use threeport_model::{
    identity::{CONTROL_PLANE, INSTANCE, INSTANCE_NAME},
    kinds::workload_definition::ResourceIdentity,
};

use super::{
    super::{identity::Owner, obstacle::Obstacle},
    Applied, Context,
    remove::Failure,
};
use crate::target::{Resource, TargetError};

/// The most objects of one kind that are looked at; a namespace with more of ours is looked at again next time.
const LOOK: u32 = 500;
/// How many kinds are listed at once.
const PARALLEL: usize = 4;

/// Why an object of ours is not deleted.
pub(super) struct Keep {
    pub(super) message: String,
    /// Whether other instances of this control plane are the reason.
    pub(super) for_ours: bool,
}

/// What makes a namespace one that others live in.
pub(super) async fn reason_to_keep(
    context: &Context<'_>,
    namespace: &str,
) -> Result<Option<Keep>, TargetError> {
    let mut others = None;
    let mut resources = context.target.listable().await?;
    resources.retain(|resource| !IGNORED.contains(&resource.plural.as_str()));
    let lists: Vec<_> = resources
        .into_iter()
        .map(|resource| list(context, resource, namespace).boxed())
        .collect();
    let mut lists = stream::iter(lists).buffered(PARALLEL);
    while let Some(found) = lists.next().await {
        let (resource, objects) = found?;
        for object in &objects {
            if !counts(object, &resource, context) {
                continue;
            }
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            if context.world.is_ours(object) {
                continue;
            }
            let owner = context.world.owner(object);
            let whose = if owner == Owner::Ours {
                "somebody who copied our labels".to_owned()
            } else {
                owner.describe()
            };
            let message = format!("{} {name} of {whose} lives in it", resource.kind);
            match owner {
                Owner::Instance(_) | Owner::Left => others = Some(message),
                _ => {
                    return Ok(Some(Keep {
                        message,
                        for_ours: false,
                    }));
                }
            }
        }
    }
    Ok(others.map(|message| Keep {
        message,
        for_ours: true,
    }))
}

async fn list(
    context: &Context<'_>,
    resource: Resource,
    namespace: &str,
) -> Result<(Resource, Vec<Value>), TargetError> {
    match context.target.list_metadata(&resource, namespace, LOOK).await {
        // Gone since discovery was read.
        Err(TargetError::NotFound(_)) => Ok((resource, Vec::new())),
        result => Ok((resource, result?)),
    }
}

/// What the cluster itself puts into namespaces, or what only mirrors something else.
const IGNORED: &[&str] = &["events", "endpoints", "endpointslices", "leases", "pods/metrics"];

fn counts(object: &Value, resource: &Resource, context: &Context<'_>) -> bool {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let planted = matches!(
        (resource.plural.as_str(), name),
        ("configmaps", "kube-root-ca.crt") | ("serviceaccounts", "default")
    );
    // What has an owner goes with it, and its owner is looked at itself.
    let owned = metadata["ownerReferences"]
        .as_array()
        .is_some_and(|owners| !owners.is_empty());
    let metrics = resource.group == "metrics.k8s.io";
    let claimed = resource.plural == "persistentvolumeclaims" && is_claim_of_ours(name, context);
    !(planted || owned || metrics || claimed)
}

/// A StatefulSet's claims are named `<template>-<set>-<ordinal>` and have no owner.
fn is_claim_of_ours(name: &str, context: &Context<'_>) -> bool {
    let Some((rest, ordinal)) = name.rsplit_once('-') else {
        return false;
    };
    let sets = context
        .world
        .claim
        .inventory
        .iter()
        .filter(|row| row.group == "apps" && row.kind == "StatefulSet");
    ordinal.bytes().all(|byte| byte.is_ascii_digit())
        && sets
            .into_iter()
            .any(|row| rest.ends_with(&format!("-{}", row.name)))
}

/// Takes our identity off an object that stays.
pub(super) async fn leave(
    context: &Context<'_>,
    resource: &Resource,
    identity: &ResourceIdentity,
    live: &Value,
    keep: &Keep,
) -> Result<(), Failure> {
    context.lease.check()?;
    let mut labels = json!({INSTANCE: null, INSTANCE_NAME: null});
    if !keep.for_ours {
        labels[CONTROL_PLANE] = Value::Null;
    }
    let version = &live["metadata"]["resourceVersion"];
    let patch = json!({"metadata": {"resourceVersion": version, "labels": labels}});
    context
        .target
        .merge(resource, identity, &patch, &context.manager)
        .await?;
    Ok(())
}

/// Removes the namespace that another instance of ours made and left, if this was the last one in it.
pub(super) async fn remove_left(context: &Context<'_>, applied: &mut Applied) -> Result<(), RunError> {
    let Some(name) = context.world.spec.namespace.clone() else {
        return Ok(());
    };
    match remove_if_left(context, &name).await {
        Ok(()) => Ok(()),
        Err(Failure::Lost(lost)) => Err(lost.into()),
        Err(Failure::Target(error)) => {
            applied
                .obstacles
                .push(Obstacle::of_target(&error, &format!("Namespace {name}")));
            Ok(())
        }
    }
}

async fn remove_if_left(context: &Context<'_>, name: &str) -> Result<(), Failure> {
    let resource = Resource::namespace();
    let identity = ResourceIdentity {
        version: resource.version.clone(),
        kind: resource.kind.clone(),
        name: name.to_owned(),
        ..ResourceIdentity::default()
    };
    let Some(live) = context.target.get_metadata(&resource, &identity).await? else {
        return Ok(());
    };
    if context.world.owner(&live) != Owner::Left || reason_to_keep(context, name).await?.is_some() {
        return Ok(());
    }
    tracing::info!(
        namespace = name,
        "removing a namespace of ours that its last instance left"
    );
    context.lease.check()?;
    let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
    context
        .target
        .delete(&resource, &identity, uid, PropagationPolicy::Background)
        .await?;
    Ok(())
}
