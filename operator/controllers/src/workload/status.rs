//! What is: counts, the worst, `Ready` and why. Pure.
//!
//! `Ready` is True only if this very run found every object of exactly the desired revision applied, nothing left to
//! remove, and each of them seen healthy since. Everything else is False or Unknown, with the reason that a person can
//! do something about first.

use std::collections::BTreeSet;

use threeport_engine::{Outcome, Report, backoff};
use threeport_model::{
    Condition, ConditionStatus,
    condition::{self, DELETION_BLOCKED, FIGHTING, READY},
    kinds::{
        event::{EventType, NewEvent},
        workload_instance::{Blocker, Health, ResourceCounts, ResourceHealth, RunningImage, Status},
    },
    protocol::{claim::Next, inventory::InventoryRow},
};

use super::{
    abandon,
    execute::Applied,
    job, observed,
    obstacle::{Obstacle, Reason},
    order::Rank,
    plan::Plan,
    unrecorded,
    world::{World, identity_of},
};
use crate::condition::{Progress, Summary, to_value};

/// Reason of `Ready` where the agent can't tell how an object is.
const RESOURCE_UNKNOWN: &str = "ResourceUnknown";
const MAX_WORST: usize = 10;
const MAX_IMAGES: usize = 50;
/// How often what is refused is tried again where a schema of the same set may have refused it.
const SCHEMA_TRIES: i64 = 3;
/// How soon a fight is looked at again.
const FIGHT_WAIT: std::time::Duration = std::time::Duration::from_secs(60);
/// How soon the cluster itself is asked for what an agent is to tell of.
const WATCHED_WAIT: std::time::Duration = std::time::Duration::from_secs(15);
/// How long a status says what is kept before its object ends.
const KEPT_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// The report of a run.
pub(super) fn report(world: &World, plan: &Plan, applied: &Applied, now: jiff::Timestamp) -> Report {
    let healths = healths(world, applied);
    let summary = summary(world, plan, applied, &healths);
    let status = status(world, applied, &healths, &summary, now);
    let mut report = Report::new(outcome(world, applied));
    if abandon::is_due(world, applied, now) {
        report.outcome = Outcome::Done;
        report.inventory_removed = world.claim.inventory.iter().map(|row| row.id).collect();
        report.events = abandon::events(world);
        report.finalize = !world.claim.deleted;
        return report;
    }
    report.inventory = changed_rows(world, applied);
    let removed = applied.removed.iter();
    report.inventory_removed = removed
        .filter(|id| !applied.remembered.contains(id))
        .copied()
        .collect();
    report.inventory_removed.extend(unrecorded::gone(world));
    report.events.clone_from(&applied.events);
    report.finalize = world.claim.object.is_deleting()
        && !world.claim.deleted
        && applied.complete
        && applied.kept.is_empty();
    // A tombstone has no status to speak of, and what becomes one keeps its last: it may say what was kept.
    if !world.claim.deleted && !report.finalize {
        report.events.extend(event(world, &summary));
        report
            .events
            .extend(unrecorded::event(world, status.observed_generation));
        report.status = Some(to_value(&status));
    }
    report
}

/// How each desired object is.
fn healths(world: &World, applied: &Applied) -> Vec<ResourceHealth> {
    let of_row = |row: &InventoryRow| {
        let (health, message) = observed::health(row, world.claim.agent.as_ref());
        ResourceHealth {
            resource: identity_of(row),
            health,
            message,
        }
    };
    let rows = applied.rows.iter().filter(|row| !unrecorded::stays(world, row));
    let mut healths: Vec<_> = rows.map(of_row).collect();
    healths.sort_by(|left, right| {
        left.health
            .cmp(&right.health)
            .then_with(|| left.resource.cmp(&right.resource))
    });
    healths
}

