use serde_json::json;
use threeport_model::{identity::field_manager, kinds::workload_instance::Health};

use crate::harness::{World, assert_done};

fn document(value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: config}}\ndata: {{key: {value}}}\n")
}

/// A replica that was paused applies an older revision after its successor applied a newer one: it owns the same fields of
/// the same object, and yet it is seen, and undone. It is no fight with anybody.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_apply_of_an_older_revision_is_seen_and_undone() {
    let world = World::start(false).await;
    world.define("web", &document("old"));
    world.place("web", json!({}));
    world.settle("web").await;
    let mut late = world.get("configmap", "web", "config");
    for field in ["managedFields", "uid", "resourceVersion", "creationTimestamp"] {
        late["metadata"].as_object_mut().unwrap().remove(field);
    }
    world.define("web", &document("new"));
    world.settle("web").await;
    assert_eq!(world.ready("web").0, "Ready");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), late.to_string()).unwrap();
    let manager = format!("--field-manager={}", field_manager(world.plane));
    let path = file.path().to_str().unwrap();
    world.kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        &manager,
        "-f",
        path,
    ]);
    assert_eq!(
        world.get("configmap", "web", "config")["data"]["key"],
        "old",
        "the positive control: it was overwritten"
    );
    world.observe("web", Health::Current);
    let report = world.run("web").await;
    assert_done(&report);
    assert_eq!(world.get("configmap", "web", "config")["data"]["key"], "new");
    assert!(report.events.iter().all(|event| event.reason != "Healed"));
    let rows = world.rows("web");
    assert!(rows.iter().all(|row| row.healed_at.is_empty()));
    world.observe("web", Health::Current);
    world.run("web").await;
    assert_eq!(world.ready("web").0, "Ready");
}

/// A write says which version it is of, and the cluster refuses it where that is not the newest: then it is looked at again.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_over_a_version_that_nobody_saw_is_made_after_a_look() {
    let world = World::start(false).await;
    world.define("web", &document("old"));
    world.place("web", json!({}));
    world.settle("web").await;
    // Somebody changes what is not ours, and no agent has told of it yet.
    world.kubectl(&["annotate", "configmap", "config", "-n", "web", "note=theirs"]);
    let before = world.writes().len();
    world.define("web", &document("new"));
    assert_done(&world.run("web").await);
    let live = world.get("configmap", "web", "config");
    assert_eq!(
        (&live["data"]["key"], &live["metadata"]["annotations"]["note"]),
        (&json!("new"), &json!("theirs"))
    );
    let path = "/api/v1/namespaces/web/configmaps/config";
    let writes = world.writes().split_off(before);
    assert_eq!(writes, [format!("patch 409 {path}"), format!("patch 200 {path}")]);
}

/// An object of that name that took the place of ours is told from a newer version of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_over_another_object_of_that_name_is_a_conflict() {
    let world = World::start(false).await;
    world.define("web", &document("old"));
    world.place("web", json!({}));
    world.settle("web").await;
    world.kubectl(&["delete", "configmap", "config", "-n", "web"]);
    world.kubectl(&[
        "create",
        "configmap",
        "config",
        "-n",
        "web",
        "--from-literal=key=theirs",
    ]);
    world.define("web", &document("new"));
    world.run("web").await;
    assert_eq!(world.get("configmap", "web", "config")["data"]["key"], "theirs");
    assert_eq!(world.ready("web").0, "Conflict");
    world.kubectl(&["delete", "configmap", "config", "-n", "web"]);
    assert_done(&world.run("web").await);
    assert_eq!(world.get("configmap", "web", "config")["data"]["key"], "new");
}
