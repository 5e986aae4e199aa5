use std::sync::atomic::{AtomicBool, Ordering};

use threeport_engine::Report;
use threeport_model::{identity, kinds::workload_instance::Status, protocol::claim::Trigger};

use super::*;
use crate::{
    target::fake::{self, Answer, Asked},
    workload::{
        execute::remove::tests::{namespace, numbered, of_kind, removed},
        fixture::world,
        plan::Plan,
        status,
        world::World,
    },
};

const GONE: &str = "DELETE /api/v1/namespaces/web";

fn list(items: &Value) -> Answer {
    Some((200, json!({"kind": "List", "metadata": {}, "items": items})))
}

/// A cluster with a namespace `web` of ours. Another instance has an object in it until it is `left`; after that what is in
/// it can be listed, or not.
fn shared(left: bool, lists: bool) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    let left = AtomicBool::new(left);
    move |asked| {
        let world = world();
        let labels = |instance: u128| {
            let plane = world.identity.control_plane;
            identity::labels(plane, Uuid::from_u128(instance), "web")
        };
        let is_left = left.load(Ordering::SeqCst);
        let items = if is_left {
            json!([])
        } else {
            json!([{"metadata": {"name": "a", "labels": labels(7)}}])
        };
        let mut mine = json!({"metadata": {"name": "web", "uid": "u", "labels": labels(3)}});
        if is_left {
            mine["metadata"]["labels"][INSTANCE].take();
        }
        match asked.line.as_str() {
            "GET /api" | "GET /apis" => fake::discovery(&asked.line, &[("", "ConfigMap", "configmaps")]),
            "GET /api/v1/namespaces/web/configmaps" if is_left && !lists => fake::status(500, "not now"),
            "GET /api/v1/namespaces/web/configmaps" => list(&items),
            "GET /api/v1/namespaces/web" => Some((200, mine)),
            "PATCH /api/v1/namespaces/web" => {
                left.store(true, Ordering::SeqCst);
                Some((200, mine))
            }
            _ => Some((200, json!({"kind": "Status", "status": "Success"}))),
        }
    }
}

/// Two that live in one namespace leave it at once, and each saw the other's objects: whoever is the last removes it.
#[tokio::test]
async fn of_two_that_leave_a_namespace_at_once_one_removes_it() {
    let (_, applied, log) = removed(vec![namespace()], |_| {}, shared(false, true)).await;
    let lines = log.lines();
    assert_eq!(lines.last().unwrap(), GONE, "{lines:?}");
    assert!(applied.complete && applied.kept.is_empty());
}

/// The other one has looked already, and saw that this one had not left.
#[tokio::test]
async fn who_left_and_could_not_look_once_more_does_so_in_the_next_run() {
    let (_, applied, log) = removed(vec![namespace()], |_| {}, shared(false, false)).await;
    assert!(
        !applied.complete && applied.removed.is_empty(),
        "{:?}",
        log.lines()
    );
    assert_eq!(applied.rows, [namespace()]);
    let again = |world: &mut World| world.claim.trigger = Trigger::Retry;
    let (_, applied, log) = removed(vec![namespace()], again, shared(true, true)).await;
    let lines = log.lines();
    assert_eq!(lines.last().unwrap(), GONE, "{lines:?}");
    assert!(applied.complete && applied.kept.is_empty());
}

/// A cluster with a namespace `web` that another instance made and left. These pods are in it, discovery is answered with
/// `code`, and what is in the namespace `other` does not go.
fn vacated(code: u16, pods: Value) -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    move |asked| {
        let plane = world().identity.control_plane;
        match asked.line.as_str() {
            "GET /apis" if code != 200 => fake::status(code, "not now"),
            "GET /api" | "GET /apis" => {
                let kinds = [("", "Pod", "pods"), ("apps", "ReplicaSet", "replicasets")];
                fake::discovery(&asked.line, &kinds)
            }
            "GET /api/v1/namespaces/web" => {
                let metadata = json!({"name": "web", "uid": "n", "labels": {CONTROL_PLANE: plane}});
                Some((200, json!({"metadata": metadata})))
            }
            "GET /api/v1/namespaces/web/pods" => list(&pods),
            "GET /apis/apps/v1/namespaces/web/replicasets" => list(&json!([])),
            line if line.starts_with("DELETE /api/v1/namespaces/other/") => {
                Some((200, json!({"metadata": {"finalizers": ["example.org/hold"]}})))
            }
            _ => Some((200, json!({"kind": "Status", "status": "Success"}))),
        }
    }
}

