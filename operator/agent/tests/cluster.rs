//! The agent against a real API server (without nodes), and an API that only takes notes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod api;

use std::{sync::Arc, time::Duration};

use api::{Api, kind};
use kube::config::{KubeConfigOptions, Kubeconfig};
use threeport_agent::{metrics::Metrics, session::Agent};
use threeport_model::{identity, kinds::workload_instance::Health, protocol::agent::Observation};
use threeport_testbed::{ControlPlane, ControlPlaneOptions, process, wait};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const CONTROL_PLANE: Uuid = Uuid::from_u128(0xc0);
const INSTANCE: Uuid = Uuid::from_u128(0x1);

struct Setup {
    cluster: ControlPlane,
    api: Arc<Api>,
    shutdown: CancellationToken,
    agent: JoinHandle<()>,
}

impl Setup {
    async fn new(controllers: bool, kinds: &[(&str, &str, &str)], before: &str) -> Self {
        threeport_telemetry::init();
        let options = ControlPlaneOptions {
            controller_manager: controllers,
            ..Default::default()
        };
        let cluster = tokio::task::spawn_blocking(move || ControlPlane::start(&options))
            .await
            .unwrap()
            .unwrap();
        cluster.kubectl().unwrap().apply(before).unwrap();
        let api = Arc::new(Api::new(CONTROL_PLANE, kinds));
        let shutdown = CancellationToken::new();
        let agent = Agent {
            api: Arc::clone(&api) as _,
            client: client(&cluster).await,
            runtime: None,
            version: "test".to_owned(),
            metrics: Metrics::default(),
        };
        let stop = shutdown.clone();
        let agent = tokio::spawn(async move { agent.run(stop).await });
        Self {
            cluster,
            api,
            shutdown,
            agent,
        }
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl().unwrap().run(arguments).unwrap()
    }

    fn apply(&self, yaml: &str) {
        self.cluster.kubectl().unwrap().apply(yaml).unwrap();
    }

    /// Waits until the last word on an object is such.
    async fn until(&self, name: &str, what: &str, holds: impl Fn(&Observation) -> bool) -> Observation {
        let found = || self.api.last(name).filter(&holds);
        self.api.wait(&format!("{name}: {what}"), found).await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.agent)
            .await
            .unwrap()
            .unwrap();
    }
}

async fn client(cluster: &ControlPlane) -> kube::Client {
    let file = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .unwrap();
    kube::Client::try_from(config).unwrap()
}

fn labels() -> String {
    format!(
        "{{{}: \"{CONTROL_PLANE}\", {}: \"{INSTANCE}\"}}",
        identity::CONTROL_PLANE,
        identity::INSTANCE
    )
}

