//! Random requests on few names, done by the API and by a small [`model`] in memory: after each the answers, every object
//! and every list must be equal, on SQLite and on PostgreSQL.
//!
//! `proptest-state-machine` draws the steps, because each must know what there is: an If-Match that is current, an object
//! that is there, work that a controller can take. It shrinks them likewise, so that what is left of a failure still makes
//! sense. Its own runner isn't used: that wants a system of its own per sequence, and no future. The store has such a test
//! of its own, which sees what REST doesn't show (references, history, the work list) and knows sources.
//!
//! `THREEPORT_TEST_SEED` and `THREEPORT_TEST_CASES` set which sequences are tried and how many. A sequence that failed is
//! kept in `regressions.txt` beside this file, and tried first from then on: check it in.

mod model;
mod requests;
mod step;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestRng, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

use self::{
    requests::Case,
    step::{Steps, tried},
};
use crate::harness::{Api, is_long};

/// As seen from the package, where cargo runs tests.
const REGRESSIONS: &str = "tests/it/state_machine/regressions.txt";
const LONGEST: usize = 30;
/// A failing sequence is made shorter for at most this long, in milliseconds.
const SHRINKING: u32 = 60_000;

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_does_what_the_model_does() {
    let usual = if is_long() { 400 } else { 24 };
    let cases = variable("THREEPORT_TEST_CASES").unwrap_or(usual);
    let seed = variable("THREEPORT_TEST_SEED").unwrap_or_else(rand::random::<u64>);
    println!("THREEPORT_TEST_CASES={cases} THREEPORT_TEST_SEED={seed}");
    let databases = Api::everywhere().await;
    for wanted in ["sqlite", "postgresql"] {
        assert!(
            databases.iter().any(|api| api.store.database() == wanted),
            "{wanted}"
        );
    }
    for api in databases {
        let database = api.store.database();
        let started = std::time::Instant::now();
        let counted = run(&api, cases, seed);
        println!("{database}: {counted:?} in {:?}", started.elapsed());
        assert!(
            cases < 20 || counted.len() == 7,
            "not every kind of step was taken on {database}: {counted:?}"
        );
    }
}

/// Runs sequences, and answers how many steps of each kind were taken.
fn run(api: &Api, cases: u32, seed: u64) -> BTreeMap<&'static str, usize> {
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_time: SHRINKING,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let number = AtomicU64::new(0);
    let counted = RefCell::new(BTreeMap::new());
    let runtime = tokio::runtime::Handle::current();
    let steps = Steps::sequential_strategy(1..LONGEST);
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&steps, |(_, steps, seen)| {
            let name = format!("c{:06}", number.fetch_add(1, Ordering::Relaxed));
            let mut case = Case::new(api, name);
            runtime.block_on(async {
                for step in &steps {
                    // Steps that a failing sequence did not come to are dropped first.
                    if let Some(seen) = &seen {
                        seen.fetch_add(1, Ordering::SeqCst);
                    }
                    *counted.borrow_mut().entry(tried(step)).or_default() += 1;
                    case.step(step).await;
                }
            });
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("on {}: {error}", api.store.database());
    }
    counted.into_inner()
}
