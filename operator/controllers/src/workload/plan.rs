//! What to do with each object. Pure: everything that was found out is in the world.

use serde_json::Value;
use threeport_model::{
    identity::PLAN_HASH,
    kinds::workload_instance::DeletionPolicy,
    ownership,
    protocol::inventory::{InventoryRow, Observed},
};
use uuid::Uuid;

use super::{
    fighting,
    identity::Owner,
    observed::{Need, need},
    obstacle::{Obstacle, Reason},
    order::rank,
    render::Desired,
    unrecorded,
    world::World,
};
use crate::target::display;

/// What a run does.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Nothing can be written.
    Blocked,
    /// The desired objects are made as they should be, then what is not desired any more is removed.
    Apply {
        /// In order.
        steps: Vec<Step>,
        /// In order of removal.
        removals: Vec<InventoryRow>,
    },
    /// Everything is removed, in that order.
    Remove(Vec<InventoryRow>),
    /// Our identity is taken off everything.
    Release(Vec<InventoryRow>),
}

/// What is done with one desired object.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its place in the world's desired objects.
    pub(super) desired: usize,
    /// Its inventory row; new ones are written as intent first.
    pub(super) row: InventoryRow,
    /// Whether the row is new.
    pub(super) is_new: bool,
    pub(super) action: Action,
}

/// What is done with an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// It is as it should be.
    Keep,
    /// It is not there.
    Create,
    /// It is ours and is to change. `heal`: somebody else changed it.
    Update { uid: String, heal: bool },
    /// It was healed too often.
    Hold,
    /// It can't be touched.
    Refuse(Obstacle),
}

/// The plan of a run.
pub(super) fn plan(world: &World, now: jiff::Timestamp) -> Plan {
    if world.obstacle.is_some() {
        return Plan::Blocked;
    }
    if world.is_deleting() {
        let rows = removals(world, &[]);
        return match world.spec.deletion_policy {
            DeletionPolicy::Delete => Plan::Remove(rows),
            DeletionPolicy::Orphan => Plan::Release(rows),
        };
    }
    let steps = world
        .desired
        .iter()
        .enumerate()
        .map(|(index, desired)| step(world, index, desired, now))
        .collect();
    Plan::Apply {
        steps,
        removals: removals(world, &world.desired),
    }
}

/// The rows of objects that are not desired, or not there, in the order of removal.
fn removals(world: &World, desired: &[Desired]) -> Vec<InventoryRow> {
    let is_wanted = |row: &InventoryRow| {
        desired
            .iter()
            .any(|desired| world.is_row_of(row, &desired.identity))
    };
    let rows = world.claim.inventory.iter();
    let rows = rows.filter(|row| !is_wanted(row) && !unrecorded::stays(world, row));
    let mut rows: Vec<_> = rows.cloned().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(rank(&row.group, &row.kind)));
    rows
}

fn step(world: &World, index: usize, desired: &Desired, now: jiff::Timestamp) -> Step {
    match world.row(desired) {
        None => Step {
            desired: index,
            row: new_row(world, desired),
            is_new: true,
            action: Action::Create,
        },
        Some(row) => Step {
            desired: index,
            row: row.clone(),
            is_new: false,
            action: action(world, desired, row, now),
        },
    }
}

fn action(world: &World, desired: &Desired, row: &InventoryRow, now: jiff::Timestamp) -> Action {
    let need = need(row, &desired.hash, world.claim.agent.as_ref());
    let Some(uid) = row.uid.clone().filter(|_| need != Need::Nothing) else {
        return if need == Need::Nothing {
            Action::Keep
        } else {
            Action::Create
        };
    };
    if world.unread.contains(&row.id) {
        // Not applied over what nobody looked at. As an obstacle, so that nothing is done that may need it.
        let name = display(&desired.identity);
        let message = format!("{name} is not looked at yet, since many are; the next run goes on with it");
        return Action::Refuse(Obstacle::new(Reason::Progressing, name, message));
    }
    let same_plan = row.plan_hash.as_deref() == Some(desired.hash.as_str());
    match world.live.get(&row.id) {
        None => Action::Update { uid, heal: false },
        Some(None) => Action::Create,
        Some(Some(live)) => over(world, desired, row, live, same_plan, now),
    }
}

/// What to do with an object that was read.
fn over(
    world: &World,
    desired: &Desired,
    row: &InventoryRow,
    live: &Value,
    same_plan: bool,
    now: jiff::Timestamp,
) -> Action {
    let name = display(&desired.identity);
    let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let known = row.uid.as_deref() == Some(uid.as_str());
    if !live["metadata"]["deletionTimestamp"].is_null() {
        let message = format!("{name} is being deleted; it is made again once it is gone");
        return Action::Refuse(Obstacle::new(Reason::Progressing, name, message));
    }
    if !known && world.owner(live) != Owner::Ours {
        // Somebody put another object in its place. Adoption is decided where a create meets it.
        return Action::Create;
    }
    let digest = ownership::of_metadata(&live["metadata"], &world.manager());
    if known && same_plan && digest == row.ownership_digest {
        return Action::Keep;
    }
    // What a replica of ours wrote late says so itself: nobody else changed it.
    let written = live["metadata"]["annotations"][PLAN_HASH].as_str();
    let stale = written.is_some_and(|plan| plan != desired.hash);
    let heal = same_plan && known && !stale;
    if heal && fighting::is_fighting(row, now) {
        Action::Hold
    } else {
        Action::Update { uid, heal }
    }
}

fn new_row(world: &World, desired: &Desired) -> InventoryRow {
    InventoryRow {
        // Given when it is written: a plan makes no random number.
        id: Uuid::nil(),
        runtime_id: world
            .runtime
            .as_ref()
            .map(|runtime| runtime.id)
            .unwrap_or_default(),
        instance_id: world.instance(),
        group: desired.identity.group.clone(),
        version: desired.identity.version.clone(),
        kind: desired.identity.kind.clone(),
        plural: desired.resource.plural.clone(),
        namespace: desired.identity.namespace.clone(),
        name: desired.identity.name.clone(),
        uid: None,
        plan_hash: None,
        ownership_digest: None,
        applied_resource_version: None,
        completed_hash: None,
        unrecorded: false,
        observed: Observed::default(),
        healed_at: Vec::new(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
