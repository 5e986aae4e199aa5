use serde_json::json;
use threeport_model::{
    identity::{CONTROL_PLANE, INSTANCE, field_manager},
    kinds::workload_instance::{Health, Revision},
};

use crate::harness::{World, assert_done};

const APP: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: localhost/web:1}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {key: value}
";

/// Create, identity, readiness, change, removed documents, restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_applied_and_a_second_look_writes_nothing() {
    let mut world = World::start(false).await;
    world.define("web", APP);
    world.place("web", json!({}));

    assert_done(&world.run("web").await);
    let status = world.status("web");
    assert_eq!(
        (status.namespace.as_deref(), status.runtime.as_deref()),
        (Some("web"), Some("local"))
    );
    assert_eq!(
        status.revision,
        Some(Revision {
            definition: 1,
            instance: 1
        })
    );
    assert_eq!(world.ready("web").0, "Progressing", "nothing was observed yet");

    // Each object with one call, create-only, and ours from its first write on.
    let creates = world.writes();
    assert_eq!(creates.len(), 4, "{creates:?}");
    assert!(
        creates.iter().all(|write| write.starts_with("patch 201")),
        "{creates:?}"
    );
    assert!(
        creates[0].ends_with("/namespaces/web"),
        "the namespace comes first: {creates:?}"
    );
    let (plane, instance) = (world.plane.to_string(), world.id("web").to_string());
    for kind in ["deployment", "service", "configmap", "namespace"] {
        let live = world.get(kind, "web", "web");
        assert_eq!(live["metadata"]["labels"][CONTROL_PLANE], json!(plane), "{kind}");
        assert_eq!(live["metadata"]["labels"][INSTANCE], json!(instance), "{kind}");
        let managers = live["metadata"]["managedFields"].as_array().unwrap();
        assert!(
            managers
                .iter()
                .all(|entry| entry["manager"] == field_manager(world.plane))
        );
        assert!(managers.iter().all(|entry| entry["operation"] == "Apply"));
    }
    let template = world.get("deployment", "web", "web")["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!(
        template,
        json!({"app": "web"}),
        "nothing of ours in pod templates"
    );

    world.observe("web", Health::Current);
    let report = world.run("web").await;
    assert_done(&report);
    assert_eq!(
        world.ready("web"),
        ("Ready".to_owned(), "4 resources are ready".to_owned())
    );
    assert_eq!(world.status("web").resources.summary, "4/4");
    assert!(report.inventory.is_empty(), "{:?}", report.inventory);

    // Restart: no write, and nothing new to say.
    world.restart().await;
    let before = world.status("web");
    let again = world.run("web").await;
    assert_eq!(world.status("web"), before);
    assert!(again.inventory.is_empty() && again.events.is_empty());
    assert_eq!(world.writes().len(), 4);

    // A failing object is named.
    world.observe("web", Health::Failed);
    world.run("web").await;
    let (reason, message) = world.ready("web");
    assert_eq!(reason, "ResourceFailed");
    let worst = world.status("web").worst;
    assert!(
        worst
            .iter()
            .any(|worst| worst.health == Health::Failed && message.contains(&worst.resource.kind)),
        "{message} {worst:?}"
    );
    world.observe("web", Health::Current);

    // One document changed, one removed, one added: three writes, and not Ready before what is new was seen healthy.
    let changed = APP.replace("web:1", "web:2").replace(
        "kind: ConfigMap\nmetadata: {name: web}",
        "kind: ConfigMap\nmetadata: {name: other}",
    );
    world.define("web", &changed);
    assert_done(&world.run("web").await);
    assert_eq!(world.writes().len(), 7, "{:?}", world.writes());
    assert!(world.get("configmap", "web", "web").is_null());
    assert_eq!(world.get("configmap", "web", "other")["data"]["key"], "value");
    assert_eq!(world.ready("web").0, "Progressing");
    assert_eq!(
        world.status("web").revision,
        Some(Revision {
            definition: 2,
            instance: 1
        })
    );
    world.observe("web", Health::Current);
    world.run("web").await;
    assert_eq!(world.ready("web").0, "Ready");

    // Nobody hears the agent: what runs is not known.
    world.agent_heard = false;
    world.run("web").await;
    assert_eq!(world.ready("web").0, "AgentSilent");

    // Suspended: nothing is written.
    world.agent_heard = true;
    world.define("web", APP);
    world.place("web", json!({"suspend": true}));
    world.run("web").await;
    assert_eq!(world.ready("web").0, "Suspended");
    assert_eq!(world.writes().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_values_are_in_the_cluster_and_nowhere_else() {
    let world = World::start(false).await;
    let placeholder = "threeport.io/secret:0123";
    let secret =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\ndata: {{key: '{placeholder}'}}\n");
    world.define("web", &secret);
    world.place("web", json!({}));
    world.run("web").await;
    assert_eq!(
        world.ready("web").0,
        "Invalid",
        "a value that is not stored is not made up"
    );
    assert!(world.get("secret", "web", "key").is_null());

    world
        .api
        .0
        .lock()
        .unwrap()
        .secrets
        .insert(placeholder.to_owned(), "dmFsdWU=".to_owned());
    let report = world.run("web").await;
    assert_done(&report);
    assert_eq!(world.get("secret", "web", "key")["data"]["key"], "dmFsdWU=");
    assert!(!format!("{report:?}").contains("dmFsdWU="));
}
