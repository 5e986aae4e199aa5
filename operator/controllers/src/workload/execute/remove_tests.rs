use std::time::Duration;

use serde_json::json;
use threeport_engine::{Lease, Outcome};
use threeport_model::condition;
use tokio::time::Instant;
use uuid::Uuid;

use super::*;
use crate::{
    target::fake::{self, Asked, Log},
    workload::{
        execute::execute,
        fixture::world,
        observed::tests::row,
        plan::{Plan, plan},
        status,
        world::World,
    },
};

struct NoApi;

#[async_trait::async_trait]
impl crate::api::Api for NoApi {
    async fn intend(
        &self,
        _: &threeport_model::protocol::inventory::IntentRequest,
    ) -> Result<threeport_model::protocol::inventory::IntentResponse, threeport_engine::SourceError> {
        Ok(threeport_model::protocol::inventory::IntentResponse::default())
    }

    async fn version(
        &self,
    ) -> Result<threeport_model::protocol::whoami::Version, threeport_engine::SourceError> {
        Err(threeport_engine::SourceError::Permanent("not asked".to_owned()))
    }

    fn endpoint(&self) -> &'static str {
        "not asked"
    }
}

pub(in super::super) fn numbered(number: u128) -> InventoryRow {
    InventoryRow {
        id: Uuid::from_u128(100 + number),
        name: format!("api-{number}"),
        ..row()
    }
}

/// A world that is being removed with these rows, and what a run makes of it.
pub(in super::super) async fn removed(
    rows: Vec<InventoryRow>,
    change: impl FnOnce(&mut World),
    answer: impl Fn(&Asked) -> fake::Answer + Send + Sync + 'static,
) -> (World, Applied, Log) {
    let mut world = world();
    world.claim.object.metadata.deletion_requested_at = Some(jiff::Timestamp::UNIX_EPOCH);
    world.claim.inventory = rows;
    let (target, log) = fake::target(answer);
    world.target = Some(target);
    change(&mut world);
    let lease = Lease::until(Instant::now() + Duration::from_secs(600));
    let now = jiff::Timestamp::UNIX_EPOCH;
    let plan = plan(&world, now);
    assert!(matches!(plan, Plan::Remove(_) | Plan::Release(_)));
    let applied = execute(&world, &plan, &NoApi, &lease, now).await.unwrap();
    (world, applied, log)
}

/// A cluster that swallows everything is given up at the first call that is not answered, so that somebody is told.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_ends_the_run_and_is_named() {
    for orphan in [false, true] {
        let started = Instant::now();
        let rows: Vec<_> = (0..100).map(numbered).collect();
        let change = |world: &mut World| {
            if orphan {
                world.spec.deletion_policy =
                    threeport_model::kinds::workload_instance::DeletionPolicy::Orphan;
            }
        };
        let (world, applied, _) = removed(rows, change, |_| None).await;
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "{:?}",
            started.elapsed()
        );
        assert_eq!(applied.rows.len(), 100, "nothing is forgotten");
        assert!(applied.removed.is_empty() && !applied.complete);
        let plan = Plan::Remove(Vec::new());
        let report = status::report(&world, &plan, &applied, jiff::Timestamp::UNIX_EPOCH);
        assert!(
            matches!(report.outcome, Outcome::Retry(_)),
            "{:?}",
            report.outcome
        );
        let status: threeport_model::kinds::workload_instance::Status =
            serde_json::from_value(report.status.unwrap()).unwrap();
        let blocked = condition::find(&status.conditions, condition::DELETION_BLOCKED).unwrap();
        assert_eq!(blocked.reason, "RuntimeUnreachable");
    }
}

/// One that is merely slow is not waited for beyond the time of a run; the next one goes on.
#[tokio::test(start_paused = true)]
async fn a_run_ends_in_time_with_what_it_has_done() {
    let started = Instant::now();
    let rows: Vec<_> = (0..1000).map(numbered).collect();
    let mut world = world();
    world.claim.object.metadata.deletion_requested_at = Some(jiff::Timestamp::UNIX_EPOCH);
    world.claim.inventory = rows;
    let (target, _) = fake::slow_target(Duration::from_secs(5), |_| {
        Some((200, json!({"kind": "Status", "status": "Success"})))
    });
    world.target = Some(target);
    let lease = Lease::until(Instant::now() + Duration::from_secs(600));
    let now = jiff::Timestamp::UNIX_EPOCH;
    let applied = execute(&world, &plan(&world, now), &NoApi, &lease, now)
        .await
        .unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(50),
        "{:?}",
        started.elapsed()
    );
    assert!(
        applied.removed.len() > 50 && applied.removed.len() < 1000,
        "{}",
        applied.removed.len()
    );
    assert_eq!(applied.removed.len() + applied.rows.len(), 1000);
    let report = status::report(&world, &Plan::Remove(Vec::new()), &applied, now);
    assert!(
        !report.finalize && matches!(report.outcome, Outcome::Retry(_)),
        "{:?}",
        report.outcome
    );
}

