//! The engine on a clock that the test moves.

use std::{cell::Cell, time::Duration};

use threeport_engine::Found;
use tokio::time::{Instant, timeout};

use crate::world::{key, start, until, without_sweep};

#[tokio::test(start_paused = true)]
async fn a_signal_is_one_run_and_a_message_without_work_is_none() {
    let engine = start(without_sweep);
    engine.pass(1).await;
    engine.world.make_pending(key(1), "a");
    engine.signal(key(1)).await;
    engine.signal(key(1)).await;
    engine.signal(key(2)).await;
    until("done", 2, || engine.world.0.lock().unwrap().completed.len() == 1).await;
    engine.pass(30).await;
    assert_eq!(engine.world.runs_of(key(1)), [Found::Signal]);
    assert!(engine.world.runs_of(key(2)).is_empty());
    assert!(!engine.world.is_pending(key(1)));
}

#[tokio::test(start_paused = true)]
async fn a_change_during_a_run_runs_again_after_it() {
    let engine = start(without_sweep);
    engine.world.make_pending(key(1), "dead");
    engine.signal(key(1)).await;
    until("running", 2, || {
        engine.world.0.lock().unwrap().running.contains(&key(1))
    })
    .await;
    engine.world.make_pending(key(1), "dead");
    engine.signal(key(1)).await;
    until("both", 30, || engine.world.0.lock().unwrap().completed.len() == 2).await;
    assert!(!engine.world.is_pending(key(1)));
}

/// The API says when it takes the end of a run that the object has work again: no signal has to come.
#[tokio::test(start_paused = true)]
async fn work_that_came_during_a_run_is_done_at_once_without_a_signal() {
    let engine = start(without_sweep);
    engine.pass(1).await;
    engine.world.make_pending(key(1), "dead");
    engine.signal(key(1)).await;
    until("running", 2, || {
        engine.world.0.lock().unwrap().running.contains(&key(1))
    })
    .await;
    engine.world.make_pending(key(1), "a");
    until("the first", 10, || {
        engine.world.0.lock().unwrap().completed.len() == 1
    })
    .await;
    until("both", 10, || engine.world.0.lock().unwrap().completed.len() == 2).await;
    assert!(!engine.world.is_pending(key(1)));
}

/// Three of them would be more than are held at once.
#[tokio::test(start_paused = true)]
async fn what_is_large_is_run_a_few_at_a_time_and_what_is_not_beside_it() {
    let engine = start(without_sweep);
    engine.pass(1).await;
    for number in 1..=5 {
        engine.world.make_pending(key(number), "heavy");
        engine.signal(key(number)).await;
    }
    let heavy = || {
        let state = engine.world.0.lock().unwrap();
        state.running.iter().filter(|id| **id != key(9)).count()
    };
    until("two", 2, || heavy() == 2).await;
    engine.world.make_pending(key(9), "a");
    engine.signal(key(9)).await;
    until("the small one", 2, || engine.world.runs_of(key(9)).len() == 1).await;
    let most = Cell::new(heavy());
    assert_eq!(most.get(), 2, "they still run");
    until("all", 60, || {
        most.set(most.get().max(heavy()));
        engine.world.0.lock().unwrap().completed.len() == 6
    })
    .await;
    assert_eq!(most.get(), 2);
    assert!(engine.world.0.lock().unwrap().released > 0);
}

