//! `GET /metrics`: what the API counts of its own work. That the names are those of the reference is a test beside them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use threeport_server::tasks;
use tokio_util::sync::CancellationToken;

use crate::harness::{ADMIN, Api, CONTROLLERS, definition};

const DEFINITIONS: &str = "/v1alpha1/workloaddefinitions";
const WEB: &str = "/v1alpha1/workloaddefinitions/web";
const COMMITS: &str = "threeport_stage_seconds_count{kind=\"WorkloadDefinition\",stage=\"commit\"}";
const DEADLINE: Duration = Duration::from_secs(20);

/// A sample as it is served now; nothing where there is none.
async fn sample(api: &Api, name: &str) -> Option<f64> {
    let text = api.admin("GET", "/metrics", None).await.expect(200).text;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim().parse().unwrap())
}

/// Waits for what a task measures now and then.
async fn measured(api: &Api, name: &str, holds: impl Fn(f64) -> bool) {
    served(api, name, |found| found.is_some_and(&holds)).await;
}

/// The same, where it may be that there is none.
async fn served(api: &Api, name: &str, holds: impl Fn(Option<f64>) -> bool) {
    let stop = CancellationToken::new();
    let task = tokio::spawn(tasks::metrics(api.app.clone(), stop.clone()));
    let started = Instant::now();
    loop {
        let found = sample(api, name).await;
        if holds(found) {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "{name} is {found:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn commits_are_timed_and_what_changes_nothing_is_not() {
    let api = Api::new().await;
    api.admin("POST", "/v1alpha1/apply?dryRun=true", definition("web", "1"))
        .await
        .expect(200);
    assert_eq!(sample(&api, COMMITS).await, None, "a dry run");
    let keyed = [("idempotency-key", "one")];
    for _ in 0..2 {
        let body = Some(definition("web", "1"));
        api.send("POST", DEFINITIONS, ADMIN, &keyed, body)
            .await
            .expect(201);
        assert_eq!(
            sample(&api, COMMITS).await,
            Some(1.0),
            "the second is a repeated one"
        );
    }
    api.admin("POST", DEFINITIONS, definition("web", "1"))
        .await
        .expect(409);
    api.admin("PUT", WEB, definition("web", "1")).await.expect(200);
    api.admin("GET", WEB, None).await.expect(200);
    assert_eq!(sample(&api, COMMITS).await, Some(1.0));
    api.admin("PUT", WEB, definition("web", "2")).await.expect(200);
    let both = json!([definition("a", "1"), definition("b", "1")]);
    api.admin("POST", "/v1alpha1/apply", both).await.expect(200);
    assert_eq!(sample(&api, COMMITS).await, Some(3.0), "an apply is one commit");
    api.admin("DELETE", WEB, None).await.expect(202);
    assert_eq!(sample(&api, COMMITS).await, Some(4.0));
}

#[tokio::test]
async fn work_is_shown_by_kind_for_as_long_as_it_is_not_done() {
    let (oldest, count) = (
        "threeport_oldest_pending_seconds{kind=\"WorkloadDefinition\"}",
        "threeport_pending{kind=\"WorkloadDefinition\"}",
    );
    for api in Api::everywhere().await {
        api.admin("POST", DEFINITIONS, definition("web", "1"))
            .await
            .expect(201);
        measured(&api, count, |count| count == 1.0).await;
        measured(&api, oldest, |age| age > 0.0).await;
        let first = sample(&api, oldest).await.unwrap();
        let request = json!({"holder": "one", "kinds": ["WorkloadDefinition"], "limit": 1, "ttlSeconds": 60});
        let post = async |path: &str, body: Value| {
            let answer = api.send("POST", path, CONTROLLERS, &[], Some(body)).await;
            answer.expect(200).json()
        };
        let claim = post("/v1alpha1/claims", request).await["claims"][0].clone();
        measured(&api, oldest, |age| age > first).await;
        let complete = json!({"id": claim["object"]["metadata"]["id"], "epoch": claim["epoch"],
            "token": claim["token"], "next": "done"});
        post("/v1alpha1/claims/complete", complete).await;
        measured(&api, oldest, |age| age == 0.0).await;
        assert_eq!(sample(&api, count).await, Some(0.0));
    }
}

#[tokio::test]
async fn how_much_work_is_due_is_not_told_while_nobody_knows() {
    let count = "threeport_pending{kind=\"WorkloadDefinition\"}";
    let oldest = "threeport_oldest_pending_seconds{kind=\"WorkloadDefinition\"}";
    let api = Api::new().await;
    measured(&api, count, |count| count == 0.0).await;
    api.store.close().await;
    for name in [count, oldest] {
        served(&api, name, |found| found.is_none()).await;
    }
}

#[tokio::test]
async fn transactions_are_counted_by_name_and_by_how_they_ended() {
    let of = |outcome: &str| {
        format!("threeport_transactions_total{{name=\"object_create\",outcome=\"{outcome}\"}}")
    };
    for api in Api::everywhere().await {
        for status in [201, 409, 409] {
            api.admin("POST", DEFINITIONS, definition("web", "1"))
                .await
                .expect(status);
        }
        measured(&api, &of("committed"), |count| count == 1.0).await;
        measured(&api, &of("failed"), |count| count == 2.0).await;
    }
}

#[tokio::test]
async fn a_dry_run_is_counted_as_rolled_back() {
    let of = |outcome: &str| {
        format!("threeport_transactions_total{{name=\"object_apply\",outcome=\"{outcome}\"}}")
    };
    for api in Api::everywhere().await {
        for (query, committed) in [("?dryRun=true", 0.0), ("", 1.0)] {
            api.admin("POST", &format!("/v1alpha1/apply{query}"), definition("web", "1"))
                .await
                .expect(200);
            measured(&api, &of("rolled_back"), |count| count == 1.0).await;
            measured(&api, &of("committed"), |count| count == committed).await;
        }
    }
}

#[tokio::test]
async fn transactions_that_are_run_again_are_counted_by_name() {
    let name = "threeport_transaction_retries_total{name=\"object_update\"}";
    for api in Api::everywhere().await {
        api.admin("POST", DEFINITIONS, definition("web", "1"))
            .await
            .expect(201);
        measured(
            &api,
            "threeport_transaction_retries_total{name=\"object_create\"}",
            |count| count == 0.0,
        )
        .await;
        // SQLite has one writer, so nothing collides there.
        if api.store.database() == "sqlite" {
            continue;
        }
        let started = Instant::now();
        let retried = || {
            let counts = api.store.transaction_counts();
            let update = counts.iter().find(|counted| counted.name == "object_update");
            update.map_or(0, |counted| counted.retried)
        };
        for round in 0.. {
            let writes = (0..16).map(|index| {
                let body = definition("web", &format!("{round}-{index}"));
                api.admin("PUT", WEB, body)
            });
            for answer in futures::future::join_all(writes).await {
                answer.expect(200);
            }
            if retried() > 0 {
                break;
            }
            assert!(
                started.elapsed() < DEADLINE,
                "sixteen writers at once never collide"
            );
        }
        let expected = f64::from(u32::try_from(retried()).unwrap());
        measured(&api, name, |count| (count - expected).abs() < f64::EPSILON).await;
    }
}
