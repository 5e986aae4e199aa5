//! Removing a namespace of ours, and leaving one. What may be in it, [`super::tenants`] finds out.
//!
//! A namespace in which others live stays and our identity is taken off. Where another instance of this control plane
//! lives in it, the control plane's label stays on: the last of them to leave removes it. Two that leave at once may each
//! see the other's objects, so whoever has left looks once more.

use std::collections::BTreeSet;

use kube::api::PropagationPolicy;
use serde_json::{Value, json};
use threeport_engine::RunError;
use threeport_failpoint::around;
use threeport_model::{
    identity::{CONTROL_PLANE, INSTANCE, INSTANCE_NAME, PLAN_HASH},
    kinds::workload_definition::ResourceIdentity,
    protocol::inventory::InventoryRow,
};

use super::{
    super::{identity::Owner, obstacle::Obstacle},
    Applied,
    context::Context,
    remove::Failure,
    tenants::{self, Keep, Verdict},
};
use crate::{
    target::{Resource, TargetError},
    writes,
};

/// Takes our identity off an object that stays.
pub(super) async fn leave(
    context: &Context<'_>,
    resource: &Resource,
    identity: &ResourceIdentity,
    live: &Value,
    keep: &Keep,
) -> Result<(), Failure> {
    let mut labels = json!({INSTANCE: null, INSTANCE_NAME: null});
    if !keep.for_ours {
        labels[CONTROL_PLANE] = Value::Null;
    }
    let version = &live["metadata"]["resourceVersion"];
    let annotations = json!({PLAN_HASH: null});
    let patch =
        json!({"metadata": {"resourceVersion": version, "labels": labels, "annotations": annotations}});
    let call = context.target.merge(resource, identity, &patch, &context.manager);
    context.lease.guard(around(writes::LEAVE, call)).await??;
    Ok(())
}

/// Removes the namespaces that other instances of ours made and left, if this was the last one in them: the one that the
/// instance names, and those that its documents name.
pub(super) async fn remove_left(
    context: &Context<'_>,
    rows: &[InventoryRow],
    applied: &mut Applied,
) -> Result<(), RunError> {
    let named = context.world.spec.namespace.iter();
    let of_rows = rows.iter().map(|row| &row.namespace);
    let mut names: BTreeSet<&str> = named.chain(of_rows).map(String::as_str).collect();
    names.remove("");
    for row in rows
        .iter()
        .filter(|row| row.group.is_empty() && row.kind == "Namespace")
    {
        names.remove(row.name.as_str());
    }
    for name in names {
        match remove_if_left(context, name).await {
            Ok(_) => {}
            Err(Failure::Lost(lost)) => return Err(lost.into()),
            Err(Failure::Target(error)) => {
                let obstacle = Obstacle::of_target(&error, &format!("Namespace {name}"));
                applied.obstacles.push(obstacle);
            }
        }
    }
    Ok(())
}

/// Whether it was removed.
pub(super) async fn remove_if_left(context: &Context<'_>, name: &str) -> Result<bool, Failure> {
    let resource = Resource::namespace();
    let identity = ResourceIdentity {
        version: resource.version.clone(),
        kind: resource.kind.clone(),
        name: name.to_owned(),
        ..ResourceIdentity::default()
    };
    let live = match context.target.get_metadata(&resource, &identity).await {
        Ok(Some(live)) => live,
        // Who may not even read it did not make it.
        Ok(None) | Err(TargetError::Forbidden { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let going = !live["metadata"]["deletionTimestamp"].is_null();
    if going
        || context.world.owner(&live) != Owner::Left
        || tenants::of_namespace(context, name).await? != Verdict::Free
    {
        return Ok(false);
    }
    tracing::info!(
        namespace = name,
        "removing a namespace of ours that its last instance left"
    );
    let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
    let call = context
        .target
        .delete(&resource, &identity, uid, PropagationPolicy::Background);
    context.lease.guard(around(writes::REMOVE_LEFT, call)).await??;
    Ok(true)
}
