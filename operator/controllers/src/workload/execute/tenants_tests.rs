use std::collections::BTreeMap;

use serde_json::json;
use threeport_engine::Lease;
use threeport_model::identity;
use tokio::time::Instant;
use uuid::Uuid;

use super::*;
use crate::{
    target::fake::{self, Answer, Asked, Log},
    workload::{fixture::world, identity::tests::fields, world::World},
};

const KINDS: &[(&str, &str, &str)] = &[
    ("", "ConfigMap", "configmaps"),
    ("", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "Pod", "pods"),
    ("apps", "ReplicaSet", "replicasets"),
    ("coordination.k8s.io", "Lease", "leases"),
    ("example.org", "Lease", "leases"),
    (
        "operators.coreos.com",
        "ClusterServiceVersion",
        "clusterserviceversions",
    ),
    (
        "packages.operators.coreos.com",
        "PackageManifest",
        "packagemanifests",
    ),
];

/// The lists of a namespace `web`, by plural and group; a list of pages.
type Lists = BTreeMap<&'static str, Vec<Vec<Value>>>;

fn answer(lists: &Lists, asked: &Asked) -> Answer {
    let path = asked.line.strip_prefix("GET ").unwrap();
    if path == "/api" || path == "/apis" {
        return fake::discovery(path, KINDS);
    }
    let pages = lists.get(path).cloned().unwrap_or_default();
    let from = asked
        .query
        .split('&')
        .find_map(|part| part.strip_prefix("continue="));
    let number: usize = from.map_or(0, |from| from.parse().unwrap());
    let token = if number + 1 < pages.len() {
        (number + 1).to_string()
    } else {
        String::new()
    };
    let items = pages.get(number).cloned().unwrap_or_default();
    Some((
        200,
        json!({"kind": "PartialObjectMetadataList", "metadata": {"continue": token}, "items": items}),
    ))
}

