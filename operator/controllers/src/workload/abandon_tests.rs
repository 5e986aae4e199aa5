use std::time::Duration;

use super::*;
use crate::workload::{fixture::world, observed::tests::row};

const HOUR: i64 = 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A deletion whose runtime was found unreachable at 0, with `abandonAfter: 1h`, and an agent last heard at 0.
fn deleting() -> World {
    let mut world = world();
    world.claim.object.metadata.deletion_requested_at = Some(at(0));
    world.claim.inventory = vec![row()];
    world.claim.agent.as_mut().unwrap().heard = false;
    let runtime = world.runtime.as_mut().unwrap();
    runtime.abandon_after = Some(Duration::from_secs(3600));
    runtime.unreachable_since = Some(at(0));
    world
}

fn no_answer() -> Applied {
    Applied {
        rows: vec![row()],
        obstacles: vec![Obstacle::new(
            Reason::RuntimeUnreachable,
            "Deployment web/api",
            "no answer",
        )],
        ..Applied::default()
    }
}

#[test]
fn a_deletion_is_given_up_after_that_time_and_never_before() {
    let world = deleting();
    assert!(!is_due(&world, &no_answer(), at(HOUR)));
    assert!(is_due(&world, &no_answer(), at(HOUR + 1)));
}

#[test]
fn every_sign_of_life_counts() {
    let late = at(100 * HOUR);
    let is = |change: fn(&mut World)| {
        let mut world = deleting();
        change(&mut world);
        is_due(&world, &no_answer(), late)
    };
    assert!(is(|_| {}), "the positive control");
    assert!(is(|world| world.claim.agent = None));
    assert!(!is(|world| world.claim.agent.as_mut().unwrap().heard = true));
    assert!(!is(
        |world| world.claim.agent.as_mut().unwrap().last_seen = at(100 * HOUR - 10)
    ));
    assert!(!is(
        |world| world.runtime.as_mut().unwrap().unreachable_since = None
    ));
    assert!(!is(|world| world.runtime.as_mut().unwrap().abandon_after = None));
    assert!(
        !is(|world| world.claim.inventory[0].runtime_id = uuid::Uuid::from_u128(77)),
        "another runtime's"
    );
    assert!(
        !is(|world| world.claim.object.metadata.deletion_requested_at = None),
        "nobody asked for it"
    );

    let mut answered = no_answer();
    answered.removed.push(row().id);
    assert!(!is_due(&deleting(), &answered, late));
    let mut forbidden = no_answer();
    forbidden.obstacles.push(Obstacle::new(Reason::Forbidden, "", ""));
    assert!(!is_due(&deleting(), &forbidden, late), "a refusal is an answer");
    assert!(
        !is_due(&deleting(), &Applied::default(), late),
        "nothing went wrong"
    );
}

#[test]
fn what_waits_says_for_what_and_how_it_ends() {
    let said = |world: &World| prospect(world, &no_answer().obstacles[0]).unwrap();
    let mut world = deleting();
    assert!(
        said(&world).contains("given up after 1970-01-01T01:00:00Z"),
        "{}",
        said(&world)
    );
    world.claim.agent.as_mut().unwrap().heard = true;
    assert!(said(&world).contains("counts from when"), "{}", said(&world));
    world.runtime.as_mut().unwrap().abandon_after = None;
    assert!(
        said(&world).contains("abandonAfter is not set"),
        "{}",
        said(&world)
    );
    assert_eq!(prospect(&world, &Obstacle::new(Reason::Forbidden, "", "")), None);
}

#[test]
fn all_that_may_be_left_is_named() {
    let mut world = deleting();
    let rows = (0..40).map(|number| {
        let mut row = row();
        row.name = format!("object-{number}");
        row
    });
    world.claim.inventory = rows.collect();
    let events = events(&world);
    assert!(
        events
            .iter()
            .all(|event| event.message.len() < 2048 && event.kind == EventType::Warning)
    );
    let text: String = events.iter().map(|event| event.message.as_str()).collect();
    for number in 0..40 {
        assert!(text.contains(&format!("web/object-{number}")), "{text}");
    }
}
