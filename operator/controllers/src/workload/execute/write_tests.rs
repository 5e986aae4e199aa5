use std::sync::Arc;

use serde_json::json;
use threeport_engine::Lease;
use tokio::time::Instant;

use super::*;
use crate::{
    target::fake::{self, Asked, Log},
    workload::{
        fixture::{desired, world},
        observed::tests::row,
    },
};

const PATH: &str = "/apis/apps/v1/namespaces/web/deployments/api";

fn live(version: &str) -> Value {
    json!({"metadata": {"name": "api", "uid": "u", "resourceVersion": version}})
}

/// An update of [`row`]'s object under a claim that lasts so long; `answer` is told the lease and how many patches came before.
async fn updated(
    seconds: u64,
    answer: impl Fn(&Asked, &Lease, usize) -> fake::Answer + Send + Sync + 'static,
) -> (Result<Answer, RunError>, Log) {
    let world = world();
    let lease = Arc::new(Lease::until(Instant::now() + Duration::from_secs(seconds)));
    let (held, patches) = (Arc::clone(&lease), std::sync::atomic::AtomicUsize::new(0));
    let (target, log) = fake::target(move |asked| {
        let before = if asked.line.starts_with("PATCH") {
            patches.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
        } else {
            0
        };
        answer(asked, &held, before)
    });
    let runtime = row().runtime_id;
    let context = Context::new(&world, runtime, &target, &lease, jiff::Timestamp::UNIX_EPOCH);
    let mut desired = desired("new");
    desired.object =
        json!({"metadata": {"name": "api", "namespace": "web", "annotations": {ON_IMMUTABLE: "recreate"}}});
    (update(&context, &desired, row(), "u", false).await, log)
}

fn sent(log: &Log) -> Vec<(String, Value)> {
    let patches = log
        .all()
        .into_iter()
        .filter(|asked| asked.line.starts_with("PATCH"));
    patches
        .map(|asked| {
            let metadata = &asked.body["metadata"];
            (
                metadata["uid"].as_str().unwrap().to_owned(),
                metadata["resourceVersion"].clone(),
            )
        })
        .collect()
}

const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version";

/// Who was paused since it looked finds that its successor wrote, and does not write any more.
#[tokio::test]
async fn a_replica_that_lost_its_claim_does_not_overwrite_what_its_successor_wrote() {
    let (answer, log) = updated(10, |asked, lease, _| {
        if asked.line.starts_with("PATCH") {
            lease.lose();
            return fake::status(409, MODIFIED);
        }
        Some((200, live("200")))
    })
    .await;
    assert!(matches!(answer, Err(RunError::LeaseLost(_))), "{answer:?}");
    assert_eq!(
        sent(&log),
        [("u".to_owned(), json!("100"))],
        "what is known of it goes along"
    );
}

#[tokio::test]
async fn what_changed_since_it_was_seen_is_read_and_applied_over() {
    let (answer, log) = updated(10, |asked, _, before| match before {
        0 if asked.line.starts_with("PATCH") => fake::status(409, MODIFIED),
        0 => Some((200, live("200"))),
        _ => Some((200, live("201"))),
    })
    .await;
    let (row, written) = answer.unwrap();
    assert_eq!(written, Ok(Written::Applied));
    assert_eq!(row.applied_resource_version.as_deref(), Some("201"));
    let versions = ["100", "200"].map(|version| ("u".to_owned(), json!(version)));
    assert_eq!(sent(&log), versions);
    assert_eq!(log.lines()[1], format!("GET {PATH}"));
}

#[tokio::test(start_paused = true)]
async fn a_write_is_not_waited_for_longer_than_the_claim_lasts() {
    let started = Instant::now();
    let (answer, log) = updated(3, |_, _, _| None).await;
    assert!(matches!(answer, Err(RunError::LeaseLost(_))), "{answer:?}");
    assert_eq!(log.all().len(), 1);
    assert_eq!(started.elapsed(), Duration::from_secs(3));
}

/// The cluster refuses to change a field: what is ours is made anew, and what somebody took our labels off stays.
#[tokio::test]
async fn what_lost_our_labels_is_not_deleted_to_be_made_anew() {
    let refused = || {
        let causes = json!([{"field": "spec.selector", "message": "Invalid value: {}: field is immutable"}]);
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422,
            "reason": "Invalid", "message": "refused", "details": {"causes": causes}});
        Some((422, status))
    };
    for (is_ours, expected) in [(true, 1), (false, 0)] {
        let (answer, log) = updated(10, move |asked, _, before| match asked.line.split(' ').next() {
            Some("PATCH") if before == 0 => refused(),
            Some("PATCH") => Some((201, live("201"))),
            Some("DELETE") => Some((200, json!({"kind": "Status", "status": "Success"}))),
            _ => {
                let world = world();
                let (plane, instance) = (world.identity.control_plane, world.instance());
                let labels = is_ours.then(|| threeport_model::identity::labels(plane, instance, "web"));
                Some((
                    200,
                    json!({"metadata": {"name": "api", "uid": "u", "labels": labels}}),
                ))
            }
        })
        .await;
        let (_, written) = answer.unwrap();
        if is_ours {
            assert_eq!(written, Ok(Written::Recreated));
        } else {
            assert!(
                matches!(&written, Err(obstacle) if obstacle.reason == Reason::Conflict),
                "{written:?}"
            );
        }
        let deletions = log.lines().into_iter().filter(|line| line.starts_with("DELETE"));
        assert_eq!(deletions.count(), expected, "{:?}", log.lines());
    }
}

#[test]
fn what_would_take_others_with_it_is_never_made_anew() {
    let may = |rank: Rank| {
        let mut desired = desired("new");
        desired.object = json!({"metadata": {"annotations": {ON_IMMUTABLE: "recreate"}}});
        desired.rank = rank;
        may_recreate(&desired, &row())
    };
    assert!(may(Rank::Workload));
    assert!(!may(Rank::Namespace) && !may(Rank::CustomResourceDefinition));
}

#[test]
fn the_newest_version_that_is_known_of_our_object_counts() {
    let mut row = row();
    row.observed.resource_version = Some("99".to_owned());
    assert_eq!(
        newest_version(&row, "u").as_deref(),
        Some("100"),
        "our last write"
    );
    row.observed.resource_version = Some("1000".to_owned());
    assert_eq!(
        newest_version(&row, "u").as_deref(),
        Some("1000"),
        "what was seen after it"
    );
    row.observed.uid = Some("another".to_owned());
    assert_eq!(newest_version(&row, "u").as_deref(), Some("100"));
    assert_eq!(newest_version(&row, "v"), None);
}