fn absent(_: &Asked) -> fake::Answer {
    fake::status(404, "not found")
}

/// What was asked of the object itself: whoever goes for good also asks for the namespace that it may be the last in.
fn asked(log: &Log) -> Vec<String> {
    let lines = log.lines().into_iter();
    lines.filter(|line| line.contains("deployments")).collect()
}

fn seen_as(health: Health, trigger: Trigger) -> (InventoryRow, impl FnOnce(&mut World)) {
    let mut row = row();
    row.observed.health = health;
    (row, move |world: &mut World| world.claim.trigger = trigger)
}

#[tokio::test]
async fn what_an_agent_saw_go_is_not_asked_for() {
    let (row, change) = seen_as(Health::Missing, Trigger::Observation);
    let (_, applied, log) = removed(vec![row], change, absent).await;
    assert!(applied.complete && applied.removed.len() == 1);
    assert_eq!(asked(&log), Vec::<String>::new());

    let (row, change) = seen_as(Health::Terminating, Trigger::Observation);
    let (world, applied, log) = removed(vec![row], change, absent).await;
    assert!(!applied.complete && applied.waiting[0].watched);
    assert_eq!(asked(&log), Vec::<String>::new());
    let report = status::report(
        &world,
        &Plan::Remove(Vec::new()),
        &applied,
        jiff::Timestamp::UNIX_EPOCH,
    );
    assert!(
        matches!(report.outcome, Outcome::RequeueAfter(_)),
        "its end is an observation"
    );
}

#[tokio::test]
async fn another_object_or_an_agent_that_is_silent_proves_nothing() {
    let (mut other, change) = seen_as(Health::Missing, Trigger::Observation);
    other.observed.uid = None;
    let (_, _, log) = removed(vec![other], change, absent).await;
    assert_eq!(asked(&log).len(), 1, "a list that lacks it says no uid");
    let (row, _) = seen_as(Health::Missing, Trigger::Observation);
    let change = |world: &mut World| world.claim.agent.as_mut().unwrap().heard = false;
    let (_, _, log) = removed(vec![row], change, absent).await;
    assert_eq!(asked(&log).len(), 1);
    let (row, _) = seen_as(Health::Missing, Trigger::Observation);
    let change =
        |world: &mut World| world.claim.agent.as_mut().unwrap().runtime_id = Some(Uuid::from_u128(9));
    let (_, _, log) = removed(vec![row], change, absent).await;
    assert_eq!(asked(&log).len(), 1, "it is the agent of another cluster");
}

/// Somebody may have taken our labels off meanwhile, to keep the object.
#[tokio::test]
async fn what_an_agent_can_t_list_any_more_is_looked_at() {
    let path = "/apis/apps/v1/namespaces/web/deployments/api";
    let done = |_: &Asked| Some((200, json!({"kind": "Status", "status": "Success"})));
    let (row, change) = seen_as(Health::Current, Trigger::Change);
    let (_, _, log) = removed(vec![row], change, done).await;
    assert_eq!(asked(&log), [format!("DELETE {path}")]);

    let (mut row, change) = seen_as(Health::Unknown, Trigger::Change);
    row.observed.message = "deployments can't be listed".to_owned();
    let foreign = |_: &Asked| Some((200, json!({"metadata": {"name": "api", "uid": "u"}})));
    let (_, applied, log) = removed(vec![row], change, foreign).await;
    assert_eq!(asked(&log), [format!("GET {path}")]);
    assert_eq!(applied.removed.len(), 1, "it is let go of");
}

pub(in super::super) fn namespace() -> InventoryRow {
    InventoryRow {
        id: Uuid::from_u128(99),
        group: String::new(),
        kind: "Namespace".to_owned(),
        plural: "namespaces".to_owned(),
        namespace: String::new(),
        name: "web".to_owned(),
        ..row()
    }
}

/// A namespace that was deleted is neither listed nor deleted again.
#[tokio::test]
async fn what_is_on_its_way_is_not_deleted_again() {
    let change = |world: &mut World| world.claim.trigger = Trigger::Retry;
    let (_, applied, log) = removed(vec![namespace()], change, |_| {
        let world = world();
        let labels = threeport_model::identity::labels(world.identity.control_plane, world.instance(), "web");
        let metadata = json!({"name": "web", "uid": "u", "labels": labels,
            "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.org/hold"]});
        Some((200, json!({"metadata": metadata})))
    })
    .await;
    assert_eq!(log.lines(), ["GET /api/v1/namespaces/web"]);
    assert_eq!(applied.waiting[0].what, "example.org/hold");
}

