//! Removing a namespace of ours, and leaving one. What may be in it, [`super::tenants`] finds out.
//!
//! A namespace in which others live stays and our identity is taken off. Where another instance of this control plane
//! lives in it, the control plane's label stays on: the last of them to leave removes it. Two that leave at once may each
//! see the other's objects, so whoever has left looks once more. Who can't, or has to wait, does so in his next run: nobody
//! else would.

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
use uuid::Uuid;

use super::{
    super::{identity::Owner, obstacle::Obstacle},
    Applied, Waiting,
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

/// What became of a namespace that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Vacated {
    /// It goes.
    Removed,
    /// It is not ours to remove, or others live in it.
    Kept,
    /// It goes once that is gone.
    Waiting(String),
}

/// Removes the namespaces that other instances of ours made and left, if this was the last one in them: the one that the
/// instance names, and those that its documents name. One waits only for what the instance has in it. Answers those that
/// have to be looked at again.
pub(super) async fn remove_left(
    context: &Context<'_>,
    rows: &[InventoryRow],
    applied: &mut Applied,
) -> Result<BTreeSet<String>, RunError> {
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
    let mut again = BTreeSet::new();
    for name in names {
        let is_lived_in = rows
            .iter()
            .any(|row| row.namespace == name && !applied.removed.contains(&row.id));
        if is_lived_in || !look_at(context, name, applied).await? {
            again.insert(name.to_owned());
        }
    }
    Ok(again)
}

/// Has rows stay though their objects are gone, where a namespace has yet to go: a StatefulSet's, since by its name its
/// volume claims are known as ours, and one at least of each namespace that has to be looked at `again`, since nothing else
/// says so.
pub(super) fn remember(rows: &[InventoryRow], applied: &mut Applied, again: &BTreeSet<String>) {
    let stays = |row: &&InventoryRow| !applied.removed.contains(&row.id);
    let namespaces = rows
        .iter()
        .filter(|row| row.group.is_empty() && row.kind == "Namespace")
        .filter(stays);
    let own = namespaces.map(|row| row.name.as_str());
    let unsettled: BTreeSet<&str> = own.chain(again.iter().map(String::as_str)).collect();
    let sets = rows
        .iter()
        .filter(|row| row.group == "apps" && row.kind == "StatefulSet" && !stays(row))
        .filter(|row| unsettled.contains(row.namespace.as_str()));
    let mut remembered: BTreeSet<Uuid> = sets.map(|row| row.id).collect();
    for name in again {
        let there: Vec<&InventoryRow> = rows.iter().filter(|row| row.namespace == *name).collect();
        let is_known = |row: &&InventoryRow| stays(row) || remembered.contains(&row.id);
        if !there.iter().any(is_known) {
            // There may be none in the one that the instance names.
            let one = there.first().copied().or_else(|| rows.first());
            remembered.extend(one.map(|row| row.id));
        }
    }
    applied.remembered.extend(remembered);
}

/// Looks at a namespace that this instance has nothing in any more. Answers whether that was the last time.
async fn look_at(context: &Context<'_>, name: &str, applied: &mut Applied) -> Result<bool, RunError> {
    if !context.goes_on() {
        applied.cut_short = true;
        return Ok(false);
    }
    let on = format!("Namespace {name}");
    match remove_if_left(context, name).await {
        Ok(Vacated::Removed | Vacated::Kept) => return Ok(true),
        Ok(Vacated::Waiting(what)) => applied.waiting.push(Waiting {
            on,
            what,
            watched: false,
        }),
        Err(Failure::Lost(lost)) => return Err(lost.into()),
        Err(Failure::Target(error)) => {
            if error.is_unknown() {
                context.fell_silent();
            }
            applied.obstacles.push(Obstacle::of_target(&error, &on));
        }
    }
    Ok(false)
}

/// Removes a namespace of ours in which nobody lives.
pub(super) async fn remove_if_left(context: &Context<'_>, name: &str) -> Result<Vacated, Failure> {
    let resource = Resource::namespace();
    let identity = ResourceIdentity {
        version: resource.version.clone(),
        kind: resource.kind.clone(),
        name: name.to_owned(),
        ..ResourceIdentity::default()
    };
    let live = match context.target.get_metadata(&resource, &identity).await {
        Ok(Some(live)) => live,
        Ok(None) => return Ok(Vacated::Removed),
        // Who may not even read it did not make it.
        Err(TargetError::Forbidden { .. }) => return Ok(Vacated::Kept),
        Err(error) => return Err(error.into()),
    };
    if !live["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Vacated::Removed);
    }
    if context.world.owner(&live) != Owner::Left {
        return Ok(Vacated::Kept);
    }
    match tenants::of_namespace(context, name).await? {
        Verdict::Free => {}
        Verdict::Wait(what) => return Ok(Vacated::Waiting(what)),
        Verdict::Keep(_) => return Ok(Vacated::Kept),
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
    Ok(Vacated::Removed)
}

#[cfg(test)]
#[path = "namespace_tests.rs"]
mod tests;
