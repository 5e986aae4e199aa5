use serde_json::json;
use threeport_model::identity::{CONTROL_PLANE, INSTANCE};

use crate::{harness::World, kinds::WIDGETS};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata: {key: ours}\n";

fn config(name: &str) -> String {
    CONFIG.replace("NAME", name)
}

/// Everything goes that is ours, and nothing else; namespaces and CRDs only where that is safe.
#[tokio::test(flavor = "multi_thread")]
async fn removal_takes_what_is_ours_and_leaves_what_is_not() {
    let world = World::start(true).await;

    // The positive control: an instance with a namespace of its own goes without a trace.
    world.define("alone", &config("config"));
    world.place("alone", json!({}));
    world.settle("alone").await;
    world.delete("alone");
    world.run_until_finalized("alone").await;
    assert!(world.get("namespace", "", "alone").is_null());

    // Something foreign lives in it: the namespace stays, without our identity, and it is said.
    world.place("guest", json!({"definition": "alone"}));
    world.settle("guest").await;
    world.kubectl(&["create", "configmap", "foreign", "-n", "guest"]);
    world.delete("guest");
    let report = world.run("guest").await;
    assert!(!world.is_finalized("guest"), "said first");
    let (_, message) = world.ready("guest");
    assert!(
        message.contains("kept Namespace guest: ConfigMap foreign"),
        "{message}"
    );
    assert!(
        report
            .events
            .iter()
            .any(|event| event.reason == "Kept" && event.message.contains("foreign"))
    );
    world.run_until_finalized("guest").await;
    assert_eq!(
        world.ready("guest").1,
        message,
        "a tombstone keeps its last status"
    );
    let namespace = world.get("namespace", "", "guest");
    assert!(
        namespace["metadata"]["labels"].get(CONTROL_PLANE).is_none(),
        "{namespace}"
    );
    assert!(world.get("configmap", "guest", "config").is_null());
    assert!(!world.get("configmap", "guest", "foreign").is_null());

    // A second instance lives in it: the last one that leaves takes the namespace along.
    world.define("other", &config("other"));
    world.place("host", json!({"definition": "alone"}));
    world.settle("host").await;
    world.place("lodger", json!({"definition": "other", "namespace": "host"}));
    world.settle("lodger").await;
    world.delete("host");
    world.run_until_finalized("host").await;
    assert!(!world.get("configmap", "host", "other").is_null());
    assert!(
        world.get("namespace", "", "host")["metadata"]["labels"]
            .get(INSTANCE)
            .is_none()
    );
    world.delete("lodger");
    world.run_until_finalized("lodger").await;
    wait_until_gone(&world, "host").await;

    // Somebody took our labels off: it is not ours any more, and stays.
    world.place("taken", json!({"definition": "alone"}));
    world.settle("taken").await;
    let label = format!("{CONTROL_PLANE}-");
    world.kubectl(&["label", "configmap", "config", "-n", "taken", &label]);
    for row in &mut world.api.0.lock().unwrap().rows {
        row.observed = threeport_model::protocol::inventory::Observed::default();
    }
    world.delete("taken");
    world.run_until_finalized("taken").await;
    assert!(!world.get("configmap", "taken", "config").is_null());
}

async fn wait_until_gone(world: &World, namespace: &str) {
    for _ in 0..100 {
        if world.get("namespace", "", namespace).is_null() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("namespace {namespace} is still there");
}

/// Custom resources first and waited for; their CRD only if nobody else uses it.
#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_go_before_what_serves_them() {
    let world = World::start(true).await;
    world.define("widgets", WIDGETS);
    world.place("widgets", json!({}));
    world.settle("widgets").await;
    let finalizer = r#"{"metadata":{"finalizers":["example.org/hold"]}}"#;
    world.kubectl(&[
        "patch",
        "widget",
        "first",
        "-n",
        "widgets",
        "--type=merge",
        "-p",
        finalizer,
    ]);
    world.delete("widgets");
    let report = world.run("widgets").await;
    assert!(!report.finalize);
    assert!(
        !world.get("crd", "", "widgets.example.org").is_null(),
        "not before its objects are gone"
    );
    let (reason, message) = world.ready("widgets");
    assert_eq!(reason, "Deleting");
    assert!(
        message.contains("Widget widgets/first: example.org/hold"),
        "{message}"
    );

    world.kubectl(&["create", "namespace", "theirs"]);
    let theirs = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: theirs, namespace: theirs}\n";
    world.tool().apply(theirs).unwrap();
    let release = r#"{"metadata":{"finalizers":null}}"#;
    world.kubectl(&[
        "patch",
        "widget",
        "first",
        "-n",
        "widgets",
        "--type=merge",
        "-p",
        release,
    ]);
    world.run_until_finalized("widgets").await;
    assert!(
        !world.get("crd", "", "widgets.example.org").is_null(),
        "somebody else uses it"
    );
    assert!(!world.get("widgets.example.org", "theirs", "theirs").is_null());
    assert!(world.get("namespace", "", "widgets").is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_stay_without_our_identity() {
    let world = World::start(false).await;
    world.define("web", &config("config"));
    world.place("web", json!({"deletionPolicy": "Orphan"}));
    world.settle("web").await;
    let uid = world.get("configmap", "web", "config")["metadata"]["uid"].clone();
    world.delete("web");
    world.run("web").await;
    assert!(world.is_finalized("web"));
    let live = world.get("configmap", "web", "config");
    assert_eq!(
        (&live["metadata"]["uid"], &live["data"]["key"]),
        (&uid, &json!("ours"))
    );
    let text = live.to_string();
    assert!(!text.contains("threeport"), "{text}");
}

/// An agent saw ours; what is there now is another object of that name.
#[tokio::test(flavor = "multi_thread")]
async fn what_took_the_place_of_an_object_is_not_deleted() {
    let world = World::start(false).await;
    world.define("web", &config("config"));
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
    let theirs = world.get("configmap", "web", "config");
    world.delete("web");
    let report = world.run("web").await;
    assert_eq!(world.get("configmap", "web", "config"), theirs);
    assert!(
        report.events.iter().any(|event| event.reason == "Kept"),
        "{:?}",
        report.events
    );
}