fn summary(world: &World, plan: &Plan, applied: &Applied, healths: &[ResourceHealth]) -> Summary {
    if world.is_deleting() {
        return deleting(world, applied);
    }
    if let Some(obstacle) = obstacle(world, applied) {
        let mut summary = obstacle.summary();
        if matches!(outcome(world, applied), Outcome::Retry(_)) {
            summary.progress = Progress::Reconciling;
        }
        return summary;
    }
    if !world.claim.agent.as_ref().is_some_and(|agent| agent.heard) {
        let message = "the agent of the runtime is not heard: what runs is not known";
        return Summary::new(
            ConditionStatus::Unknown,
            "AgentSilent",
            message,
            Progress::Settled,
        );
    }
    if is_taking_stock(world, applied) {
        let message = "the agent of the runtime is heard again and takes stock: what runs is not known yet";
        return Summary::new(
            ConditionStatus::Unknown,
            "AgentSilent",
            message,
            Progress::Settled,
        );
    }
    let ready = healths
        .iter()
        .filter(|health| health.health == Health::Current)
        .count();
    let total = healths.len();
    let worst = healths.first().filter(|worst| worst.health != Health::Current);
    if let Some(failed) = worst.filter(|worst| worst.health == Health::Failed) {
        return Summary::new(
            ConditionStatus::False,
            "ResourceFailed",
            describe(failed),
            Progress::Settled,
        );
    }
    let progressing = |message| {
        Summary::new(
            ConditionStatus::False,
            condition::PROGRESSING,
            message,
            Progress::Reconciling,
        )
    };
    if let Some(waiting) = applied.waiting.first() {
        return progressing(format!(
            "waiting for what is removed: {}: {}",
            waiting.on, waiting.what
        ));
    }
    if let Some(unknown) = worst.filter(|worst| worst.health == Health::Unknown) {
        return Summary::new(
            ConditionStatus::Unknown,
            RESOURCE_UNKNOWN,
            describe(unknown),
            Progress::Settled,
        );
    }
    if let Some(worst) = worst {
        return progressing(format!(
            "{ready} of {total} resources are ready; {}",
            describe(worst)
        ));
    }
    if !matches!(plan, Plan::Apply { .. }) || !applied.complete {
        return progressing("not everything is applied yet".to_owned());
    }
    if !applied.fighting.is_empty() {
        return Summary::new(
            ConditionStatus::False,
            FIGHTING,
            describe_fight(world, applied),
            Progress::Stalled,
        );
    }
    let message = format!("{total} resources are ready");
    Summary::new(ConditionStatus::True, "Ready", message, Progress::Settled)
}

/// Whether the agent was silent and has not seen everything again: what it said before its silence must not be called
/// Ready now.
fn is_taking_stock(world: &World, applied: &Applied) -> bool {
    let status: Status = world.claim.object.typed_status();
    let was_silent = condition::find(&status.conditions, READY)
        .is_some_and(|ready| ready.status == ConditionStatus::Unknown && ready.reason != RESOURCE_UNKNOWN);
    let agent = world.claim.agent.as_ref();
    was_silent
        && agent.is_some_and(|agent| {
            applied
                .rows
                .iter()
                .filter(|row| observed::agent_of(row, Some(agent)).is_some())
                .any(|row| observed::is_taking_stock(row, agent))
        })
}

fn deleting(world: &World, applied: &Applied) -> Summary {
    let message = match (obstacle(world, applied), applied.waiting.first()) {
        (Some(obstacle), _) => match abandon::prospect(world, obstacle) {
            Some(prospect) => format!("{}; {prospect}", obstacle.message),
            None => obstacle.message.clone(),
        },
        (None, Some(waiting)) => format!(
            "waiting for {} objects to go; {}: {}",
            applied.waiting.len(),
            waiting.on,
            waiting.what
        ),
        (None, None) if !applied.kept.is_empty() => format!("kept {}", applied.kept.join("; ")),
        (None, None) => "being removed".to_owned(),
    };
    Summary::new(ConditionStatus::False, "Deleting", message, Progress::Reconciling)
}

fn describe(health: &ResourceHealth) -> String {
    let name = crate::target::display(&health.resource);
    let word = health.health.as_str();
    if health.message.is_empty() {
        format!("{name}: {word}")
    } else {
        format!("{name}: {word}: {}", health.message)
    }
}

fn obstacle<'a>(world: &'a World, applied: &'a Applied) -> Option<&'a Obstacle> {
    world.obstacle.as_ref().or_else(|| applied.obstacles.first())
}

