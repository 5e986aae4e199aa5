//! `deletionPolicy: Orphan`: the objects stay, our identity goes off them: labels, and our entry among their managers.

use serde_json::{Value, json};
use threeport_engine::RunError;
use threeport_model::{
    identity::{CONTROL_PLANE, INSTANCE, INSTANCE_NAME},
    protocol::inventory::InventoryRow,
};

use super::{
    super::{
        obstacle::Obstacle,
        removable::{Removable, removable},
        world::identity_of,
    },
    Applied, Context,
    remove::{Failure, resource_of},
};
use crate::target::display;

/// Lets go of everything.
pub(super) async fn release(context: &Context<'_>, rows: &[InventoryRow]) -> Result<Applied, RunError> {
    let mut applied = Applied::default();
    for row in rows {
        match one(context, row).await {
            Ok(()) => applied.removed.push(row.id),
            Err(Failure::Lost(lost)) => return Err(lost.into()),
            Err(Failure::Target(error)) => {
                applied.rows.push(row.clone());
                applied
                    .obstacles
                    .push(Obstacle::of_target(&error, &display(&identity_of(row))));
            }
        }
    }
    applied.complete = applied.obstacles.is_empty();
    Ok(applied)
}

async fn one(context: &Context<'_>, row: &InventoryRow) -> Result<(), Failure> {
    let identity = identity_of(row);
    let Some(resource) = resource_of(context, row).await? else {
        return Ok(());
    };
    let Some(live) = context.target.get_metadata(&resource, &identity).await? else {
        return Ok(());
    };
    let owner = context.world.owner(&live);
    if !matches!(removable(row, &live, &owner, &context.manager), Removable::Yes(_)) {
        return Ok(());
    }
    context.lease.check()?;
    context
        .target
        .merge(
            &resource,
            &identity,
            &patch(&live, &context.manager),
            &context.manager,
        )
        .await?;
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
        "managedFields": others,
    }})
}