fn config_map(name: &str) -> String {
    let labels = labels();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default, labels: {labels}}}\n---\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ours_is_reported_and_what_is_not_is_never_mentioned() {
    let foreign = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: foreign, namespace: default}\n---\n";
    let before = format!("{}{foreign}", config_map("ours"));
    let setup = Setup::new(false, &[("", "v1", "ConfigMap")], &before).await;
    let ours = setup
        .until("ours", "Current", |it| it.health == Health::Current)
        .await;
    assert_eq!(ours.instance_id, INSTANCE);
    assert_eq!(ours.other_managers, ["testbed"]);
    setup
        .api
        .wait("the list is closed", || {
            setup.api.closed(&kind("", "v1", "ConfigMap")).then_some(())
        })
        .await;

    setup.apply(&config_map("later"));
    setup
        .until("later", "Current", |it| it.health == Health::Current)
        .await;
    setup.kubectl(&["label", "configmap", "later", "changed=yes"]);
    let version = setup.kubectl(&[
        "get",
        "configmap",
        "later",
        "-o",
        "jsonpath={.metadata.resourceVersion}",
    ]);
    setup
        .until("later", "the newest version", |it| it.resource_version == version)
        .await;
    setup.kubectl(&["delete", "configmap", "later"]);
    setup
        .until("later", "Missing", |it| it.health == Health::Missing)
        .await;
    assert_eq!(setup.api.last("foreign"), None);

    // A kind that is asked for later is watched by the next heartbeat.
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: key, namespace: default, labels: {}}}\nstringData: {{a: b}}\n",
        labels()
    );
    setup.apply(&secret);
    setup
        .api
        .set_kinds(&[("", "v1", "ConfigMap"), ("", "v1", "Secret")]);
    setup
        .until("key", "Current", |it| it.health == Health::Current)
        .await;
    assert!(setup.api.heartbeats() > 0);
    let log = process::whole_lines(&setup.cluster.audit_log()).unwrap();
    setup.stop().await;

    // The API server saw it read, and nothing else.
    let requests: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let agents = |request: &&serde_json::Value| {
        !request["userAgent"]
            .as_str()
            .unwrap_or_default()
            .starts_with("kubectl")
            && request["user"]["username"] == "testbed-admin"
    };
    let verbs: Vec<_> = requests
        .iter()
        .filter(agents)
        .filter_map(|request| request["verb"].as_str())
        .collect();
    assert!(verbs.contains(&"list") && verbs.contains(&"watch"), "{verbs:?}");
    assert!(
        verbs.iter().all(|verb| ["get", "list", "watch"].contains(verb)),
        "{verbs:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_loses_its_instance_s_label_is_missing_until_it_is_back() {
    let setup = Setup::new(false, &[("", "v1", "ConfigMap")], &config_map("ours")).await;
    let ours = setup
        .until("ours", "Current", |it| it.health == Health::Current)
        .await;
    let off = format!("{}-", identity::INSTANCE);
    setup.kubectl(&["label", "configmap", "ours", &off]);
    let lost = setup
        .until("ours", "Missing", |it| it.health == Health::Missing)
        .await;
    assert_eq!((&lost.uid, lost.instance_id), (&ours.uid, INSTANCE));
    assert!(lost.message.contains(identity::INSTANCE), "{}", lost.message);

    let on = format!("{}={INSTANCE}", identity::INSTANCE);
    setup.kubectl(&["label", "configmap", "ours", &on]);
    setup
        .until("ours", "Current again", |it| it.health == Health::Current)
        .await;

    // It becomes another instance's.
    let other = Uuid::from_u128(0x2);
    let to_other = format!("{}={other}", identity::INSTANCE);
    setup.kubectl(&["label", "--overwrite", "configmap", "ours", &to_other]);
    setup
        .until("ours", "the other's", |it| it.instance_id == other)
        .await;
    assert_eq!(
        setup.api.last_of("ours", INSTANCE).map(|it| it.health),
        Some(Health::Missing),
        "the one that had it was told"
    );

    // What becomes of nobody's is not told.
    setup.kubectl(&["label", "configmap", "ours", &off]);
    let lost = setup
        .until("ours", "Missing", |it| it.health == Health::Missing)
        .await;
    setup.kubectl(&["delete", "configmap", "ours"]);
    setup.apply(&config_map("later"));
    setup
        .until("later", "Current", |it| it.health == Health::Current)
        .await;
    assert_eq!(setup.api.last("ours"), Some(lost));
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_comes_with_its_definition_is_unlistable_until_then() {
    let setup = Setup::new(
        false,
        &[("example.org", "v1", "Widget")],
        &config_map("unwatched"),
    )
    .await;
    let widgets = kind("example.org", "v1", "Widget");
    let message = setup
        .api
        .wait("Widgets are unlistable", || setup.api.unlistable(&widgets))
        .await;
    assert!(
        message.contains("does not serve Widget of example.org/v1"),
        "{message}"
    );
    assert!(!setup.api.closed(&widgets));
    let definition = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  names: {kind: Widget, plural: widgets}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";
    setup.apply(definition);
    setup.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/widgets.example.org",
        "--timeout=30s",
    ]);
    setup
        .api
        .wait("the list of Widgets is closed", || {
            setup.api.closed(&widgets).then_some(())
        })
        .await;
    let labels = labels();
    setup.apply(&format!(
        "apiVersion: example.org/v1\nkind: Widget\nmetadata: {{name: w, namespace: default, labels: {labels}}}\n"
    ));
    setup
        .until("w", "Current", |it| it.health == Health::Current)
        .await;
    let status =
        r#"{"status":{"conditions":[{"type":"Ready","status":"False","reason":"Broken","message":"gear"}]}}"#;
    setup.kubectl(&[
        "patch",
        "widget",
        "w",
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    ]);
    let broken = setup
        .until("w", "InProgress", |it| it.health == Health::InProgress)
        .await;
    assert_eq!(broken.message, "Broken: gear");

    // Another instance has them in a version that is not served: they are the same.
    setup.api.set_kinds(&[("example.org", "v1beta1", "Widget")]);
    let same = kind("example.org", "v1beta1", "Widget");
    setup
        .api
        .wait("the list of Widgets is closed again", || {
            setup.api.closed(&same).then_some(())
        })
        .await;
    assert_eq!(setup.api.unlistable(&same), None);
    assert_eq!(setup.api.last("w").unwrap().version, "v1beta1");
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_image_is_the_deployment_s_reason() {
    let deployment = format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: default, labels: {}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: 'r.example/web:9'}}]}}