fn outcome(world: &World, applied: &Applied) -> Outcome {
    if let Some(obstacle) = obstacle(world, applied) {
        return of_obstacle(world, applied, obstacle);
    }
    if let Some(waiting) = applied.waiting.first() {
        return if applied.waiting.iter().all(|waiting| waiting.watched) {
            Outcome::RequeueAfter(WATCHED_WAIT)
        } else {
            Outcome::WaitFor(waiting.on.clone())
        };
    }
    if applied.cut_short {
        return Outcome::Retry("not all of it could be begun in one run".to_owned());
    }
    if world.claim.object.is_deleting() && !world.claim.deleted && !applied.kept.is_empty() {
        // Said first; the object is gone with the next run.
        return Outcome::RequeueAfter(KEPT_WAIT);
    }
    if applied.fighting.is_empty() {
        Outcome::Done
    } else {
        Outcome::RequeueAfter(FIGHT_WAIT)
    }
}

/// What only a change of the object mends is not tried again, with three exceptions.
fn of_obstacle(world: &World, applied: &Applied, obstacle: &Obstacle) -> Outcome {
    let outcome = obstacle.outcome();
    let Outcome::Stalled {
        reason,
        retried: false,
    } = outcome
    else {
        return outcome;
    };
    let invalid = obstacle.reason == Reason::Invalid;
    let has_kinds = world
        .desired
        .iter()
        .any(|desired| desired.rank == Rank::CustomResourceDefinition);
    // A schema of the same set takes a moment to be the one that is validated by.
    let early = invalid && has_kinds && world.claim.attempts < SCHEMA_TRIES;
    if early || (invalid && applied.made_way) {
        Outcome::Retry(reason)
    } else {
        // Nobody changes what is being deleted: what stands against that goes away by itself, or never.
        let retried = world.is_deleting();
        Outcome::Stalled { reason, retried }
    }
}

fn status(
    world: &World,
    applied: &Applied,
    healths: &[ResourceHealth],
    summary: &Summary,
    now: jiff::Timestamp,
) -> Status {
    let previous = &world.previous;
    let generation = world.claim.object.generation();
    let mut conditions = summary.conditions(generation);
    conditions.extend(fighting(world, applied, generation));
    conditions.extend(deletion_blocked(world, applied, generation));
    conditions.extend(unrecorded::condition(world, generation));
    let count =
        |health| i64::try_from(healths.iter().filter(|one| one.health == health).count()).unwrap_or(i64::MAX);
    let total = i64::try_from(healths.len()).unwrap_or(i64::MAX);
    let ready = count(Health::Current);
    let is_bad = |health: &&ResourceHealth| health.health != Health::Current;
    Status {
        observed_generation: generation,
        conditions: condition::merge(&previous.conditions, conditions, now),
        revision: if applied.complete && !world.is_deleting() {
            world.revision()
        } else {
            previous.revision
        },
        runtime: world
            .runtime
            .as_ref()
            .map(|runtime| runtime.name.clone())
            .or_else(|| previous.runtime.clone()),
        namespace: world.namespace.clone().or_else(|| previous.namespace.clone()),
        resources: ResourceCounts {
            total,
            ready,
            failed: count(Health::Failed),
            summary: format!("{ready}/{total}"),
        },
        worst: healths.iter().filter(is_bad).take(MAX_WORST).cloned().collect(),
        images: images(applied),
        blocked_on: blockers(world, applied, now),
    }
}

fn images(applied: &Applied) -> Vec<RunningImage> {
    let images: BTreeSet<_> = applied.rows.iter().flat_map(|row| &row.observed.images).collect();
    images.into_iter().take(MAX_IMAGES).cloned().collect()
}

