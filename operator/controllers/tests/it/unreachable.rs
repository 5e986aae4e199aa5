use serde_json::json;
use threeport_engine::Outcome;
use threeport_model::{ConditionStatus, condition, kinds::workload_instance::Health};

use crate::harness::World;

/// Unknown is not absent: while the cluster doesn't answer nothing is forgotten, removed or called Ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_answer_is_unknown() {
    let mut world = World::start(false).await;
    world.define(
        "web",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: ours}\n",
    );
    world.place("web", json!({}));
    world.settle("web").await;
    let rows = world.rows("web");

    world.cluster.process("kube-apiserver").unwrap().kill().unwrap();
    world.restart().await;
    world.define(
        "web",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {key: ours}\n",
    );
    for row in &mut world.api.0.lock().unwrap().rows {
        row.observed.health = Health::Missing;
    }
    let report = world.run("web").await;
    assert!(
        matches!(report.outcome, Outcome::Retry(_)),
        "{:?}",
        report.outcome
    );
    let status = world.status("web");
    let ready = condition::find(&status.conditions, condition::READY).unwrap();
    assert_eq!(
        (ready.status, ready.reason.as_str()),
        (ConditionStatus::Unknown, "RuntimeUnreachable")
    );
    assert!(report.inventory_removed.is_empty());
    assert_eq!(world.rows("web").len(), rows.len());

    // Nor while nobody has seen anything go. (What an agent that is heard saw go is gone, whoever answers.)
    for row in &mut world.api.0.lock().unwrap().rows {
        row.observed.health = Health::Unknown;
    }
    world.delete("web");
    let report = world.run("web").await;
    assert!(!report.finalize && report.inventory_removed.is_empty());
    let status = world.status("web");
    assert!(condition::find(&status.conditions, condition::DELETION_BLOCKED).is_some());
    assert_eq!(status.blocked_on[0].reason, "RuntimeUnreachable");
    let since = status.blocked_on[0].since;
    world.run("web").await;
    assert_eq!(
        world.status("web").blocked_on[0].since,
        since,
        "kept while it stays the same"
    );
    assert!(
        world.ready("web").1.contains("abandonAfter is not set"),
        "{:?}",
        world.ready("web")
    );

    // Given up deliberately, after that time and not before, with all that may be left on record.
    world.agent_heard = false;
    world.abandon_after = Some("1h".to_owned());
    let now = jiff::Timestamp::now();
    world.unreachable_since = Some(now - jiff::SignedDuration::from_mins(59));
    assert!(!world.run("web").await.finalize);
    assert!(
        world.ready("web").1.contains("given up after"),
        "{:?}",
        world.ready("web")
    );
    world.unreachable_since = Some(now - jiff::SignedDuration::from_mins(61));
    let report = world.run("web").await;
    assert!(report.finalize && world.rows("web").is_empty());
    let named = |name: &str| {
        let mut events = report.events.iter();
        events.any(|event| event.reason == "Abandoned" && event.message.contains(name))
    };
    assert!(
        named("Namespace web") && named("ConfigMap web/config"),
        "{:?}",
        report.events
    );
}
