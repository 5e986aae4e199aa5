use serde_json::json;
use threeport_engine::Outcome;
use threeport_model::{identity::INSTANCE, kinds::workload_instance::Health};

use crate::harness::{World, assert_done};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: ours}\n";

/// What is not ours is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_objects_stand_as_they_are() {
    let mut world = World::start(false).await;
    world.define("web", CONFIG);

    // A namespace that was there: Conflict, unless it is named.
    world.kubectl(&["create", "namespace", "web"]);
    let foreign = world.get("namespace", "", "web");
    world.place("web", json!({}));
    let report = world.run("web").await;
    assert!(
        matches!(report.outcome, Outcome::Stalled { retried: true, .. }),
        "{:?}",
        report.outcome
    );
    let (reason, message) = world.stalled("web");
    assert_eq!(reason, "Conflict");
    assert!(
        message.contains("Namespace web") && message.contains("kubectl-create"),
        "{message}"
    );
    assert_eq!(world.get("namespace", "", "web"), foreign);
    assert!(
        world.get("configmap", "web", "config").is_null(),
        "nothing is made in somebody else's namespace"
    );

    world.place("named", json!({"definition": "web", "namespace": "web"}));
    assert_done(&world.run("named").await);
    assert_eq!(
        world.get("namespace", "", "web"),
        foreign,
        "named is used, not owned"
    );
    assert_eq!(world.get("configmap", "web", "config")["data"]["key"], "ours");
    assert_eq!(world.rows("named").len(), 1);

    // A second instance that wants the same object.
    world.place("second", json!({"definition": "web", "namespace": "web"}));
    let report = world.run("second").await;
    assert!(matches!(report.outcome, Outcome::Stalled { retried: true, .. }));
    let (reason, message) = world.stalled("second");
    assert_eq!(reason, "OwnedBy");
    assert!(message.contains("WorkloadInstance/named"), "{message}");
    assert!(world.rows("second").is_empty());

    // Nor is it handed over by its label: whose it is, intent says.
    let instance = |name: &str| format!("{INSTANCE}={}", world.id(name));
    world.kubectl(&[
        "label",
        "configmap",
        "config",
        "-n",
        "web",
        "--overwrite",
        &instance("second"),
    ]);
    world.find("second", "configmaps", "ConfigMap", "web", "config");
    let labelled = world.get("configmap", "web", "config");
    world.run("second").await;
    assert_eq!(world.stalled("second").0, "OwnedBy");
    assert_eq!(world.get("configmap", "web", "config"), labelled);
    world.observe("named", Health::Current);
    assert_done(&world.run("named").await);
    let label = format!("--selector={}", instance("named"));
    let healed = world.kubectl(&["get", "configmap", "-n", "web", "--output=name", &label]);
    assert_eq!(healed.trim(), "configmap/config");

    // A foreign object of that name.
    world.kubectl(&["create", "namespace", "shop"]);
    world.kubectl(&[
        "create",
        "configmap",
        "config",
        "-n",
        "shop",
        "--from-literal=key=theirs",
    ]);
    let theirs = world.get("configmap", "shop", "config");
    world.place("shop", json!({"definition": "web", "namespace": "shop"}));
    world.run("shop").await;
    let (reason, message) = world.ready("shop");
    assert_eq!(reason, "Conflict");
    assert!(
        message.contains("ConfigMap shop/config") && message.contains("spec.adopt"),
        "{message}"
    );
    assert_eq!(world.get("configmap", "shop", "config"), theirs);

    // Adoption is not forced: values that others own with another content are named, not overwritten.
    world.place(
        "shop",
        json!({"definition": "web", "namespace": "shop", "adopt": true}),
    );
    world.run("shop").await;
    let (reason, message) = world.ready("shop");
    assert_eq!(reason, "Conflict");
    assert!(message.contains(".data.key of kubectl-create"), "{message}");
    assert_eq!(world.get("configmap", "shop", "config"), theirs);
    world.kubectl(&["delete", "configmap", "config", "-n", "shop"]);
    world.kubectl(&[
        "create",
        "configmap",
        "config",
        "-n",
        "shop",
        "--from-literal=key=ours",
    ]);
    let uid = world.get("configmap", "shop", "config")["metadata"]["uid"].clone();
    assert_done(&world.run("shop").await);
    assert_eq!(world.get("configmap", "shop", "config")["metadata"]["uid"], uid);
    world.observe("shop", Health::Current);
    world.run("shop").await;
    assert_eq!(world.ready("shop").0, "Ready");

    // Another control plane with the same workload name in the same cluster.
    world.define("app", CONFIG);
    world.place("app", json!({}));
    assert_done(&world.run("app").await);
    let first = world.get("configmap", "app", "config");
    world.become_another("second").await;
    world.define("app", CONFIG);
    world.place("app", json!({}));
    assert_done(&world.run("app").await);
    assert_eq!(world.status("app").namespace.as_deref(), Some("second-app"));
    assert_eq!(world.get("configmap", "app", "config"), first);
    assert_eq!(
        world.get("configmap", "second-app", "config")["data"]["key"],
        "ours"
    );
}

