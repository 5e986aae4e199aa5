use threeport_model::{
    condition::{UNRECORDED, find},
    kinds::workload_instance::Revision,
};

use super::*;
use crate::workload::{
    execute::Waiting,
    fixture::{desired, world},
    observed::tests::row,
    obstacle::Reason,
};

const PLAN: Plan = Plan::Apply {
    steps: Vec::new(),
    removals: Vec::new(),
};

fn done() -> Applied {
    Applied {
        rows: vec![row()],
        complete: true,
        ..Applied::default()
    }
}

fn ready(world: &World, applied: &Applied) -> (ConditionStatus, String, String) {
    let report = report(world, &PLAN, applied, jiff::Timestamp::UNIX_EPOCH);
    let status: Status = serde_json::from_value(report.status.unwrap()).unwrap();
    let ready = find(&status.conditions, READY).cloned().unwrap();
    (ready.status, ready.reason, ready.message)
}

#[test]
fn ready_needs_all_of_it() {
    let mut world = world();
    world.desired = vec![desired("h")];
    assert_eq!(ready(&world, &done()).0, ConditionStatus::True);

    let incomplete = Applied {
        complete: false,
        ..done()
    };
    assert_eq!(ready(&world, &incomplete).1, "Progressing");
    let waiting = Waiting {
        on: "Pod a".to_owned(),
        what: "finalizer".to_owned(),
        watched: false,
    };
    let removing = Applied {
        waiting: vec![waiting],
        complete: false,
        ..done()
    };
    assert_eq!(ready(&world, &removing).1, "Progressing");
    let mut unseen = done();
    unseen.rows[0].observed.seen_at = None;
    assert_eq!(ready(&world, &unseen).1, "Progressing");
    let mut old = done();
    old.rows[0].applied_resource_version = Some("101".to_owned());
    assert_eq!(ready(&world, &old).1, "Progressing", "seen before the last write");
    world.claim.agent.as_mut().unwrap().heard = false;
    assert_eq!(ready(&world, &done()).0, ConditionStatus::Unknown);
    world.claim.agent = None;
    assert_eq!(ready(&world, &done()).1, "AgentSilent");
}

#[test]
fn an_agent_s_restart_is_no_outage_and_its_return_from_silence_no_proof() {
    let mut world = world();
    world.desired = vec![desired("h")];
    let mut unseen = done();
    unseen.rows[0].observed.epoch = 6;
    assert_eq!(ready(&world, &unseen).0, ConditionStatus::True);
    let silent = Condition::new(READY, ConditionStatus::Unknown, "AgentSilent", "", 2);
    let status = Status {
        conditions: vec![silent],
        ..Status::default()
    };
    world.claim.object.status = serde_json::to_value(status).unwrap();
    assert_eq!(ready(&world, &unseen).0, ConditionStatus::Unknown);
    assert_eq!(
        ready(&world, &done()).0,
        ConditionStatus::True,
        "all of it was seen again"
    );
}

#[test]
fn a_failure_names_the_object_and_its_reason() {
    let mut applied = done();
    applied.rows[0].observed.health = Health::Failed;
    applied.rows[0].observed.message = "ImagePullBackOff: localhost/web:2".to_owned();
    let (status, reason, message) = ready(&world(), &applied);
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::False, "ResourceFailed")
    );
    assert!(
        message.contains("Deployment web/api") && message.contains("ImagePullBackOff"),
        "{message}"
    );
}

#[test]
fn what_can_t_be_listed_is_unknown_and_not_on_its_way() {
    let mut applied = done();
    (applied.rows[0].observed.health, applied.rows[0].observed.message) =
        (Health::Unknown, "forbidden".to_owned());
    let (status, reason, message) = ready(&world(), &applied);
    assert_eq!(
        (status, reason.as_str()),
        (ConditionStatus::Unknown, "ResourceUnknown")
    );
    assert!(
        message.contains("Deployment web/api: Unknown: forbidden"),
        "{message}"
    );
}

#[test]
fn what_is_fought_over_is_not_ready() {
    let mut applied = done();
    applied.fighting = vec!["Deployment web/api".to_owned()];
    applied.rows[0].healed_at = vec![0; 5];
    applied.rows[0].observed.other_managers = vec!["kubectl-edit".to_owned()];
    let (status, reason, message) = ready(&world(), &applied);
    assert_eq!((status, reason.as_str()), (ConditionStatus::False, "Fighting"));
    assert!(
        message.contains("Deployment web/api") && message.contains("kubectl-edit"),
        "{message}"
    );
}

