//! What carries our identity while the database has no record of it. Pure.
//!
//! A database that was restored from a backup lacks what an instance was given since, and its agent finds that: a volume
//! claim with its data, as likely as not. Only what is known to have been in the inventory is a late create of ours and goes
//! ([`super::removable`]). All else stays for as long as its instance does, which says so, and what to do about it. What the
//! definition names is not concerned: intent takes the place of such a row.

use serde_json::Value;
use threeport_model::{
    Condition, ConditionStatus,
    condition::{self, UNRECORDED},
    identity::INSTANCE,
    kinds::{
        event::{EventType, NewEvent},
        workload_instance::Health,
    },
    protocol::inventory::InventoryRow,
};
use uuid::Uuid;

use super::world::{World, identity_of};
use crate::target::display;

/// How many objects are named.
const NAMED: usize = 10;

/// Whether the row's object stays.
pub(super) fn stays(world: &World, row: &InventoryRow) -> bool {
    row.unrecorded && !world.is_deleting() && !is_known(world, row)
}

/// The rows whose objects stay.
fn staying(world: &World) -> impl Iterator<Item = &InventoryRow> {
    world.claim.inventory.iter().filter(|row| stays(world, row))
}

/// Whether it is an object that we applied under another name: of a runtime that is the same cluster, or of a group that
/// serves it too.
fn is_known(world: &World, row: &InventoryRow) -> bool {
    let mut applied = world
        .claim
        .inventory
        .iter()
        .filter(|other| other.plan_hash.is_some());
    row.uid.is_some() && applied.any(|other| other.uid == row.uid)
}

/// Whether a live object is one of those that stay.
pub(super) fn is_one(world: &World, live: &Value) -> bool {
    let uid = live["metadata"]["uid"].as_str();
    uid.is_some() && staying(world).any(|row| row.uid.as_deref() == uid || row.observed.uid.as_deref() == uid)
}

/// The rows of objects that are not there any more: somebody else deleted them, or took our label off.
pub(super) fn gone(world: &World) -> impl Iterator<Item = Uuid> {
    staying(world)
        .filter(|row| row.observed.health == Health::Missing)
        .map(|row| row.id)
}

/// What is said of those that stay, if there are any.
pub(super) fn condition(world: &World, generation: i64) -> Option<Condition> {
    let is_wanted = |row: &InventoryRow| {
        let mut desired = world.desired.iter();
        desired.any(|desired| world.is_row_of(row, &desired.identity))
    };
    let names: Vec<_> = staying(world)
        .filter(|row| row.observed.health != Health::Missing && !is_wanted(row))
        .map(|row| display(&identity_of(row)))
        .collect();
    let named = names
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "the database has no record of what this instance applied: {named}{more}. Was it restored from an older backup? They \
         are left as they are: put them into the definition to have them again, or take the label {INSTANCE} off to keep \
         them; else they go with the instance"
    );
    (!names.is_empty()).then(|| {
        Condition::new(
            UNRECORDED,
            ConditionStatus::True,
            "NotInInventory",
            message,
            generation,
        )
    })
}

/// One event whenever that changes.
pub(super) fn event(world: &World, generation: i64) -> Option<NewEvent> {
    let said = condition(world, generation)?;
    let before = condition::find(&world.previous.conditions, UNRECORDED);
    before
        .is_none_or(|before| before.message != said.message)
        .then(|| NewEvent {
            object_id: world.instance(),
            kind: EventType::Warning,
            reason: UNRECORDED.to_owned(),
            message: said.message.clone(),
        })
}
