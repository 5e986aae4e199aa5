use serde_json::{Value, json};
use threeport_engine::Outcome;
use threeport_model::{
    condition,
    identity::{INSTANCE, field_manager, labels},
};

use crate::harness::World;

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: ours}\n";

/// A create of a replica that was paused comes after its instance is gone: what an agent finds then goes, by the uid that
/// was found, and nothing else does: no copy, nothing that a backup tool restored, no other control plane's, no other
/// instance's that somebody labelled, nothing that took its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_create_goes_and_what_resembles_it_stays() {
    let world = World::start(false).await;
    world.kubectl(&["create", "namespace", "shared"]);
    world.define("web", CONFIG);
    world.place("web", json!({"namespace": "shared"}));
    world.settle("web").await;
    world.delete("web");
    world.run_until_finalized("web").await;
    assert!(world.get("configmap", "shared", "config").is_null());

    let us = field_manager(world.plane);
    let ours = json!(labels(world.plane, world.id("web"), "web"));
    let another = json!(labels(uuid::Uuid::from_u128(0xc1), world.id("web"), "web"));
    for (name, labels, manager) in [
        ("late", &ours, us.as_str()),
        ("copy", &ours, "kubectl-copy"),
        ("other-plane", &another, us.as_str()),
        ("replaced", &ours, us.as_str()),
    ] {
        apply(&world, name, labels, manager);
        world.find("web", "configmaps", "ConfigMap", "shared", name);
    }
    restore(&world, "restored", &ours, &us);
    world.find("web", "configmaps", "ConfigMap", "shared", "restored");
    let anothers = json!(labels(world.plane, uuid::Uuid::from_u128(2), "api"));
    apply(&world, "relabelled", &anothers, &us);
    let label = format!("{INSTANCE}={}", world.id("web"));
    world.kubectl(&[
        "label",
        "configmap",
        "relabelled",
        "-n",
        "shared",
        "--overwrite",
        &label,
    ]);
    world.find("web", "configmaps", "ConfigMap", "shared", "relabelled");
    world.kubectl(&["delete", "configmap", "replaced", "-n", "shared"]);
    apply(&world, "replaced", &ours, &us);

    let report = world.run("web").await;
    assert!(world.get("configmap", "shared", "late").is_null());
    for name in ["copy", "restored", "relabelled", "other-plane", "replaced"] {
        assert!(!world.get("configmap", "shared", name).is_null(), "{name}");
    }
    assert!(
        report.status.is_none() && !report.finalize,
        "a tombstone has no status"
    );
    let said = |reason: &str, name: &str| {
        let mut events = report.events.iter();
        events.any(|event| event.reason == reason && event.message.contains(name))
    };
    assert!(said("LeftoverRemoved", "shared/late"), "{:?}", report.events);
    for name in ["copy", "restored", "relabelled", "other-plane"] {
        let name = format!("shared/{name}:");
        assert!(said("Kept", &name), "{name} {:?}", report.events);
    }
    assert!(
        matches!(&report.outcome, Outcome::WaitFor(what) if what.contains("replaced")),
        "{report:?}"
    );
    assert_eq!(world.rows("web").len(), 1);

    // Once the agent saw what took its place, that goes too, and the tombstone has no work left.
    world.observe("web", threeport_model::kinds::workload_instance::Health::Current);
    let report = world.run("web").await;
    assert_eq!(report.outcome, Outcome::Done);
    assert!(world.get("configmap", "shared", "replaced").is_null());
    assert!(world.rows("web").is_empty());
    let deletions = world.deletions();
    assert_eq!(
        deletions.len(),
        3,
        "the instance's own, and two that came late: {deletions:?}"
    );
}

/// The database was restored from a backup that was made before the instance was given more.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_has_no_record_of_stays_until_it_is_wanted_or_its_instance_goes() {
    let world = World::start(false).await;
    world.kubectl(&["create", "namespace", "shared"]);
    world.define("web", CONFIG);
    world.place("web", json!({"namespace": "shared"}));
    world.settle("web").await;
    let us = field_manager(world.plane);
    let ours = json!(labels(world.plane, world.id("web"), "web"));
    for name in ["wanted", "other", "late"] {
        apply(&world, name, &ours, &us);
    }
    for name in ["wanted", "other"] {
        world.find("web", "configmaps", "ConfigMap", "shared", name);
        world.is_unrecorded();
    }
    world.find("web", "configmaps", "ConfigMap", "shared", "late");
    let uid = |name: &str| world.get("configmap", "shared", name)["metadata"]["uid"].clone();
    let before = [uid("wanted"), uid("other")];

    world.run("web").await;
    assert!(uid("late").is_null());
    assert_eq!([uid("wanted"), uid("other")], before);
    let status = world.status("web");
    let said = condition::find(&status.conditions, condition::UNRECORDED).unwrap();
    for name in ["shared/wanted", "shared/other"] {
        assert!(said.message.contains(name), "{}", said.message);
    }

    world.define(
        "web",
        &format!("{CONFIG}---\n{}", CONFIG.replace("name: config", "name: wanted")),
    );
    world.run("web").await;
    assert_eq!([uid("wanted"), uid("other")], before);
    let wanted = world.get("configmap", "shared", "wanted");
    assert_eq!(wanted["data"]["key"], "ours", "{wanted}");
    let status = world.status("web");
    let said = condition::find(&status.conditions, condition::UNRECORDED).unwrap();
    assert!(!said.message.contains("shared/wanted"), "{}", said.message);
    assert_eq!(world.deletions().len(), 1, "{:?}", world.deletions());

    world.delete("web");
    world.run_until_finalized("web").await;
    assert!(uid("other").is_null() && uid("wanted").is_null());
}

fn apply(world: &World, name: &str, labels: &Value, manager: &str) {
    let manager = format!("--field-manager={manager}");
    with_file(world, name, labels, &["apply", "--server-side", &manager]);
}

/// As Velero does: a create, which owns all fields, and then the managers that the object had when it was backed up.
fn restore(world: &World, name: &str, labels: &Value, manager: &str) {
    with_file(world, name, labels, &["create"]);
    let labels = labels.as_object().unwrap();
    let owned: serde_json::Map<_, _> = labels.keys().map(|key| (format!("f:{key}"), json!({}))).collect();
    let fields = json!({"f:metadata": {"f:labels": owned}, "f:data": {"f:key": {}}});
    let entry = json!({"manager": manager, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": fields, "time": "2020-01-01T00:00:00Z"});
    let patch = json!({"metadata": {"managedFields": [entry]}}).to_string();
    world.kubectl(&[
        "patch",
        "configmap",
        name,
        "-n",
        "shared",
        "--type=merge",
        "-p",
        &patch,
    ]);
    let live = world.get("configmap", "shared", name);
    let found = &live["metadata"]["managedFields"][0];
    assert_eq!(found["manager"], manager, "{live}");
    assert_eq!(found["time"], "2020-01-01T00:00:00Z", "{live}");
}

fn with_file(world: &World, name: &str, labels: &Value, arguments: &[&str]) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "late"},
        "metadata": {"name": name, "namespace": "shared", "labels": labels}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), object.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    let arguments: Vec<&str> = arguments.iter().copied().chain(["-f", path]).collect();
    world.kubectl(&arguments);
}