/// An instance that has all that it wants, and of which an agent found more than the database knows of.
#[test]
fn what_the_database_has_no_record_of_is_named_and_counts_for_nothing() {
    let mut world = world();
    world.desired = vec![desired("h")];
    let found = |number: u128| InventoryRow {
        id: uuid::Uuid::from_u128(100 + number),
        name: format!("found-{number}"),
        uid: Some(format!("found-{number}")),
        plan_hash: None,
        unrecorded: true,
        ..row()
    };
    world.claim.inventory = std::iter::once(row()).chain((1..=12).map(found)).collect();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let first = report(&world, &PLAN, &done(), now);
    let status = status_of(&first);
    let said = find(&status.conditions, UNRECORDED).unwrap();
    assert!(
        said.message.contains("Deployment web/found-1,") && said.message.contains("and 2 more"),
        "{}",
        said.message
    );
    assert_eq!(ready(&world, &done()).0, ConditionStatus::True);
    let is_told = |report: &Report| {
        report
            .events
            .iter()
            .filter(|event| event.reason == UNRECORDED)
            .count()
    };
    assert_eq!(is_told(&first), 1);
    assert!(first.inventory_removed.is_empty());

    world.previous = status;
    assert_eq!(is_told(&report(&world, &PLAN, &done(), now)), 0, "it was told");
    let blocked = Applied {
        rows: world.claim.inventory.clone(),
        ..Applied::default()
    };
    let counted = status_of(&report(&world, &Plan::Blocked, &blocked, now)).resources;
    assert_eq!(counted.total, 1);

    // Somebody deleted one, put another into the definition, and deletes the instance.
    world.claim.inventory.truncate(3);
    world.claim.inventory[1].observed.health = Health::Missing;
    let gone = world.claim.inventory[1].id;
    let fewer = report(&world, &PLAN, &done(), now);
    assert_eq!(fewer.inventory_removed, [gone]);
    let status = status_of(&fewer);
    let said = find(&status.conditions, UNRECORDED).unwrap();
    assert!(
        said.message.contains("found-2.") && !said.message.contains("found-1"),
        "{}",
        said.message
    );
    let mut wanted = desired("h");
    wanted.identity.name = "found-2".to_owned();
    world.desired.push(wanted);
    let none = status_of(&report(&world, &PLAN, &done(), now));
    assert!(find(&none.conditions, UNRECORDED).is_none());
    world.desired.truncate(1);
    world.claim.object.metadata.deletion_requested_at = Some(now);
    let ending = report(&world, &Plan::Remove(Vec::new()), &Applied::default(), now);
    assert!(find(&status_of(&ending).conditions, UNRECORDED).is_none());
    assert!(ending.inventory_removed.is_empty(), "a deletion looks for itself");
}

#[test]
fn the_revision_moves_only_when_all_is_applied() {
    let mut world = world();
    world.previous.revision = Some(Revision {
        definition: 4,
        instance: 1,
    });
    let revision = |applied: &Applied| {
        let report = report(&world, &PLAN, applied, jiff::Timestamp::UNIX_EPOCH);
        serde_json::from_value::<Status>(report.status.unwrap())
            .unwrap()
            .revision
            .unwrap()
    };
    assert_eq!(
        revision(&done()),
        Revision {
            definition: 5,
            instance: 2
        }
    );
    assert_eq!(
        revision(&Applied {
            complete: false,
            ..done()
        }),
        Revision {
            definition: 4,
            instance: 1
        }
    );
}

#[test]
fn nothing_is_finalized_before_everything_is_gone() {
    let mut world = world();
    world.claim.object.metadata.deletion_requested_at = Some(jiff::Timestamp::UNIX_EPOCH);
    let finalize = |world: &World, applied: &Applied| {
        report(
            world,
            &Plan::Remove(Vec::new()),
            applied,
            jiff::Timestamp::UNIX_EPOCH,
        )
        .finalize
    };
    assert!(finalize(
        &world,
        &Applied {
            complete: true,
            ..Applied::default()
        }
    ));
    assert!(!finalize(&world, &Applied::default()));
    world.obstacle = Some(Obstacle::new(Reason::RuntimeUnreachable, "", "no answer"));
    assert!(!finalize(&world, &Applied::default()));
    let (_, reason, message) = ready(&world, &Applied::default());
    assert_eq!(reason, "Deleting");
    assert!(message.starts_with("no answer; "), "{message}");
}

