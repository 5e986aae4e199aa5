use std::time::Duration;

use threeport_model::kinds::workload_instance::Health;

use super::*;
use crate::{
    target::fake::{self, Log},
    workload::{
        fixture,
        observed::tests::row,
        obstacle::Reason,
        plan::{Action, Plan, plan},
    },
};

/// A world whose objects are all gone, and its cluster, which says so after that time each.
fn gone(count: u128, delay: Duration) -> (World, Log) {
    let (target, log) = fake::slow_target(delay, |_| fake::status(404, "not found"));
    let mut world = fixture::world();
    world.target = Some(target);
    for number in 1..=count {
        let mut desired = fixture::desired("h");
        desired.identity.name = format!("api-{number}");
        let mut row = row();
        row.id = Uuid::from_u128(number);
        row.name.clone_from(&desired.identity.name);
        row.observed.health = Health::Missing;
        world.desired.push(desired);
        world.claim.inventory.push(row);
    }
    (world, log)
}

#[tokio::test(start_paused = true)]
async fn what_differs_is_read_many_at_once() {
    let (mut world, log) = gone(48, Duration::from_secs(1));
    let started = Instant::now();
    read(&mut world).await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_eq!((world.live.len(), log.all().len()), (48, 48));
    assert!(world.unread.is_empty() && world.live.values().all(Option::is_none));
}

/// A cluster that is slow for each object of many: half of the time is left for what is done about those that were read.
#[tokio::test(start_paused = true)]
async fn what_there_is_no_time_to_read_is_left_for_the_next_run() {
    let (mut world, log) = gone(1000, Duration::from_secs(5));
    let started = Instant::now();
    read(&mut world).await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    let read = world.live.len();
    assert!((16..200).contains(&read), "{read}");
    assert_eq!((read + world.unread.len(), log.all().len()), (1000, read));
    let Plan::Apply { steps, .. } = plan(&world, jiff::Timestamp::UNIX_EPOCH) else {
        panic!("nothing stands against it");
    };
    for (place, step) in steps.iter().enumerate() {
        let expected = match &step.action {
            Action::Create => place < read,
            Action::Refuse(obstacle) => place >= read && obstacle.reason == Reason::Progressing,
            _ => false,
        };
        assert!(expected, "{place} of {read}: {:?}", step.action);
    }
}
