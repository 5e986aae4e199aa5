//! Giving up a cluster that does not come back: deliberately (its runtime's `spec.abandonAfter`), on record, never before.
//!
//! A deletion is given up only if everything says that there is no contact: this very run got no answer, the runtime was
//! found unreachable for longer than that, and its agent was not heard for longer than that. What may be left is named in
//! events. Should the cluster come back, its agent reports those objects, and they go as leftovers ([`super::removable`]).

use jiff::{SignedDuration, Timestamp};
use threeport_model::kinds::event::{EventType, NewEvent};

use super::{
    execute::Applied,
    obstacle::{Obstacle, Reason},
    world::{World, identity_of},
};
use crate::target::display;

/// How many objects one event names; an event's message is cut at 2048 characters.
const NAMED: usize = 15;

/// Whether the deletion is given up now.
pub(super) fn is_due(world: &World, applied: &Applied, now: Timestamp) -> bool {
    is_cut_off(world, applied) && due(world).is_some_and(|due| now > due)
}

/// Whether this run got no answer at all.
fn is_cut_off(world: &World, applied: &Applied) -> bool {
    let mut obstacles = world.obstacle.iter().chain(&applied.obstacles).peekable();
    let silent = applied.removed.is_empty() && applied.waiting.is_empty() && applied.kept.is_empty();
    world.is_deleting()
        && silent
        && obstacles.peek().is_some()
        && obstacles.all(|obstacle| obstacle.reason == Reason::RuntimeUnreachable)
}

/// When it may be given up; nothing where that must not be, or is not known.
fn due(world: &World) -> Option<Timestamp> {
    let runtime = world.runtime.as_ref()?;
    let after = SignedDuration::try_from(runtime.abandon_after?).ok()?;
    let agent = world.claim.agent.as_ref();
    if agent.is_some_and(|agent| agent.heard)
        || !world
            .claim
            .inventory
            .iter()
            .all(|row| row.runtime_id == runtime.id)
    {
        return None;
    }
    let heard = agent.map(|agent| agent.last_seen);
    let contact = runtime
        .unreachable_since
        .map(|since| heard.map_or(since, |heard| heard.max(since)))?;
    contact.checked_add(after).ok()
}

/// What is said of a deletion that waits for a cluster that does not answer.
pub(super) fn prospect(world: &World, obstacle: &Obstacle) -> Option<String> {
    let runtime = world
        .runtime
        .as_ref()
        .filter(|_| obstacle.reason == Reason::RuntimeUnreachable)?;
    let name = &runtime.name;
    Some(match (runtime.abandon_after, due(world)) {
        (None, _) => {
            format!("the deletion waits until runtime {name} answers, since its spec.abandonAfter is not set")
        }
        (_, Some(due)) => {
            format!("given up after {due} unless runtime {name} answers (its spec.abandonAfter)")
        }
        (Some(_), None) => format!(
            "spec.abandonAfter of runtime {name} counts from when neither its API answers nor its agent is heard"
        ),
    })
}

/// What is put on record: everything that may be left, by name.
pub(super) fn events(world: &World) -> Vec<NewEvent> {
    let names: Vec<_> = world
        .claim
        .inventory
        .iter()
        .map(|row| display(&identity_of(row)))
        .collect();
    let runtime = world.runtime.as_ref().map_or("", |runtime| runtime.name.as_str());
    let total = names.len();
    let of_chunk = |(index, names): (usize, &[String])| NewEvent {
        object_id: world.instance(),
        kind: EventType::Warning,
        reason: "Abandoned".to_owned(),
        message: format!(
            "Gave up {}, of {total} in runtime {runtime}, which does not answer (objects {} to {}); they may be left there",
            names.join(", "),
            index * NAMED + 1,
            index * NAMED + names.len(),
        ),
    };
    names.chunks(NAMED).enumerate().map(of_chunk).collect()
}

#[cfg(test)]
#[path = "abandon_tests.rs"]
mod tests;
