use serde_json::json;
use threeport_engine::Outcome;
use threeport_model::identity::{field_manager, labels};

use crate::harness::World;

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: ours}\n";

/// A create of a replica that was paused comes after its instance is gone: what an agent finds then goes, by the uid that
/// was found, and nothing else does: no copy, no other control plane's, nothing that took its place.
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
    world.kubectl(&["delete", "configmap", "replaced", "-n", "shared"]);
    apply(&world, "replaced", &ours, &us);

    let report = world.run("web").await;
    assert!(world.get("configmap", "shared", "late").is_null());
    for name in ["copy", "other-plane", "replaced"] {
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
    assert!(
        said("Kept", "shared/copy") && said("Kept", "shared/other-plane"),
        "{:?}",
        report.events
    );
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

fn apply(world: &World, name: &str, labels: &serde_json::Value, manager: &str) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "late"},
        "metadata": {"name": name, "namespace": "shared", "labels": labels}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), object.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    let manager = format!("--field-manager={manager}");
    world.kubectl(&["apply", "--server-side", &manager, "-f", path]);
}