async fn look(
    world: World,
    answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> (Result<Verdict, TargetError>, Log) {
    let (target, log) = fake::target(answer);
    let lease = Lease::until(Instant::now() + std::time::Duration::from_secs(60));
    let context = Context::new(
        &world,
        Uuid::from_u128(2),
        &target,
        &lease,
        jiff::Timestamp::UNIX_EPOCH,
    );
    (of_namespace(&context, "web").await, log)
}

async fn verdict(lists: Lists) -> Verdict {
    look(world(), move |asked| answer(&lists, asked)).await.0.unwrap()
}

fn object(uid: &str, owners: &Value) -> Value {
    json!({"metadata": {"name": uid, "uid": uid, "ownerReferences": owners}})
}

fn ours(uid: &str) -> Value {
    applied_at(uid, "2026-01-01T00:00:00Z")
}

/// Made on the first of January 2026.
fn applied_at(uid: &str, time: &str) -> Value {
    let world = world();
    let labels = identity::labels(world.identity.control_plane, world.instance(), "web");
    let fields = fields(identity::INSTANCE);
    let entry = json!({"manager": world.manager(), "operation": "Apply", "time": time, "fieldsV1": fields});
    json!({"metadata": {"name": uid, "uid": uid, "labels": labels,
        "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [entry]}})
}

fn owned_by(api_version: &str, kind: &str, uid: &str) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "uid": uid, "name": uid}])
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/web/configmaps";
const PODS: &str = "/api/v1/namespaces/web/pods";
const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/web/replicasets";

fn is_kept(verdict: &Verdict, name: &str) -> bool {
    matches!(verdict, Verdict::Keep(keep) if keep.message.contains(name) && !keep.for_ours)
}

#[tokio::test]
async fn a_foreign_object_on_the_second_page_is_found_and_the_third_is_not_read() {
    let first: Vec<Value> = (0..3).map(|number| ours(&number.to_string())).collect();
    let free = Lists::from([(CONFIG_MAPS, vec![first.clone(), vec![ours("last")]])]);
    assert_eq!(verdict(free).await, Verdict::Free);
    let pages = vec![first, vec![object("theirs", &json!([]))], vec![ours("last")]];
    let lists = Lists::from([(CONFIG_MAPS, pages)]);
    let (found, log) = look(world(), move |asked| answer(&lists, asked)).await;
    assert!(is_kept(&found.unwrap(), "ConfigMap theirs"));
    let pages = log.lines().into_iter().filter(|line| line.ends_with(CONFIG_MAPS));
    assert_eq!(pages.count(), 2);
}

#[tokio::test]
async fn a_list_that_breaks_off_is_unknown() {
    for code in [410, 500, 504] {
        let lists = Lists::from([(CONFIG_MAPS, vec![vec![ours("a")], vec![]])]);
        let (found, _) = look(world(), move |asked| {
            if asked.query.contains("continue=") {
                fake::status(code, "no")
            } else {
                answer(&lists, asked)
            }
        })
        .await;
        assert!(found.unwrap_err().is_unknown(), "{code}");
    }
}

/// It has our labels and our entry among its managers, and is nobody's but his who restored it.
#[tokio::test]
async fn what_was_restored_into_a_namespace_of_ours_keeps_it() {
    let restored = || {
        Lists::from([(
            CONFIG_MAPS,
            vec![vec![applied_at("restored", "2020-01-01T00:00:00Z")]],
        )])
    };
    assert!(is_kept(&verdict(restored()).await, "ConfigMap restored"));
    let mut known = world();
    known.claim.inventory = vec![crate::workload::observed::tests::row()];
    known.claim.inventory[0].uid = Some("restored".to_owned());
    let lists = restored();
    let (found, _) = look(known, move |asked| answer(&lists, asked)).await;
    assert_eq!(found.unwrap(), Verdict::Free, "the instance took it in");
}

#[tokio::test]
async fn what_the_database_has_no_record_of_keeps_the_namespace_that_it_is_in() {
    let look_with = async |unrecorded: bool| {
        let mut found = world();
        found.claim.inventory = vec![crate::workload::observed::tests::row()];
        let row = &mut found.claim.inventory[0];
        (row.uid, row.plan_hash, row.unrecorded) = (Some("claim".to_owned()), None, unrecorded);
        let lists = Lists::from([(CONFIG_MAPS, vec![vec![ours("claim")]])]);
        look(found, move |asked| answer(&lists, asked)).await.0.unwrap()
    };
    assert!(is_kept(&look_with(true).await, "ConfigMap claim"));
    assert_eq!(look_with(false).await, Verdict::Free, "it came late");
}

#[tokio::test]
async fn only_an_owner_that_was_seen_takes_what_it_owns_along() {
    let pod = |owners| (PODS, vec![vec![object("pod", &owners)]]);
    let set = (REPLICA_SETS, vec![vec![ours("set")]]);
    let with_owner = Lists::from([pod(owned_by("apps/v1", "ReplicaSet", "set")), set]);
    assert_eq!(verdict(with_owner).await, Verdict::Free);
    let of_a_node = Lists::from([pod(owned_by("v1", "Node", "node"))]);
    assert!(is_kept(&verdict(of_a_node).await, "Pod pod"));
    let dangling = Lists::from([pod(owned_by("apps/v1", "ReplicaSet", "gone"))]);
    assert!(matches!(verdict(dangling).await, Verdict::Wait(why) if why.contains("Pod pod")));
    let foreign = (REPLICA_SETS, vec![vec![object("set", &json!([]))]]);
    let theirs = Lists::from([pod(owned_by("apps/v1", "ReplicaSet", "set")), foreign]);
    assert!(is_kept(&verdict(theirs).await, "ReplicaSet set"));
}

#[tokio::test]
async fn what_the_cluster_puts_there_is_told_by_group_and_plural() {
    let leases = |path| Lists::from([(path, vec![vec![object("lease", &json!([]))]])]);
    let own = "/apis/coordination.k8s.io/v1/namespaces/web/leases";
    assert_eq!(verdict(leases(own)).await, Verdict::Free);
    let theirs = "/apis/example.org/v1/namespaces/web/leases";
    assert!(is_kept(&verdict(leases(theirs)).await, "Lease lease"));
}

#[tokio::test]
async fn what_an_operator_lifecycle_manager_copies_keeps_no_namespace() {
    let packages = "/apis/packages.operators.coreos.com/v1/namespaces/web/packagemanifests";
    let versions = "/apis/operators.coreos.com/v1/namespaces/web/clusterserviceversions";
    let mut copied = object("copied", &json!([]));
    copied["metadata"]["labels"] = json!({"olm.copiedFrom": "operators"});
    let theirs = object("theirs", &json!([]));
    let lists = Lists::from([
        (packages, vec![vec![theirs.clone()]]),
        (versions, vec![vec![copied]]),
    ]);
    assert_eq!(verdict(lists).await, Verdict::Free);
    let installed = Lists::from([(versions, vec![vec![theirs]])]);
    assert!(is_kept(&verdict(installed).await, "ClusterServiceVersion theirs"));
}

#[tokio::test]
async fn what_is_in_every_namespace_of_a_cluster_keeps_none() {
    let named = |name: &str| object(name, &json!([]));
    for planted in [
        "kube-root-ca.crt",
        "istio-ca-root-cert",
        "openshift-service-ca.crt",
    ] {
        let lists = Lists::from([(CONFIG_MAPS, vec![vec![named(planted)]])]);
        assert_eq!(verdict(lists).await, Verdict::Free, "{planted}");
        let elsewhere = Lists::from([(PODS, vec![vec![named(planted)]])]);
        assert!(is_kept(&verdict(elsewhere).await, planted));
    }
}

/// A world with a StatefulSet `db` of one template, `data`, in `web`.
fn with_a_set() -> World {
    let mut world = world();
    let template = json!({"metadata": {"name": "data"}});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"volumeClaimTemplates": [template]}});
    world.claim.references[0].spec = json!({"manifests": [set]});
    let mut row = crate::workload::observed::tests::row();
    row.kind = "StatefulSet".to_owned();
    row.name = "db".to_owned();
    world.claim.inventory = vec![row];
    world
}

/// It has no owner and no label, so its name must say it, all of it: what it is mistaken for is somebody's data.
#[tokio::test]
async fn a_volume_s_claim_is_ours_by_its_whole_name_only() {
    const CLAIMS: &str = "/api/v1/namespaces/web/persistentvolumeclaims";
    let of = |change: fn(&mut World), name: &'static str| {
        let mut world = with_a_set();
        change(&mut world);
        let lists = Lists::from([(CLAIMS, vec![vec![object(name, &json!([]))]])]);
        async move { look(world, move |asked| answer(&lists, asked)).await.0.unwrap() }
    };
    for name in ["data-db-0", "data-db-12"] {
        assert_eq!(of(|_| {}, name).await, Verdict::Free, "{name}");
    }
    for name in [
        "data-user-db-0",
        "backup-db-1",
        "data-db-",
        "data-db-x",
        "db-0",
        "data-db",
    ] {
        assert!(is_kept(&of(|_| {}, name).await, name), "{name}");
    }
    let elsewhere = |world: &mut World| world.claim.inventory[0].namespace = "other".to_owned();
    assert!(is_kept(&of(elsewhere, "data-db-0").await, "data-db-0"));
    let forgotten = |world: &mut World| world.claim.references[0].spec = json!({"manifests": []});
    assert!(is_kept(&of(forgotten, "data-db-0").await, "data-db-0"));
}
