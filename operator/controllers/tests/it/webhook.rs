use serde_json::json;
use threeport_engine::Outcome;
use threeport_model::kinds::workload_instance::Health;

use crate::harness::{World, assert_done};

const APP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: ours}\n---\n\
    apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n";

/// Nobody answers for it: its Service is not there.
const CONFIGURATION: &str = r#"{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "down"}, "webhooks": [{"name": "down.example.org", "failurePolicy": "Fail", "sideEffects": "None",
    "admissionReviewVersions": ["v1"], "clientConfig": {"service": {"namespace": "default", "name": "nobody"}},
    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]}]}"#;

/// What a webhook that is down must agree to is tried again, and named. What comes after it in its set waits for it, and
/// nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_down_is_named_and_holds_up_only_what_needs_it() {
    let world = World::start(false).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), CONFIGURATION).unwrap();
    let path = file.path().to_str().unwrap();
    world.kubectl(&["create", "namespace", "shop"]);
    world.kubectl(&["apply", "-f", path]);
    world.define("web", APP);
    world.place("web", json!({"namespace": "shop"}));
    // The API server hears of a configuration a moment after it took it.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let report = loop {
        let create = ["create", "configmap", "probe", "-n", "shop", "--dry-run=server"];
        if world.tool().run(&create).is_err() {
            break world.run("web").await;
        }
        assert!(std::time::Instant::now() < deadline, "the webhook is not asked");
    };
    assert!(
        matches!(report.outcome, Outcome::WaitFor(_)),
        "{:?}",
        report.outcome
    );
    let (reason, message) = world.ready("web");
    assert_eq!(reason, "Progressing");
    assert!(
        message.contains("down.example.org") && message.contains("ConfigMap shop/config"),
        "{message}"
    );
    for waiting in [("configmap", "config"), ("service", "web")] {
        assert!(world.get(waiting.0, "shop", waiting.1).is_null(), "{waiting:?}");
    }
    world.define(
        "other",
        &APP.replace("name: web", "name: other")[APP.find("---").unwrap() + 4..],
    );
    world.place("other", json!({"namespace": "shop"}));
    assert_done(&world.run("other").await);
    assert!(!world.get("service", "shop", "other").is_null());

    world.kubectl(&["delete", "validatingwebhookconfiguration", "down"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while world.get("service", "shop", "web").is_null() {
        world.run("web").await;
        assert!(std::time::Instant::now() < deadline, "{:?}", world.ready("web"));
    }
    world.observe("web", Health::Current);
    assert_done(&world.run("web").await);
    assert_eq!(world.ready("web").0, "Ready");
}