",
        labels()
    );
    let setup = Setup::new(true, &[("apps", "v1", "Deployment")], &deployment).await;
    setup
        .until("web", "InProgress", |it| {
            it.health == Health::InProgress && it.message.contains("0/1")
        })
        .await;
    // The Deployment speaks of its pod before that is made.
    let name = "jsonpath={.items[*].metadata.name}";
    let pod = wait::until("find the pod", Duration::from_secs(30), || {
        let kubectl = setup.cluster.kubectl()?;
        let found = kubectl.run(&["get", "pods", "-l", "app=web", "-o", name])?;
        anyhow::ensure!(!found.is_empty(), "there is none");
        Ok(found)
    })
    .unwrap();
    let set_status = |state: &str, image_id: &str, ready: bool| {
        let status = format!(
            r#"{{"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"{}"}}],"containerStatuses":[{{
                "name":"web","image":"r.example/web:9","imageID":"{image_id}","ready":{ready},"restartCount":0,
                "state":{state}}}]}}}}"#,
            if ready { "True" } else { "False" },
        );
        setup.kubectl(&[
            "patch",
            "pod",
            &pod,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ]);
    };
    // No kubelet runs here: the test says what one would.
    set_status(
        r#"{"waiting":{"reason":"ImagePullBackOff","message":"Back-off: ErrImagePull: not found"}}"#,
        "",
        false,
    );
    let failed = setup
        .until("web", "Failed", |it| it.health == Health::Failed)
        .await;
    let expected = format!("pod {pod}: container web: ImagePullBackOff: image r.example/web:9: not found");
    assert_eq!(failed.message, expected);

    set_status(r#"{"running":{}}"#, "sha256:1", true);
    let well = setup
        .until("web", "Current", |it| it.health == Health::Current)
        .await;
    assert_eq!(
        (well.images.len(), well.images[0].image_id.as_str()),
        (1, "sha256:1")
    );
    assert_eq!(well.images[0].reference, "9");
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_epoch_begins_with_a_whole_snapshot_and_what_went_meanwhile_is_not_in_it() {
    let maps = kind("", "v1", "ConfigMap");
    let before = format!("{}{}", config_map("stays"), config_map("goes"));
    let setup = Setup::new(false, &[("", "v1", "ConfigMap")], &before).await;
    setup
        .until("goes", "Current", |it| it.health == Health::Current)
        .await;
    setup
        .api
        .wait("the list is closed", || setup.api.closed(&maps).then_some(()))
        .await;
    // The API takes nothing while the object goes, and then asks for a new epoch.
    setup.api.set_available(false);
    setup.kubectl(&["delete", "configmap", "goes"]);
    setup.api.begin_epoch();
    setup.api.set_available(true);
    setup
        .api
        .wait("the second list is closed", || {
            (setup.api.epoch() == 3 && setup.api.closed(&maps)).then_some(())
        })
        .await;
    assert!(
        setup
            .api
            .last("stays")
            .is_some_and(|it| it.health == Health::Current)
    );
    assert_eq!(
        setup
            .api
            .last("goes")
            .map(|it| it.health)
            .filter(|health| *health == Health::Current),
        None
    );
    assert!(setup.api.sequences_are_monotone());
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_cluster_can_t_be_heard_its_kinds_are_unlistable_and_nothing_is_missing() {
    let maps = kind("", "v1", "ConfigMap");
    let mut setup = Setup::new(false, &[("", "v1", "ConfigMap")], &config_map("ours")).await;
    setup
        .api
        .wait("the list is closed", || setup.api.closed(&maps).then_some(()))
        .await;
    let server = setup.cluster.process("kube-apiserver").unwrap();
    server.kill().unwrap();
    setup
        .api
        .wait("ConfigMaps are unlistable", || setup.api.unlistable(&maps))
        .await;
    assert!(
        setup
            .api
            .last("ours")
            .is_some_and(|it| it.health == Health::Current),
        "nothing was seen to be deleted"
    );
    setup.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), setup.agent)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_forgot_what_it_was_told_last_is_told_everything_anew() {
    let maps = kind("", "v1", "ConfigMap");
    let setup = Setup::new(false, &[("", "v1", "ConfigMap")], &config_map("stays")).await;
    setup
        .api
        .wait("the agent was heard twice after all was told", || {
            (setup.api.heartbeats_since() >= 2 && setup.api.closed(&maps)).then_some(())
        })
        .await;
    assert_eq!(setup.api.epoch(), 1);
    // Restored from before, in the very epoch that the agent is in.
    setup.api.forget_heartbeats();
    setup
        .api
        .wait("a second epoch has the whole list", || {
            (setup.api.epoch() == 2 && setup.api.closed(&maps)).then_some(())
        })
        .await;
    assert!(setup.api.last("stays").is_some());

    setup.apply(&config_map("comes"));
    setup
        .until("comes", "Current", |it| it.health == Health::Current)
        .await;
    // A failover that lost a moment: no heartbeat was in it.
    setup.api.forget_observation();
    setup
        .api
        .wait("a third epoch has the whole list", || {
            (setup.api.epoch() == 3 && setup.api.closed(&maps)).then_some(())
        })
        .await;
    assert!(setup.api.last("comes").is_some());
    setup.stop().await;
}