/// `since` is kept while a blocker stays the same. `nextTry` moves with each try, so what is blocked has its status
/// written once per try: at most every minute in the long run.
fn blockers(world: &World, applied: &Applied, now: jiff::Timestamp) -> Vec<Blocker> {
    let next_try = next_try(world, &outcome(world, applied), now);
    let of_obstacle = obstacle(world, applied).filter(|obstacle| obstacle.reason != Reason::Suspended);
    let of_obstacle = of_obstacle.map(|obstacle| Blocker {
        reason: obstacle.reason.as_str().to_owned(),
        on: obstacle.on.clone(),
        since: None,
        next_try,
    });
    let of_waiting = applied.waiting.iter().take(MAX_WORST).map(|waiting| Blocker {
        reason: "Terminating".to_owned(),
        on: waiting.on.clone(),
        since: None,
        next_try,
    });
    let mut blockers: Vec<_> = of_obstacle.into_iter().chain(of_waiting).collect();
    for blocker in &mut blockers {
        let same = |old: &&Blocker| old.reason == blocker.reason && old.on == blocker.on;
        blocker.since = world
            .previous
            .blocked_on
            .iter()
            .find(same)
            .and_then(|old| old.since)
            .or(Some(now));
    }
    blockers
}

/// When the engine runs it again if nobody wakes it before, to the second; nothing where only a change does.
fn next_try(world: &World, outcome: &Outcome, now: jiff::Timestamp) -> Option<jiff::Timestamp> {
    let milliseconds = match outcome.next(world.claim.attempts, backoff::spread(world.instance())) {
        Next::Done | Next::Release { .. } => return None,
        Next::After { milliseconds } | Next::Recheck { milliseconds } => milliseconds,
    };
    let at = now.as_millisecond().checked_add(milliseconds)?;
    jiff::Timestamp::from_second(at.div_euclid(1000) + 1).ok()
}

fn fighting(world: &World, applied: &Applied, generation: i64) -> Option<Condition> {
    (!applied.fighting.is_empty()).then(|| {
        let message = describe_fight(world, applied);
        Condition::new(
            FIGHTING,
            ConditionStatus::True,
            "HealedTooOften",
            message,
            generation,
        )
    })
}

fn describe_fight(world: &World, applied: &Applied) -> String {
    let others: BTreeSet<&str> = applied
        .rows
        .iter()
        .filter(|row| super::fighting::is_exhausted(row))
        .flat_map(|row| row.observed.other_managers.iter().map(String::as_str))
        .collect();
    let others: Vec<_> = others
        .into_iter()
        .filter(|manager| *manager != world.manager())
        .collect();
    format!(
        "{} changed back five times within ten minutes by {}; not healed again until that time is over",
        applied.fighting.join(", "),
        if others.is_empty() {
            "somebody".to_owned()
        } else {
            others.join(", ")
        },
    )
}

fn deletion_blocked(world: &World, applied: &Applied, generation: i64) -> Option<Condition> {
    let summary = world.is_deleting().then(|| deleting(world, applied))?;
    let blocked = obstacle(world, applied).is_some() || !applied.waiting.is_empty();
    let reason = obstacle(world, applied).map_or("Terminating", |obstacle| obstacle.reason.as_str());
    blocked.then(|| {
        Condition::new(
            DELETION_BLOCKED,
            ConditionStatus::True,
            reason,
            summary.message,
            generation,
        )
    })
}

/// The rows that differ from what the API has; a Job's completion is noted on the way.
fn changed_rows(world: &World, applied: &Applied) -> Vec<InventoryRow> {
    let known = |row: &InventoryRow| world.claim.inventory.iter().find(|known| known.id == row.id);
    let noted = applied.rows.iter().cloned().map(|mut row| {
        let (health, _) = observed::health(&row, world.claim.agent.as_ref());
        job::note_completion(&mut row, health);
        row
    });
    noted
        .filter(|row| row.uid.is_some() && known(row) != Some(row))
        .collect()
}

/// One event when `Ready` says something else than before.
fn event(world: &World, summary: &Summary) -> Option<NewEvent> {
    let before = condition::find(&world.previous.conditions, READY);
    if before.is_some_and(|before| before.status == summary.ready && before.reason == summary.reason) {
        return None;
    }
    let kind = match summary.progress {
        Progress::Stalled => EventType::Warning,
        _ if summary.reason == "ResourceFailed" || summary.ready == ConditionStatus::Unknown => {
            EventType::Warning
        }
        _ => EventType::Normal,
    };
    let reason = summary.reason.to_owned();
    Some(NewEvent {
        object_id: world.instance(),
        kind,
        reason,
        message: summary.message.clone(),
    })
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
