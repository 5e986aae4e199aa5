//! `deletionPolicy: Orphan`: the objects stay, our identity goes off them: labels, and our entry among their managers.

use futures::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use threeport_engine::RunError;
use threeport_failpoint::around;
use threeport_model::{
    identity::{CONTROL_PLANE, INSTANCE, INSTANCE_NAME, PLAN_HASH},
    protocol::inventory::InventoryRow,
};

use super::{
    super::{
        obstacle::Obstacle,
        removable::{Removable, removable},
        world::identity_of,
    },
    Applied,
    context::{Context, nowhere},
    remove::{Failure, by_runtime, resource_of},
};
use crate::{
    target::{TargetError, display},
    writes,
};

/// How many objects are let go of at once.
const PARALLEL: usize = 16;

/// Lets go of everything.
pub(super) async fn release(context: &Context<'_>, rows: &[InventoryRow]) -> Result<Applied, RunError> {
    let mut applied = Applied::default();
    for (runtime, rows) in by_runtime(context, rows) {
        match context.at(runtime) {
            Some(there) => release_there(&there, &rows, &mut applied).await?,
            None => {
                applied.obstacles.extend(rows.first().map(nowhere));
                applied.rows.extend(rows);
            }
        }
    }
    applied.complete = applied.obstacles.is_empty() && !applied.cut_short;
    Ok(applied)
}

async fn release_there(
    context: &Context<'_>,
    rows: &[InventoryRow],
    applied: &mut Applied,
) -> Result<(), RunError> {
    let releases: Vec<_> = rows.iter().map(|row| one(context, row).boxed()).collect();
    let results: Vec<_> = stream::iter(releases).buffered(PARALLEL).collect().await;
    for (row, result) in rows.iter().zip(results) {
        match result {
            Ok(true) => applied.removed.push(row.id),
            Ok(false) => {
                applied.rows.push(row.clone());
                applied.cut_short = true;
            }
            Err(Failure::Lost(lost)) => return Err(lost.into()),
            Err(Failure::Target(error)) => {
                applied.rows.push(row.clone());
                let name = display(&identity_of(row));
                applied.obstacles.push(Obstacle::of_target(&error, &name));
            }
        }
    }
    Ok(())
}

/// Whether it was done; not where it was not begun.
async fn one(context: &Context<'_>, row: &InventoryRow) -> Result<bool, Failure> {
    if !context.goes_on() {
        return Ok(false);
    }
    let released = let_go(context, row).await;
    if matches!(&released, Err(Failure::Target(error)) if error.is_unknown()) {
        context.fell_silent();
    }
    released.map(|()| true)
}

async fn let_go(context: &Context<'_>, row: &InventoryRow) -> Result<(), Failure> {
    let identity = identity_of(row);
    let Some(mut resource) = resource_of(context, row).await? else {
        return Ok(());
    };
    let live = match context.target.get_metadata(&resource, &identity).await {
        Err(TargetError::NotServed(_)) => {
            let other = context.target.find_in_any_version(&row.group, &row.kind).await?;
            let Some(other) = other else { return Ok(()) };
            resource = other;
            context.target.get_metadata(&resource, &identity).await?
        }
        live => live?,
    };
    let Some(live) = live else { return Ok(()) };
    let owner = context.world.owner(&live);
    if !matches!(removable(row, &live, &owner, &context.manager), Removable::Yes(_)) {
        return Ok(());
    }
    let patch = patch(&live, &context.manager);
    let call = context
        .target
        .merge(&resource, &identity, &patch, &context.manager);
    context.lease.guard(around(writes::RELEASE, call)).await??;
    Ok(())
}

/// Of that resourceVersion only, so that nothing that changed meanwhile is overwritten.
fn patch(live: &Value, manager: &str) -> Value {
    let entries = live["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut others: Vec<_> = entries
        .filter(|entry| entry["manager"] != *manager)
        .cloned()
        .collect();
    if others.is_empty() {
        // An empty list would be ignored; one empty entry clears it.
        others.push(json!({}));
    }
    json!({"metadata": {
        "resourceVersion": live["metadata"]["resourceVersion"],
        "labels": {CONTROL_PLANE: null, INSTANCE: null, INSTANCE_NAME: null},
        "annotations": {PLAN_HASH: null},
        "managedFields": others,
    }})
}
