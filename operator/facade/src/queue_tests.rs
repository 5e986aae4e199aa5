use std::sync::atomic::{AtomicUsize, Ordering};

use threeport_model::find_kind;

use super::*;

fn key(name: &str) -> Key {
    Key::new(find_kind("tpwd").unwrap(), name)
}

#[test]
fn retries_grow_to_their_limit_and_success_resets() {
    let (queue, _requests) = channel();
    let delays: Vec<_> = (0..10)
        .filter_map(|_| queue.delay(&key("a"), Next::Retry(Duration::from_secs(5))))
        .collect();
    assert_eq!(delays[0], BACKOFF_FIRST);
    assert!(delays.windows(2).all(|pair| pair[0] <= pair[1]));
    assert_eq!(delays[9], Duration::from_secs(5));
    assert_eq!(queue.delay(&key("a"), Next::Done), None);
    assert_eq!(queue.delay(&key("a"), Next::FAILED), Some(BACKOFF_FIRST));
}

#[test]
fn what_is_shown_gives_way_in_a_flood_where_the_api_server_is_slow() {
    let of = |new, brings, took, waiting| {
        pause(Purpose { new, brings }, Duration::from_millis(took), waiting).as_millis()
    };
    assert_eq!(
        of(true, true, 60, FLOOD),
        0,
        "what a person applies is not held back"
    );
    assert_eq!(of(false, true, 60, FLOOD), 60);
    for new in [false, true] {
        assert_eq!(of(new, false, 5, FLOOD), 5, "the API server has time");
        assert_eq!(of(new, false, 60, FLOOD), 720);
        assert_eq!(of(new, false, 5000, FLOOD), FLOOD_PAUSE.as_millis());
    }
    assert_eq!(of(false, false, 60, FLOOD - 1), 60);
    assert_eq!(of(false, false, 5000, 0), PAUSE.as_millis());
    assert_eq!(of(true, false, 60, FLOOD - 1), 0, "it is soon made up for");
}

#[tokio::test]
async fn a_key_runs_once_at_a_time_and_a_wake_during_its_run_is_not_lost() {
    let (queue, requests) = channel();
    let (shutdown, runs, now) = (
        CancellationToken::new(),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    for _ in 0..100 {
        queue.wake(key("a")).await;
    }
    let (counted, waker, end) = (runs.clone(), queue.clone(), shutdown.clone());
    let purpose = |_: &Key| Purpose {
        new: false,
        brings: false,
    };
    run(requests, &queue, 4, shutdown, purpose, move |key| {
        let (runs, now, queue, end) = (counted.clone(), now.clone(), waker.clone(), end.clone());
        async move {
            assert_eq!(now.fetch_add(1, Ordering::SeqCst), 0);
            match runs.fetch_add(1, Ordering::SeqCst) {
                0 => queue.wake(key).await,
                _ => end.cancel(),
            }
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Next::Done
        }
    })
    .await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[test]
fn keys_start_in_their_order_and_half_of_the_places_are_for_what_is_new() {
    let mut waiting = Waiting::new(4);
    for name in ["a", "b", "a", "c"] {
        waiting.add(key(name), false);
    }
    let names = |waiting: &mut Waiting| -> Vec<String> {
        std::iter::from_fn(|| waiting.start())
            .map(|key| key.name)
            .collect()
    };
    assert_eq!(names(&mut waiting), ["a", "b"]);
    waiting.add(key("a"), false);
    for name in ["x", "y", "z"] {
        waiting.add(key(name), true);
    }
    assert_eq!(names(&mut waiting), ["x", "y"]);
    waiting.ended(&key("b"));
    assert_eq!(names(&mut waiting), ["z"], "what is new goes first");
    waiting.ended(&key("x"));
    assert_eq!(names(&mut waiting), ["c"], "what runs waits for its end");
    waiting.ended(&key("a"));
    for name in ["u", "v", "w"] {
        waiting.add(key(name), true);
    }
    assert_eq!(names(&mut waiting), ["u"], "one place is for the others");
    waiting.ended(&key("c"));
    assert_eq!(names(&mut waiting), ["a"]);
}

#[test]
fn what_is_edited_while_it_waits_to_be_shown_goes_first_too() {
    let mut waiting = Waiting::new(2);
    for (name, new) in [
        ("a", false),
        ("b", false),
        ("c", false),
        ("c", true),
        ("c", false),
    ] {
        waiting.add(key(name), new);
    }
    assert_eq!(waiting.len(), 3);
    let started = std::iter::from_fn(|| waiting.start()).map(|key| key.name);
    assert_eq!(started.collect::<Vec<_>>(), ["c", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_moment_s_halt_is_made_up_for_while_more_comes_in() {
    const RUN: Duration = Duration::from_millis(120);
    let (queue, requests) = channel();
    let (shutdown, late) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
    let comes = |number: u32| Duration::from_millis(100) * number;
    let (begun, waker, end, shown) = (Instant::now(), queue.clone(), shutdown.clone(), late.clone());
    tokio::spawn(async move {
        // Nothing is told for a second.
        tokio::time::sleep(comes(10)).await;
        for number in 0..50 {
            tokio::time::sleep_until(begun + comes(number)).await;
            waker.wake(key(&number.to_string())).await;
        }
    });
    let purpose = |_: &Key| Purpose {
        new: true,
        brings: false,
    };
    run(requests, &queue, 4, shutdown, purpose, move |key| {
        let (end, shown) = (end.clone(), shown.clone());
        async move {
            tokio::time::sleep(RUN).await;
            let number = key.name.parse().unwrap();
            shown.lock().unwrap().push(begun.elapsed() - comes(number));
            if number == 49 {
                end.cancel();
            }
            Next::Done
        }
    })
    .await;
    let late = late.lock().unwrap();
    let slow = late.iter().filter(|late| **late > RUN * 2).count();
    assert!(late.len() == 50 && (8..=20).contains(&slow), "{slow} of {late:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_new_does_not_wait_behind_what_is_not() {
    let (queue, requests) = channel();
    for name in 0..50 {
        queue.wake(key(&format!("old-{name}"))).await;
    }
    // Due when all of them wait.
    queue.after(key("new"), Duration::from_millis(1)).await;
    let (shutdown, started) = (CancellationToken::new(), Instant::now());
    let shown = Arc::new(Mutex::new(None));
    let (end, at) = (shutdown.clone(), shown.clone());
    let purpose = |key: &Key| Purpose {
        new: key.name == "new",
        brings: false,
    };
    run(requests, &queue, 4, shutdown, purpose, move |key| {
        let (end, at) = (end.clone(), at.clone());
        async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if key.name == "new" {
                *at.lock().unwrap() = Some(started.elapsed());
                end.cancel();
            }
            Next::Done
        }
    })
    .await;
    let shown = shown.lock().unwrap().unwrap();
    assert!(shown < Duration::from_millis(100), "{shown:?}");
}
