use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn take_all(queue: &mut Queue<u8>, now: u64) -> Vec<u8> {
    queue
        .take(usize::MAX, now, |_| true)
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

#[test]
fn fresh_goes_before_retry_before_verification() {
    let mut queue = Queue::new(10);
    queue.offer(1, Class::Verification, Found::Sweep);
    queue.offer(2, Class::Retry, Found::Retry);
    queue.offer(3, Class::Fresh, Found::Signal);
    queue.offer(4, Class::Fresh, Found::Signal);
    assert_eq!(take_all(&mut queue, 0), [3, 4, 2, 1]);
}

#[test]
fn what_one_commit_made_for_hundreds_holds_up_no_other_and_has_its_share() {
    let mut queue = Queue::new(100);
    queue.offer(60, Class::Retry, Found::Retry);
    for key in 0..20 {
        queue.offer(key, Class::Many, Found::Signal);
    }
    for key in 30..50 {
        queue.offer(key, Class::Fresh, Found::Signal);
    }
    let one_by_one: Vec<u8> = (0..8).map(|_| queue.take(1, 0, |_| true)[0].0).collect();
    assert_eq!(one_by_one, [30, 31, 32, 0, 33, 34, 35, 1]);
    let mut take = |limit| {
        let taken = queue.take(limit, 0, |key| *key != 36);
        taken.into_iter().map(|(key, _)| key).collect::<Vec<u8>>()
    };
    assert_eq!(take(8), [37, 38, 39, 40, 41, 42, 2, 3]);
    assert_eq!(take(0), [] as [u8; 0]);
    let rest: Vec<u8> = (43..50).chain(4..20).chain([60]).collect();
    assert_eq!(take(usize::MAX), rest, "they go before what is tried again");
}

#[test]
fn a_change_of_hundreds_during_a_run_cuts_a_wait_short_as_any_other() {
    let mut queue = Queue::new(10);
    queue.offer(1, Class::Fresh, Found::Signal);
    take_all(&mut queue, 0);
    queue.offer(1, Class::Many, Found::Signal);
    queue.finish(1, Some((100, Class::Retry)));
    assert_eq!(take_all(&mut queue, 0), [1]);
}

#[test]
fn a_duplicate_merges_and_takes_the_more_urgent_class() {
    let mut queue = Queue::new(10);
    assert_eq!(queue.offer(1, Class::Retry, Found::Retry), Offered::Queued);
    queue.offer(2, Class::Retry, Found::Retry);
    assert_eq!(queue.offer(2, Class::Fresh, Found::Signal), Offered::Merged);
    assert_eq!(
        queue.take(10, 0, |_| true),
        [(2, Found::Signal), (1, Found::Retry)]
    );
}

#[test]
fn a_change_during_a_run_runs_again() {
    let mut queue = Queue::new(10);
    queue.offer(1, Class::Fresh, Found::Signal);
    assert_eq!(take_all(&mut queue, 0), [1]);
    assert_eq!(queue.offer(1, Class::Fresh, Found::Signal), Offered::Dirty);
    assert_eq!(take_all(&mut queue, 0), [] as [u8; 0]);
    queue.finish(1, None);
    assert_eq!(take_all(&mut queue, 0), [1]);
    queue.finish(1, None);
    assert!(queue.is_empty());
}

#[test]
fn a_change_cuts_a_wait_short_and_the_relay_does_not() {
    let mut queue = Queue::new(10);
    for (class, found, ready) in [
        (Class::Fresh, Found::Signal, true),
        (Class::Retry, Found::Retry, false),
    ] {
        queue.offer(1, Class::Fresh, Found::Signal);
        take_all(&mut queue, 0);
        queue.offer(1, class, found);
        queue.finish(1, Some((100, Class::Retry)));
        assert_eq!(queue.has_ready(0), ready);
        assert_eq!(take_all(&mut queue, 100), [1]);
        queue.finish(1, None);
    }
}

#[test]
fn a_full_queue_says_so_and_still_marks_dirty() {
    let mut queue = Queue::new(1);
    queue.offer(1, Class::Fresh, Found::Signal);
    assert_eq!(queue.offer(2, Class::Fresh, Found::Signal), Offered::Full);
    take_all(&mut queue, 0);
    assert_eq!(queue.offer(1, Class::Fresh, Found::Signal), Offered::Dirty);
}

#[test]
fn a_busy_key_is_tried_again_a_few_times_only() {
    let mut queue = Queue::new(10);
    queue.offer(1, Class::Fresh, Found::Signal);
    for now in 0..u64::from(MAX_BUSY) {
        assert_eq!(queue.take(1, now, |_| true), [(1, Found::Signal)]);
        queue.busy(1, now + 1);
    }
    take_all(&mut queue, 100);
    queue.busy(1, 101);
    assert!(queue.is_empty());
}

#[test]
fn an_adopted_key_keeps_the_way_it_came_and_is_not_taken_twice() {
    let mut queue = Queue::new(10);
    queue.offer(1, Class::Fresh, Found::Signal);
    assert_eq!(queue.adopt(1, Class::Retry), Some(Found::Signal));
    assert_eq!(queue.adopt(1, Class::Retry), None);
    assert_eq!(queue.adopt(2, Class::Retry), Some(Found::Sweep));
    assert_eq!(take_all(&mut queue, 0), [] as [u8; 0]);
}

#[test]
fn what_is_not_eligible_waits_without_holding_others_up() {
    let mut queue = Queue::new(10);
    queue.offer(1, Class::Fresh, Found::Signal);
    queue.offer(2, Class::Fresh, Found::Signal);
    assert_eq!(queue.take(10, 0, |key| *key != 1), [(2, Found::Signal)]);
    assert_eq!(take_all(&mut queue, 0), [1]);
}

#[derive(Clone, Debug)]
enum Step {
    Offer(u8, bool),
    Take(usize),
    Adopt(u8),
    Finish(u8, Option<u64>),
    Busy(u8),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8, any::<bool>()).prop_map(|(key, fresh)| Step::Offer(key, fresh)),
        3 => (0..4_usize).prop_map(Step::Take),
        1 => (0..6_u8).prop_map(Step::Adopt),
        4 => (0..6_u8, proptest::option::of(1..50_u64)).prop_map(|(key, wait)| Step::Finish(key, wait)),
        1 => (0..6_u8).prop_map(Step::Busy),
        2 => (1..60_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Never two runs for a key; and a change that is offered is followed by a run that starts after it.
    #[test]
    fn one_run_per_key_and_nothing_lost(steps in proptest::collection::vec(step(), 1..200)) {
        let mut queue = Queue::new(100);
        let mut running = BTreeSet::new();
        let mut unseen: BTreeMap<u8, bool> = BTreeMap::new();
        let mut now = 0;
        let start = |key: u8, running: &mut BTreeSet<u8>, unseen: &mut BTreeMap<u8, bool>| {
            unseen.remove(&key);
            running.insert(key)
        };
        for step in steps {
            match step {
                Step::Offer(key, fresh) => {
                    let (class, found) = if fresh { (Class::Fresh, Found::Signal) } else { (Class::Retry, Found::Retry) };
                    prop_assert_ne!(queue.offer(key, class, found), Offered::Full);
                    unseen.insert(key, true);
                }
                Step::Take(limit) => {
                    for (key, _) in queue.take(limit, now, |_| true) {
                        prop_assert!(start(key, &mut running, &mut unseen), "two runs of {}", key);
                    }
                }
                Step::Adopt(key) => {
                    if queue.adopt(key, Class::Retry).is_some() {
                        prop_assert!(start(key, &mut running, &mut unseen), "two runs of {}", key);
                    }
                }
                Step::Finish(key, wait) => {
                    queue.finish(key, wait.map(|wait| (now + wait, Class::Retry)));
                    running.remove(&key);
                }
                // A busy key that was not offered again may be dropped: its pending row brings it back.
                Step::Busy(key) => {
                    queue.busy(key, now + 1);
                    running.remove(&key);
                }
                Step::Pass(time) => now += time,
            }
        }
        for key in std::mem::take(&mut running) {
            queue.finish(key, None);
        }
        let left: BTreeSet<u8> = queue.take(usize::MAX, u64::MAX, |_| true).into_iter().map(|(key, _)| key).collect();
        for key in unseen.keys() {
            prop_assert!(left.contains(key), "{} was offered and never ran", key);
        }
    }
}