fn report(world: &World, applied: &Applied) -> Report {
    let plan = Plan::Remove(Vec::new());
    status::report(world, &plan, applied, jiff::Timestamp::UNIX_EPOCH)
}

fn map(number: u128, namespace: &str) -> InventoryRow {
    of_kind(number, "", "ConfigMap", "configmaps", namespace)
}

/// Nobody else comes to look at it, and nobody else may have its name. Whoever was the last in it does not end before he
/// knows.
#[tokio::test]
async fn a_namespace_that_others_left_is_looked_at_until_it_is_known_what_is_in_it() {
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gone", "uid": "gone"});
    let dangling = json!([{"metadata": {"name": "pod", "uid": "p", "ownerReferences": [owner]}}]);
    let row = map(4, "web");
    for (code, pods, reason) in [
        (503, json!([]), "RuntimeUnreachable"),
        (200, dangling, "Terminating"),
    ] {
        let (world, applied, log) = removed(vec![row.clone()], |_| {}, vacated(code, pods)).await;
        assert!(!log.lines().iter().any(|line| line == GONE), "{reason}");
        let report = report(&world, &applied);
        assert!(!report.finalize, "{reason}");
        assert_eq!(report.inventory_removed, Vec::<Uuid>::new(), "{reason}");
        let status: Status = serde_json::from_value(report.status.unwrap()).unwrap();
        let blocked = &status.blocked_on[0];
        assert_eq!(
            (blocked.reason.as_str(), blocked.on.as_str()),
            (reason, "Namespace web")
        );
    }
    let (world, applied, log) = removed(vec![row.clone()], |_| {}, vacated(200, json!([]))).await;
    assert_eq!(log.lines().last().unwrap(), GONE);
    let report = report(&world, &applied);
    assert!(report.finalize && report.inventory_removed == [row.id]);
}

/// The run that removes the last object that is elsewhere has no row any more that names it.
#[tokio::test]
async fn a_namespace_that_others_left_waits_for_nothing_that_is_elsewhere() {
    let rows = vec![map(4, "web"), map(5, "other")];
    let (world, applied, log) = removed(rows.clone(), |_| {}, vacated(200, json!([]))).await;
    assert_eq!(log.lines().last().unwrap(), GONE);
    let report = report(&world, &applied);
    assert!(!report.finalize && report.inventory_removed == [rows[0].id]);
}

fn remembered(rows: &[InventoryRow], gone: usize, again: &[&str]) -> Vec<Uuid> {
    let mut applied = Applied {
        removed: rows[..gone].iter().map(|row| row.id).collect(),
        ..Applied::default()
    };
    let again = again.iter().map(|name| (*name).to_owned()).collect();
    remember(rows, &mut applied, &again);
    applied.remembered
}

#[test]
fn the_row_of_a_stateful_set_stays_until_its_namespace_is_gone() {
    let mut set = numbered(2);
    set.kind = "StatefulSet".to_owned();
    let own = [numbered(3), set.clone(), namespace()];
    assert_eq!(remembered(&own, 2, &[]), [set.id]);
    assert!(remembered(&own, 3, &[]).is_empty());
    let others = [numbered(3), set.clone()];
    assert_eq!(remembered(&others, 2, &["web"]), [set.id]);
    assert!(remembered(&others, 2, &[]).is_empty());
}

#[test]
fn one_row_says_that_a_namespace_has_to_be_looked_at_again() {
    let rows = [numbered(2), numbered(3)];
    assert_eq!(remembered(&rows, 2, &["web"]), [rows[0].id]);
    assert!(remembered(&rows, 1, &["web"]).is_empty(), "the other one says so");
    assert_eq!(
        remembered(&rows, 2, &["named"]),
        [rows[0].id],
        "the instance names it, and has nothing in it"
    );
    assert_eq!(remembered(&rows, 2, &["named", "web"]), [rows[0].id]);
    assert!(remembered(&rows, 2, &[]).is_empty());
}