#[test]
fn an_equal_state_is_equal_bytes_and_makes_no_event() {
    let mut world = world();
    let first = report(&world, &PLAN, &done(), jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(first.events.len(), 1);
    world.claim.inventory = done().rows;
    world.previous = serde_json::from_value(first.status.clone().unwrap()).unwrap();
    let later = jiff::Timestamp::from_second(100).unwrap();
    let second = report(&world, &PLAN, &done(), later);
    assert_eq!(second.status, first.status);
    assert!(second.events.is_empty() && second.inventory.is_empty());
}

fn deleting() -> World {
    let mut world = world();
    world.claim.object.metadata.deletion_requested_at = Some(jiff::Timestamp::UNIX_EPOCH);
    world.claim.inventory = vec![row()];
    world
}

fn status_of(report: &Report) -> Status {
    serde_json::from_value(report.status.clone().unwrap()).unwrap()
}

#[test]
fn what_a_deletion_waits_for_is_named_with_since_and_next_try() {
    let mut world = deleting();
    let mut applied = Applied {
        rows: vec![row()],
        waiting: vec![Waiting {
            on: "Widget web/first".to_owned(),
            what: "example.org/hold".to_owned(),
            watched: false,
        }],
        ..Applied::default()
    };
    let plan = Plan::Remove(Vec::new());
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let first = status_of(&report(&world, &plan, &applied, at(100)));
    let blocked = find(&first.conditions, DELETION_BLOCKED).unwrap();
    assert_eq!(blocked.last_transition_time, Some(at(100)));
    assert!(
        blocked.message.contains("Widget web/first: example.org/hold"),
        "{}",
        blocked.message
    );
    let blocker = &first.blocked_on[0];
    assert_eq!(
        (blocker.on.as_str(), blocker.since),
        ("Widget web/first", Some(at(100)))
    );
    assert_eq!(
        blocker.next_try,
        Some(at(101)),
        "the first retry comes after half a second"
    );

    // Another finalizer of the same object, some tries later: since stays, the next try is a minute away.
    world.previous = first;
    world.claim.attempts = 20;
    applied.waiting[0].what = "example.org/other".to_owned();
    let later = status_of(&report(&world, &plan, &applied, at(200)));
    assert_eq!(later.blocked_on[0].since, Some(at(100)));
    let wait = later.blocked_on[0].next_try.unwrap().as_second() - 200;
    assert!((45..=76).contains(&wait), "{wait}");

    // Whatever stands against a deletion is looked at again, at most ten minutes (and the spread) later.
    world.obstacle = Some(Obstacle::new(Reason::Invalid, "ConfigMap web/a", "wrong"));
    let invalid = status_of(&report(&world, &plan, &Applied::default(), at(200)));
    let wait = invalid.blocked_on[0].next_try.unwrap().as_second() - 200;
    assert!((450..=751).contains(&wait), "{wait}");
}

#[test]
fn what_is_refused_is_tried_again_only_where_that_may_help() {
    let mut world = world();
    let refused = |made_way| Applied {
        obstacles: vec![Obstacle::new(Reason::Invalid, "Widget web/a", "wrong")],
        made_way,
        ..Applied::default()
    };
    let is_retried = |world: &World, made_way| {
        let report = report(world, &PLAN, &refused(made_way), jiff::Timestamp::UNIX_EPOCH);
        let conditions = status_of(&report).conditions;
        let stalled = find(&conditions, condition::STALLED).is_some();
        let retried = matches!(report.outcome, Outcome::Retry(_));
        assert_eq!(retried, !stalled, "{conditions:?}");
        retried
    };
    assert!(!is_retried(&world, false));
    assert!(is_retried(&world, true), "what was in the way is gone");
    let mut kind = desired("h");
    kind.rank = crate::workload::order::Rank::CustomResourceDefinition;
    world.desired = vec![kind];
    for (attempts, retried) in [(0, true), (2, true), (3, false)] {
        world.claim.attempts = attempts;
        assert_eq!(is_retried(&world, false), retried, "{attempts}");
    }
}

#[test]
fn what_is_kept_is_said_before_the_object_ends() {
    let mut world = deleting();
    let mut applied = Applied {
        removed: vec![row().id],
        kept: vec!["Namespace web: ConfigMap theirs of kubectl lives in it".to_owned()],
        complete: true,
        ..Applied::default()
    };
    let plan = Plan::Remove(Vec::new());
    let said = report(&world, &plan, &applied, jiff::Timestamp::UNIX_EPOCH);
    assert!(
        !said.finalize && matches!(said.outcome, Outcome::RequeueAfter(_)),
        "{:?}",
        said.outcome
    );
    let ready = find(&status_of(&said).conditions, READY).cloned().unwrap();
    assert!(ready.message.contains("kept Namespace web"), "{}", ready.message);

    world.claim.inventory.clear();
    (applied.kept, applied.removed) = (Vec::new(), Vec::new());
    let end = report(&world, &plan, &applied, jiff::Timestamp::UNIX_EPOCH);
    assert!(end.finalize && end.status.is_none(), "the last status stays");
}

#[test]
fn an_abandoned_deletion_ends_with_its_leak_list_on_record() {
    let mut world = deleting();
    world.obstacle = Some(Obstacle::new(Reason::RuntimeUnreachable, "", "no answer"));
    world.claim.agent.as_mut().unwrap().heard = false;
    let runtime = world.runtime.as_mut().unwrap();
    runtime.abandon_after = Some(std::time::Duration::from_secs(60));
    runtime.unreachable_since = Some(jiff::Timestamp::UNIX_EPOCH);
    let at = |second| {
        report(
            &world,
            &Plan::Blocked,
            &Applied::default(),
            jiff::Timestamp::from_second(second).unwrap(),
        )
    };
    let before = at(60);
    assert!(!before.finalize && before.inventory_removed.is_empty());
    let blocked = find(&status_of(&before).conditions, DELETION_BLOCKED)
        .cloned()
        .unwrap();
    assert!(
        blocked.message.contains("given up after 1970-01-01T00:01:00Z"),
        "{}",
        blocked.message
    );
    let after = at(61);
    assert!(after.finalize && after.inventory_removed == [row().id] && after.outcome == Outcome::Done);
    assert!(
        after
            .events
            .iter()
            .any(|event| event.reason == "Abandoned" && event.message.contains("Deployment web/api"))
    );
}