/// Objects in the cluster that an instance was in before are removed there.
#[tokio::test]
async fn what_is_left_in_another_cluster_is_removed_there() {
    let old = Uuid::from_u128(8);
    let mut row = row();
    row.runtime_id = old;
    let ours = || {
        let world = world();
        let labels = threeport_model::identity::labels(world.identity.control_plane, world.instance(), "web");
        json!({"metadata": {"name": "api", "uid": "u", "labels": labels}})
    };
    let (there, log) = fake::target(move |asked| {
        let gone = json!({"kind": "Status", "status": "Success"});
        let is_look = asked.line.starts_with("GET");
        Some((200, if is_look { ours() } else { gone }))
    });
    let change = move |world: &mut World| drop(world.elsewhere.insert(old, there));
    let (_, applied, here) = removed(vec![row.clone()], change, |_| None).await;
    assert!(applied.complete && applied.removed == [row.id]);
    assert_eq!(here.lines(), Vec::<String>::new());
    let path = "/apis/apps/v1/namespaces/web/deployments/api";
    assert_eq!(asked(&log), [format!("GET {path}"), format!("DELETE {path}")]);

    let (_, applied, _) = removed(vec![row], |_| {}, |_| None).await;
    assert!(
        applied.removed.is_empty() && applied.obstacles.len() == 1,
        "a cluster that nobody knows"
    );
}

/// A Service can't have the node port of one that is to go, and that does not go while anything is refused: unless the
/// refusal says that it is taken. What is to go for any other reason stays, and so does what is itself wanted, be it as
/// another runtime's.
#[tokio::test]
async fn what_has_what_another_wants_makes_way() {
    let service = |name: &str| {
        let mut service = InventoryRow {
            id: Uuid::from_u128(if name == "old" { 201 } else { 202 }),
            group: String::new(),
            kind: "Service".to_owned(),
            plural: "services".to_owned(),
            name: name.to_owned(),
            uid: Some(name.to_owned()),
            ..row()
        };
        service.observed.uid.clone_from(&service.uid);
        service
    };
    for (message, makes_way) in [
        (
            "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated",
            true,
        ),
        (
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535",
            false,
        ),
    ] {
        let mut world = world();
        let elsewhere = InventoryRow {
            runtime_id: Uuid::from_u128(8),
            ..service("new")
        };
        world.claim.inventory = vec![service("old"), numbered(1), elsewhere.clone()];
        let mut wanted = crate::workload::fixture::desired("h");
        wanted.identity.kind = "Service".to_owned();
        wanted.identity.group = String::new();
        wanted.resource = Resource {
            group: String::new(),
            plural: "services".to_owned(),
            kind: "Service".to_owned(),
            ..wanted.resource
        };
        wanted.object = json!({"metadata": {"name": "new", "namespace": "web"}});
        wanted.identity.name = "new".to_owned();
        world.desired = vec![wanted];
        let (target, log) = fake::target(move |asked| match asked.line.split(' ').next() {
            Some("PATCH") => fake::status(422, message),
            _ => Some((200, json!({"kind": "Status", "status": "Success"}))),
        });
        world.elsewhere.insert(elsewhere.runtime_id, target.clone());
        world.target = Some(target);
        let lease = Lease::until(Instant::now() + Duration::from_secs(600));
        let now = jiff::Timestamp::UNIX_EPOCH;
        let applied = execute(&world, &plan(&world, now), &NoApi, &lease, now)
            .await
            .unwrap();
        assert_eq!(applied.made_way, makes_way);
        assert_eq!(applied.removed.contains(&service("old").id), makes_way);
        for other in [&numbered(1), &elsewhere] {
            assert!(applied.rows.contains(other), "{} stays", other.name);
        }
        let deletions = log.lines().into_iter().filter(|line| line.starts_with("DELETE"));
        assert_eq!(deletions.count(), usize::from(makes_way));
        let report = status::report(&world, &plan(&world, now), &applied, now);
        assert_eq!(matches!(report.outcome, Outcome::Retry(_)), makes_way);
    }
}

pub(in super::super) fn of_kind(
    number: u128,
    group: &str,
    kind: &str,
    plural: &str,
    namespace: &str,
) -> InventoryRow {
    InventoryRow {
        group: group.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespace: namespace.to_owned(),
        ..numbered(number)
    }
}

