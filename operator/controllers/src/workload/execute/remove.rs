//! Removes objects: custom resources first and waited for, CRDs and namespaces last and only if that is safe.
//!
//! An object is deleted by its uid, and only if it is ours: either an agent saw our fields on it untouched, or it is read
//! first ([`removable`]). What is gone, or not ours, leaves the inventory; what can't be read stays in it.
//!
//! The rows of a tombstone are leftovers: what a replica that was paused made late. They go the same way.

use kube::api::PropagationPolicy;
use threeport_engine::{LeaseLost, RunError};
use threeport_model::{
    kinds::{event::EventType, workload_instance::Health},
    protocol::inventory::InventoryRow,
};

use super::{
    super::{
        obstacle::{Obstacle, Reason},
        order::{Rank, rank},
        removable::{Removable, removable},
        world::identity_of,
    },
    Applied, Context, Waiting, custom_resource_definition, namespace,
};
use crate::target::{DeleteAnswer, Resource, TargetError, display};

const UNSEEN: &str = "another object took its place; it is looked at once the agent saw it";

/// What became of a row.
pub(super) enum Removal {
    /// Its object is gone.
    Gone,
    /// Its object stays, without our identity; why.
    Kept(String),
    /// Its object goes once that is done.
    Waiting(String),
}

pub(super) enum Failure {
    Lost(LeaseLost),
    Target(TargetError),
}

impl From<LeaseLost> for Failure {
    fn from(lost: LeaseLost) -> Self {
        Self::Lost(lost)
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

/// Removes rows in their order. `all`: the instance itself goes, and with it what it was the last to live in.
pub(super) async fn remove(
    context: &Context<'_>,
    rows: &[InventoryRow],
    mut applied: Applied,
    all: bool,
) -> Result<Applied, RunError> {
    let row_rank = |row: &InventoryRow| rank(&row.group, &row.kind);
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let end = rest
            .iter()
            .position(|row| row_rank(row) != row_rank(first))
            .unwrap_or(rest.len());
        let (group, later) = rest.split_at(end);
        for row in group {
            note(context, &mut applied, row, one(context, row).await)?;
        }
        rest = later;
        let waits = row_rank(first) == Rank::CustomResource && !applied.waiting.is_empty();
        if waits || applied.obstacles.iter().any(is_unknown) {
            applied.rows.extend(rest.iter().cloned());
            return Ok(applied);
        }
    }
    if all && applied.waiting.is_empty() && applied.obstacles.is_empty() {
        namespace::remove_left(context, &mut applied).await?;
    }
    applied.complete = applied.waiting.is_empty() && applied.obstacles.is_empty();
    Ok(applied)
}

fn is_unknown(obstacle: &Obstacle) -> bool {
    obstacle.reason == Reason::RuntimeUnreachable
}

fn note(
    context: &Context<'_>,
    applied: &mut Applied,
    row: &InventoryRow,
    result: Result<Removal, Failure>,
) -> Result<(), RunError> {
    let name = display(&identity_of(row));
    match result {
        Ok(Removal::Gone) => {
            applied.removed.push(row.id);
            if context.world.claim.deleted {
                let message = format!("{name}, which appeared after its instance was gone, is gone too");
                applied.event(context.world, EventType::Normal, "LeftoverRemoved", message);
            }
        }
        Ok(Removal::Kept(why)) => {
            applied.removed.push(row.id);
            let message = format!("Kept {name}: {why}");
            applied.event(context.world, EventType::Warning, "Kept", message);
            applied.kept.push(format!("{name}: {why}"));
        }
        Ok(Removal::Waiting(what)) => {
            applied.rows.push(row.clone());
            applied.waiting.push(Waiting { on: name, what });
        }
        Err(Failure::Lost(lost)) => return Err(lost.into()),
        Err(Failure::Target(error)) => {
            applied.rows.push(row.clone());
            applied.obstacles.push(Obstacle::of_target(&error, &name));
        }
    }
    Ok(())
}

/// The row's kind as the cluster serves it; nothing where it doesn't any more (its CRD is gone, and so are its objects).
pub(super) async fn resource_of(
    context: &Context<'_>,
    row: &InventoryRow,
) -> Result<Option<Resource>, TargetError> {
    if row.plural.is_empty() {
        return context.target.find(&row.group, &row.version, &row.kind).await;
    }
    Ok(Some(Resource {
        group: row.group.clone(),
        version: row.version.clone(),
        kind: row.kind.clone(),
        plural: row.plural.clone(),
        namespaced: !row.namespace.is_empty(),
    }))
}

async fn one(context: &Context<'_>, row: &InventoryRow) -> Result<Removal, Failure> {
    let identity = identity_of(row);
    let Some(resource) = resource_of(context, row).await? else {
        return Ok(Removal::Gone);
    };
    let guarded = matches!(
        rank(&row.group, &row.kind),
        Rank::Namespace | Rank::CustomResourceDefinition
    );
    let mut uid = row
        .uid
        .clone()
        .filter(|_| !guarded && is_seen_as_ours(row, context));
    // A second look, should the object be replaced between the first and the deletion.
    for _ in 0..2 {
        let known = match uid.take() {
            Some(uid) => uid,
            None => {
                let Some(live) = context.target.get_metadata(&resource, &identity).await? else {
                    return Ok(Removal::Gone);
                };
                let owner = context.world.owner(&live);
                let known = match removable(row, &live, &owner, &context.manager) {
                    Removable::Yes(uid) => uid,
                    Removable::No(why) => return Ok(Removal::Kept(why.to_owned())),
                    Removable::Unseen => return Ok(Removal::Waiting(UNSEEN.to_owned())),
                };
                let keep = match rank(&row.group, &row.kind) {
                    Rank::Namespace => namespace::reason_to_keep(context, &row.name).await?,
                    Rank::CustomResourceDefinition => {
                        custom_resource_definition::reason_to_keep(context, &resource, &identity).await?
                    }
                    _ => None,
                };
                if let Some(reason) = keep {
                    namespace::leave(context, &resource, &identity, &live, &reason).await?;
                    return Ok(Removal::Kept(reason.message));
                }
                known
            }
        };
        context.lease.check()?;
        match context
            .target
            .delete(&resource, &identity, &known, propagation(row))
            .await
        {
            Ok(DeleteAnswer::Gone) => return Ok(Removal::Gone),
            Ok(DeleteAnswer::Terminating(finalizers)) => return Ok(Removal::Waiting(finalizers.join(", "))),
            Err(TargetError::Replaced) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Removal::Waiting("it is replaced again and again".to_owned()))
}

/// Whether an agent saw the object with all that we wrote, our labels included.
fn is_seen_as_ours(row: &InventoryRow, context: &Context<'_>) -> bool {
    let observed = &row.observed;
    context
        .world
        .claim
        .agent
        .as_ref()
        .is_some_and(|agent| agent.heard && agent.epoch == observed.epoch)
        && observed.seen_at.is_some()
        && observed.uid.is_some()
        && observed.uid == row.uid
        && observed.health != Health::Missing
        && observed.ownership_digest.is_some()
        && observed.ownership_digest == row.ownership_digest
}

/// What has pods goes after them, so that a removed instance has none left.
fn propagation(row: &InventoryRow) -> PropagationPolicy {
    match (row.group.as_str(), row.kind.as_str()) {
        ("apps" | "batch", _) | ("", "ReplicationController") => PropagationPolicy::Foreground,
        _ => PropagationPolicy::Background,
    }
}