/// A run that does not notice that its claim ran out, and a sweep that is given its object anew.
#[tokio::test(start_paused = true)]
async fn a_claim_of_what_runs_already_is_given_back_and_taken_again_when_that_ends() {
    let engine = start(|options| options.sweep_interval = Duration::from_secs(15));
    engine.pass(1).await;
    engine.world.make_pending(key(1), "stubborn");
    engine.signal(key(1)).await;
    until("running", 2, || {
        engine.world.0.lock().unwrap().running.contains(&key(1))
    })
    .await;
    let started = Instant::now();
    engine.world.0.lock().unwrap().steal = true;
    until("given back", 25, || engine.world.0.lock().unwrap().released > 0).await;
    engine.world.0.lock().unwrap().steal = false;
    until("again", 40, || engine.world.runs_of(key(1)).len() == 2).await;
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(26), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_again_or_panics_is_said_in_the_status() {
    let engine = start(without_sweep);
    engine.world.make_pending(key(1), "erring");
    engine.signal(key(1)).await;
    let status = || engine.world.0.lock().unwrap().status.clone();
    until("the first", 10, || {
        engine.world.0.lock().unwrap().completed.len() == 1
    })
    .await;
    assert_eq!(status(), None, "once may be a moment of the API's");
    until("the second", 10, || {
        engine.world.0.lock().unwrap().completed.len() == 2
    })
    .await;
    assert_eq!(status(), Some(serde_json::json!({"failed": "no answer"})));
    engine.world.make_pending(key(2), "panicking");
    engine.signal(key(2)).await;
    until("the panic", 5, || {
        status().is_some_and(|said| said.to_string().contains("panicked"))
    })
    .await;
}

/// A controller that panics once more when it is asked what to say of that.
#[tokio::test(start_paused = true)]
async fn a_run_that_panics_where_it_ends_is_tried_again_and_costs_no_other() {
    let engine = start(|options| options.sweep_interval = Duration::from_secs(15));
    engine.pass(1).await;
    engine.world.make_pending(key(1), "hopeless");
    engine.signal(key(1)).await;
    until("again", 40, || engine.world.runs_of(key(1)).len() == 2).await;
    engine.world.make_pending(key(2), "a");
    engine.signal(key(2)).await;
    until("the other", 2, || !engine.world.is_pending(key(2))).await;
    assert!(engine.world.is_pending(key(1)));
}

#[tokio::test(start_paused = true)]
async fn an_engine_whose_own_work_panics_ends_with_it() {
    let engine = start(|options| options.sweep_interval = Duration::from_secs(15));
    engine.pass(1).await;
    assert!(!engine.task.is_finished());
    engine.world.0.lock().unwrap().broken = true;
    let ended = timeout(Duration::from_secs(60), engine.task)
        .await
        .expect("it is not left without claims");
    assert!(ended.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn the_sweep_finds_what_no_signal_told() {
    let engine = start(|_| {});
    engine.pass(1).await;
    for number in 0..100 {
        engine.world.make_pending(key(number), "a");
    }
    until("all", 20, || {
        engine.world.0.lock().unwrap().completed.len() == 100
    })
    .await;
    assert_eq!(engine.world.runs_of(key(50)), [Found::Sweep]);
    let claims = engine.world.0.lock().unwrap().claims;
    engine.pass(60).await;
    let idle = engine.world.0.lock().unwrap().claims - claims;
    assert!((3..=5).contains(&idle), "{idle} claim requests in an idle minute");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_goes_on_where_its_answer_had_no_room_for_all() {
    let engine = start(|options| options.sweep_interval = Duration::from_secs(15));
    engine.pass(1).await;
    engine.world.0.lock().unwrap().room = Some(2);
    for number in 0..100 {
        engine.world.make_pending(key(number), "a");
    }
    until("all", 25, || {
        engine.world.0.lock().unwrap().completed.len() == 100
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_renewed_while_its_run_goes_on() {
    let engine = start(without_sweep);
    engine.world.make_pending(key(1), "slow");
    engine.signal(key(1)).await;
    until("done", 40, || engine.world.0.lock().unwrap().completed.len() == 1).await;
    assert!(engine.world.0.lock().unwrap().renewals >= 5);
    assert_eq!(engine.world.runs_of(key(1)).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_stops_when_its_claim_is_lost_and_writes_nothing() {
    let engine = start(without_sweep);
    engine.world.make_pending(key(1), "slow");
    engine.signal(key(1)).await;
    until("running", 2, || {
        engine.world.0.lock().unwrap().running.contains(&key(1))
    })
    .await;
    engine.world.0.lock().unwrap().steal = true;
    // Told by the renewal that is refused, not only by its own clock when the claim is about to end (8 s).
    until("stopped", 6, || engine.world.0.lock().unwrap().running.is_empty()).await;
    engine.pass(1).await;
    assert!(engine.world.0.lock().unwrap().completed.is_empty());
    assert!(engine.world.is_pending(key(1)), "the pending row is what is left");
}

#[tokio::test(start_paused = true)]
async fn a_dead_cluster_slows_no_other() {
    let engine = start(|_| {});
    for number in 0..200 {
        engine.world.make_pending(key(number), "dead");
        engine.signal(key(number)).await;
    }
    engine.pass(5).await;
    let started = Instant::now();
    for number in 1000..1020 {
        engine.world.make_pending(key(number), "alive");
        engine.signal(key(number)).await;
    }
    let alive = || (1000..1020).all(|number| !engine.world.is_pending(key(number)));
    until("the living", 30, alive).await;
    // Less than it takes until runs of the dead one end.
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    let dead = (0..200)
        .filter(|number| engine.world.is_pending(key(*number)))
        .count();
    assert!(dead > 150, "the dead ones are still at it");
}

#[tokio::test(start_paused = true)]
async fn the_sweep_goes_on_while_all_that_waits_is_of_a_dead_cluster() {
    let engine = start(|options| options.sweep_interval = Duration::from_secs(5));
    for number in 1000..1050 {
        engine.world.make_pending(key(number), "slow");
        engine.signal(key(number)).await;
    }
    engine.pass(8).await;
    for number in 1..4 {
        engine.world.make_pending(key(number), "alive");
    }
    let alive = || (1..4).all(|number| !engine.world.is_pending(key(number)));
    // Long before the first runs of the dead one end.
    until("the living", 12, alive).await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_with_growing_waits() {
    let engine = start(without_sweep);
    for (number, budget) in [(1, "failing"), (2, "panicking")] {
        engine.world.make_pending(key(number), budget);
        engine.signal(key(number)).await;
    }
    engine.pass(60).await;
    for number in [1, 2] {
        let runs = engine.world.runs_of(key(number));
        assert!((6..=9).contains(&runs.len()), "{} runs in a minute", runs.len());
        assert_eq!((runs[0], runs[1]), (Found::Signal, Found::Retry));
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_that_is_down_is_asked_seldom_and_nothing_is_lost() {
    let engine = start(|_| {});
    engine.pass(1).await;
    engine.world.0.lock().unwrap().down = true;
    engine.world.make_pending(key(1), "a");
    engine.signal(key(1)).await;
    engine.pass(60).await;
    let claims = engine.world.0.lock().unwrap().claims;
    assert!(claims < 20, "{claims} claim requests in a minute");
    engine.world.0.lock().unwrap().down = false;
    until("done", 20, || engine.world.0.lock().unwrap().completed.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn draining_ends_runs_and_gives_the_rest_back() {
    let engine = start(without_sweep);
    for number in 0..50 {
        engine.world.make_pending(key(number), "slow");
        engine.signal(key(number)).await;
    }
    until("running", 2, || engine.world.0.lock().unwrap().running.len() > 5).await;
    let started = Instant::now();
    engine.shutdown.cancel();
    engine.task.await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
    let state = engine.world.0.lock().unwrap();
    assert!(state.running.is_empty(), "runs stopped before their next write");
    assert!(
        state.rows.values().all(|row| row.pending),
        "all of it is still to do"
    );
}

#[tokio::test(start_paused = true)]
async fn runs_are_counted_by_the_way_of_their_work_and_timed_by_stage() {
    let engine = start(|options| options.sweep_interval = Duration::from_secs(15));
    engine.pass(1).await;
    for (number, budget) in [(1, "a"), (2, "failing"), (3, "erring")] {
        engine.world.make_pending(key(number), budget);
        engine.signal(key(number)).await;
    }
    let runs = |number| engine.world.runs_of(key(number)).len();
    until("the failing ones again", 10, || runs(2) == 2 && runs(3) == 2).await;
    engine.world.make_pending(key(4), "a");
    until("the sweep", 20, || !engine.world.is_pending(key(4))).await;
    engine.pass(1).await;
    let text = engine.measured();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    };
    let count = |trigger: &str, outcome: &str| {
        let name = format!(
            "threeport_reconcile_total{{kind=\"Thing\",trigger=\"{trigger}\",outcome=\"{outcome}\"}}"
        );
        value(&name)
    };
    assert_eq!(
        [
            count("signal", "done"),
            count("signal", "retry"),
            count("signal", "error"),
            count("sweep", "done")
        ],
        [1.0; 4],
        "{text}"
    );
    assert!(
        count("retry", "retry") >= 1.0 && count("retry", "error") >= 1.0,
        "{text}"
    );
    let all = ["done", "retry", "error"].map(|outcome| {
        let triggers = ["signal", "retry", "sweep"];
        triggers
            .map(|trigger| count(trigger, outcome))
            .iter()
            .sum::<f64>()
    });
    let all: f64 = all.iter().sum();
    let stage = |kind: &str, stage: &str| {
        value(&format!(
            "threeport_stage_seconds_count{{kind=\"{kind}\",stage=\"{stage}\"}}"
        ))
    };
    assert_eq!(stage("Thing", "complete"), all, "{text}");
    // Some may run right now.
    let begun = stage("Thing", "notify");
    assert!((all..all + 3.0).contains(&begun), "{text}");
    assert!(stage("things", "claim") >= 4.0, "{text}");
}