/// What would take along what the cluster protects is not begun, nor is what that needs: it would go unprotected, or for ever.
#[tokio::test]
async fn what_may_not_be_deleted_keeps_its_operator_its_kind_and_its_namespace() {
    let custom = of_kind(1, "example.org", "Widget", "widgets", "web");
    let operator = numbered(2);
    let claim = of_kind(3, "", "PersistentVolumeClaim", "persistentvolumeclaims", "web");
    let map = of_kind(4, "", "ConfigMap", "configmaps", "web");
    let definition = of_kind(
        5,
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "",
    );
    let deleted = |log: &Log| -> Vec<String> {
        let lines = log.lines().into_iter();
        let kinds =
            lines.filter_map(|line| Some(line.strip_prefix("DELETE ")?.rsplit('/').nth(1)?.to_owned()));
        kinds.collect()
    };
    for (protected, begun) in [
        ("widgets", vec!["widgets"]),
        (
            "persistentvolumeclaims",
            vec!["widgets", "deployments", "persistentvolumeclaims", "configmaps"],
        ),
        (
            "nothing",
            vec![
                "widgets",
                "deployments",
                "persistentvolumeclaims",
                "configmaps",
                "namespaces",
                "customresourcedefinitions",
            ],
        ),
    ] {
        for code in [403, 409, 422] {
            let rows = [&custom, &operator, &claim, &map, &namespace(), &definition].map(Clone::clone);
            let (_, applied, log) = removed(
                rows.to_vec(),
                |_| {},
                move |asked| {
                    let gone = json!({"kind": "Status", "status": "Success"});
                    match asked.line.split_once(' ').unwrap() {
                        ("GET", "/api" | "/apis") => fake::discovery(&asked.line, &[]),
                        ("GET", path) if path.contains("customresourcedefinitions") => {
                            let names = json!({"kind": "Widget", "plural": "widgets"});
                            let versions = json!([{"name": "v1", "served": true}]);
                            let spec = json!({"group": "example.org", "names": names, "versions": versions,
                            "scope": "Namespaced"});
                            Some((
                                200,
                                json!({"metadata": {"name": "api-5", "uid": "u"}, "spec": spec}),
                            ))
                        }
                        ("GET", _) => Some((200, json!({"kind": "List", "metadata": {}, "items": []}))),
                        (_, path) if path.contains(protected) => fake::status(code, "it is protected"),
                        _ => Some((200, gone)),
                    }
                },
            )
            .await;
            assert_eq!(deleted(&log), begun, "{protected}, {code}");
            let stays = if protected == "nothing" {
                0
            } else {
                6 - begun.len() + 1
            };
            assert_eq!(applied.rows.len(), stays, "{protected}, {code}");
            assert_eq!(applied.obstacles.len(), usize::from(stays > 0));
            assert_eq!(applied.complete, stays == 0);
        }
    }
}

/// An object outlives the version that it was applied in: it is deleted, or let go of, in one that is still served.
#[tokio::test]
async fn what_was_applied_in_a_version_that_is_served_no_more_goes_in_another() {
    for (orphan, served) in [(false, true), (false, false), (true, true), (true, false)] {
        let row = InventoryRow {
            version: "v1beta1".to_owned(),
            ..of_kind(1, "example.org", "Widget", "widgets", "web")
        };
        let change = move |world: &mut World| {
            world.claim.trigger = Trigger::Retry;
            if orphan {
                world.spec.deletion_policy =
                    threeport_model::kinds::workload_instance::DeletionPolicy::Orphan;
            }
        };
        let (_, applied, log) = removed(vec![row], change, move |asked| {
            let world = world();
            let labels =
                threeport_model::identity::labels(world.identity.control_plane, world.instance(), "web");
            let live =
                json!({"metadata": {"name": "api-1", "uid": "u", "resourceVersion": "7", "labels": labels}});
            let kind = json!({"name": "widgets", "kind": "Widget", "namespaced": true});
            match asked.line.as_str() {
                "GET /apis/example.org" if served => Some((200, json!({"versions": [{"version": "v1"}]}))),
                "GET /apis/example.org/v1" => Some((200, json!({"resources": [kind]}))),
                "GET /apis/example.org/v1/namespaces/web/widgets/api-1"
                | "PATCH /apis/example.org/v1/namespaces/web/widgets/api-1" => Some((200, live)),
                "DELETE /apis/example.org/v1/namespaces/web/widgets/api-1" => {
                    Some((200, json!({"kind": "Status", "status": "Success"})))
                }
                "GET /api/v1/namespaces/web" => fake::status(404, "namespaces \"web\" not found"),
                _ => fake::status(404, "404 page not found"),
            }
        })
        .await;
        assert!(
            applied.complete && applied.removed.len() == 1,
            "{orphan}, {served}"
        );
        let written: Vec<String> = log
            .lines()
            .into_iter()
            .filter(|line| line.ends_with("api-1") && !line.starts_with("GET"))
            .collect();
        let verb = if orphan { "PATCH" } else { "DELETE" };
        let expected = format!("{verb} /apis/example.org/v1/namespaces/web/widgets/api-1");
        assert_eq!(written, if served { vec![expected] } else { Vec::new() });
    }
}