/// An answer that was lost: the object is there and ours, though the inventory has no uid of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_answer_was_lost_is_taken_up() {
    let world = World::start(false).await;
    world.define("web", CONFIG);
    world.place("web", json!({}));
    world.settle("web").await;
    let before = world.get("configmap", "web", "config");
    for row in &mut world.api.0.lock().unwrap().rows {
        row.uid = None;
        row.plan_hash = None;
    }
    assert_done(&world.run("web").await);
    assert_eq!(
        world.get("configmap", "web", "config"),
        before,
        "an equal apply changes nothing"
    );
    assert!(world.rows("web").iter().all(|row| row.uid.is_some()));
}

/// What the cluster refuses is told as it is.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_reasons() {
    let world = World::start(false).await;
    world.define(
        "bad",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 99999}]}\n",
    );
    world.place("bad", json!({}));
    let report = world.run("bad").await;
    assert!(
        matches!(report.outcome, Outcome::Stalled { retried: false, .. }),
        "{:?}",
        report.outcome
    );
    let (reason, message) = world.stalled("bad");
    assert_eq!(reason, "Invalid");
    assert!(
        message.contains("Service bad/web") && message.contains("spec.ports[0].port"),
        "{message}"
    );

    world.define(
        "typo",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatta: {a: b}\n",
    );
    world.place("typo", json!({}));
    world.run("typo").await;
    assert!(
        world.ready("typo").1.contains("datta"),
        "{:?}",
        world.ready("typo")
    );

    // An API server answers that with 500, as if it had failed itself.
    world.define(
        "number",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {level: 1}\n",
    );
    world.place("number", json!({}));
    let report = world.run("number").await;
    assert!(
        matches!(report.outcome, Outcome::Stalled { retried: false, .. }),
        "{:?}",
        report.outcome
    );
    let (reason, message) = world.stalled("number");
    assert_eq!(reason, "Invalid");
    assert!(message.contains(".data.level"), "{message}");

    world.define(
        "kind",
        "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: a}\n",
    );
    world.place("kind", json!({}));
    let report = world.run("kind").await;
    assert!(matches!(report.outcome, Outcome::Stalled { retried: true, .. }));
    assert_eq!(world.ready("kind").0, "KindNotFound");

    world.place(
        "early",
        json!({"definition": "kind", "dependsOn": [{"kind": "WorkloadInstance", "name": "kind"}]}),
    );
    let report = world.run("early").await;
    assert!(matches!(report.outcome, Outcome::WaitFor(_)));
    assert_eq!(world.ready("early").0, "WaitingForDependency");
    assert_eq!(world.status("early").blocked_on[0].on, "WorkloadInstance/kind");
}
