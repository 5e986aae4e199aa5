//! A bare API server, the facade in it with its own ServiceAccount and rights, and kubectl.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use kube::config::{KubeConfigOptions, Kubeconfig};
use prometheus_client::registry::Registry;
use serde_json::Value;
use threeport_facade::{FacadeOptions, Metrics};
use threeport_model::selector::LabelSelector;
use threeport_telemetry::stages::Stages;
use threeport_testbed::{ControlPlane, ControlPlaneFiles, ControlPlaneOptions, kubectl::Kubectl, process};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::Api;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// As the chart grants them.
const RIGHTS: &str = include_str!("rights.yaml");

/// The one that the test run shares, else one for all tests of this process, whose processes end with it: each test has
/// a namespace of its own.
fn shared() -> ControlPlaneFiles {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    threeport_telemetry::init();
    ControlPlaneFiles::shared().unwrap_or_else(|| SHARED.get_or_init(own).files().clone())
}

/// A cluster of its own, for tests that delete what is shared.
pub(crate) fn own() -> ControlPlane {
    threeport_telemetry::init();
    let options = ControlPlaneOptions {
        controller_manager: true,
        ..ControlPlaneOptions::default()
    };
    ControlPlane::start(&options).unwrap()
}

/// A control plane's namespace with a running facade.
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) api: Api,
    pub(crate) kubectl: Kubectl,
    /// How often its facade compares everything.
    pub(crate) list_interval: Duration,
    /// What its facade mirrors.
    pub(crate) mirror_selector: LabelSelector,
    client_of_api: threeport_client::Client,
    kubeconfig: std::path::PathBuf,
    audit_log: std::path::PathBuf,
    starts: Vec<jiff::Timestamp>,
    registry: Registry,
    facade: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
}

impl Place {
    /// In the cluster that tests share.
    pub(crate) async fn start(namespace: &str) -> Self {
        let mut place = Self::prepare(namespace).await;
        place.start_facade().await;
        place
    }

    pub(crate) async fn start_in(cluster: &ControlPlane, namespace: &str) -> Self {
        let mut place = Self::prepare_in(cluster.files(), namespace).await;
        place.start_facade().await;
        place
    }

    /// In the cluster that tests share, without a facade yet.
    pub(crate) async fn prepare(namespace: &str) -> Self {
        let cluster = tokio::task::spawn_blocking(shared).await.unwrap();
        Self::prepare_in(&cluster, namespace).await
    }

    pub(crate) async fn prepare_in(cluster: &ControlPlaneFiles, namespace: &str) -> Self {
        let api = Api::start().await;
        let place = Self {
            namespace: namespace.to_owned(),
            client_of_api: api.client(),
            api,
            kubectl: cluster.kubectl().unwrap(),
            list_interval: Duration::from_secs(300),
            mirror_selector: LabelSelector::default(),
            kubeconfig: cluster.kubeconfig(),
            audit_log: cluster.audit_log(),
            starts: Vec::new(),
            registry: Registry::default(),
            facade: None,
        };
        place.make_namespace();
        place
    }

    /// The cluster's, of an administrator.
    pub(crate) fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// The namespace and the rights of the facade in it.
    pub(crate) fn make_namespace(&self) {
        self.kubectl
            .apply(&RIGHTS.replace("NAMESPACE", &self.namespace))
            .unwrap();
    }

    /// A client with the facade's account and rights.
    pub(crate) async fn client(&self) -> kube::Client {
        let user = format!("system:serviceaccount:{}:threeport-facade", self.namespace);
        let mut config = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        for auth in config
            .auth_infos
            .iter_mut()
            .filter_map(|auth| auth.auth_info.as_mut())
        {
            auth.impersonate = Some(user.clone());
        }
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
            .await
            .unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// Starts the facade with another API than the one in memory.
    pub(crate) async fn start_facade_with(&mut self, api: threeport_client::Client) {
        self.client_of_api = api;
        self.start_facade().await;
    }

    /// Starts the facade and waits until it is ready.
    pub(crate) async fn start_facade(&mut self) {
        let kube = self.client().await;
        self.starts.push(jiff::Timestamp::now());
        let options = self.options(kube);
        let (shutdown, ready) = (CancellationToken::new(), options.ready.clone());
        let mut task = tokio::spawn(threeport_facade::run(options, shutdown.clone()));
        let started = Instant::now();
        while !ready.load(std::sync::atomic::Ordering::Relaxed) {
            if task.is_finished() {
                panic!("the facade ended: {:?}", (&mut task).await);
            }
            assert!(started.elapsed() < DEADLINE, "the facade was not ready in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.facade = Some((shutdown, task));
    }

    fn options(&mut self, kube: kube::Client) -> FacadeOptions {
        self.registry = Registry::default();
        let stages = Stages::default();
        stages.register(&mut self.registry, "threeport_stage_seconds");
        let metrics = Metrics::register(&mut self.registry, stages);
        FacadeOptions {
            list_interval: self.list_interval,
            mirror_selector: self.mirror_selector.clone(),
            ..FacadeOptions::new(self.client_of_api.clone(), kube, &self.namespace, metrics)
        }
    }

    /// Starts the facade, and gives why it does not run.
    pub(crate) async fn start_in_vain(&mut self) -> String {
        let kube = self.client().await;
        let run = threeport_facade::run(self.options(kube), CancellationToken::new());
        let ended = tokio::time::timeout(DEADLINE, run).await.unwrap();
        format!("{:#}", ended.unwrap_err())
    }

    /// A sample of the facade's metrics; nothing where there is none.
    pub(crate) fn sample(&self, name: &str) -> Option<f64> {
        let text = threeport_telemetry::render(&self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().parse().unwrap())
    }

    /// Stops the facade as SIGTERM does.
    pub(crate) async fn stop_facade(&mut self) {
        if let Some((shutdown, task)) = self.facade.take() {
            shutdown.cancel();
            tokio::time::timeout(Duration::from_secs(10), task)
                .await
                .unwrap()
                .unwrap()
                .unwrap();
        }
    }

    /// How many writes of the facade the audit log has for each of its starts, its question who it is aside.
    pub(crate) fn writes_since_start(&self) -> Vec<usize> {
        let mut writes = vec![0; self.starts.len()];
        for event in self.audited() {
            let verb = event["verb"].as_str().unwrap();
            let asks = event["objectRef"]["resource"] == "selfsubjectreviews";
            if !asks && ["create", "update", "patch", "delete", "deletecollection"].contains(&verb) {
                let at = received(&event);
                let start = self.starts.iter().rposition(|start| *start <= at).unwrap();
                writes[start] += 1;
            }
        }
        writes
    }

    /// What the facade asked for on one resource, in its order: the verb and when. A POST has no name.
    pub(crate) fn written(&self, plural: &str, name: &str) -> Vec<(String, jiff::Timestamp)> {
        let of_it = |event: &Value| {
            let of = &event["objectRef"];
            of["resource"] == plural && (of["name"] == name || event["verb"] == "create")
        };
        let events = self.audited().into_iter().filter(of_it);
        let verb = |event: &Value| event["verb"].as_str().unwrap().to_owned();
        events.map(|event| (verb(&event), received(&event))).collect()
    }

    /// The audit log's events of this namespace's facade.
    fn audited(&self) -> Vec<Value> {
        let user = format!("system:serviceaccount:{}:threeport-facade", self.namespace);
        let log = process::whole_lines(&self.audit_log).unwrap();
        let events = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        events
            .filter(|event| event["impersonatedUser"]["username"] == user.as_str())
            .collect()
    }

    /// kubectl in this namespace.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl.run(&[arguments, &["-n", &self.namespace]].concat())
    }

    /// `kubectl apply` of documents in this namespace.
    pub(crate) fn apply(&self, documents: &str) -> anyhow::Result<()> {
        self.kubectl
            .apply(&documents.replace("NAMESPACE", &self.namespace))
    }

    /// A custom resource; nothing where there is none.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let text = self
            .run(&["get", kind, name, "-o", "json", "--ignore-not-found"])
            .ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Waits until a custom resource satisfies `probe`, and gives it.
    pub(crate) async fn wait(
        &self,
        what: &str,
        kind: &str,
        name: &str,
        probe: impl Fn(&Value) -> bool,
    ) -> Value {
        let started = Instant::now();
        loop {
            let found = self.get(kind, name);
            if let Some(found) = found.as_ref().filter(|found| probe(found)) {
                return found.clone();
            }
            assert!(
                started.elapsed() < DEADLINE,
                "{what}: not in time; {kind}/{name} is {found:#?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a custom resource is gone.
    pub(crate) async fn wait_gone(&self, kind: &str, name: &str) {
        self.until("it is gone", || self.get(kind, name).is_none()).await;
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: &str, probe: impl Fn() -> bool) {
        let started = Instant::now();
        while !probe() {
            assert!(started.elapsed() < DEADLINE, "{what}: not in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts `kubectl wait --for=condition=Ready` at once.
    pub(crate) fn kubectl_wait(&self, kind: &str, name: &str) -> std::process::Child {
        let mut command = self.kubectl.command();
        let target = format!("{kind}/{name}");
        command.args([
            "wait",
            "--for=condition=Ready",
            "--timeout=30s",
            &target,
            "-n",
            &self.namespace,
        ]);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((shutdown, _)) = &self.facade {
            shutdown.cancel();
        }
    }
}

fn received(event: &Value) -> jiff::Timestamp {
    let at = event["requestReceivedTimestamp"].as_str().unwrap();
    at.parse().unwrap()
}

/// A condition of a custom resource, as (status, reason, observedGeneration).
pub(crate) fn condition(resource: &Value, kind: &str) -> Option<(String, String, i64)> {
    let conditions = resource["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((
        text("status"),
        text("reason"),
        found["observedGeneration"].as_i64().unwrap_or_default(),
    ))
}

/// Whether a condition has a status and reason.
pub(crate) fn is(resource: &Value, kind: &str, status: &str, reason: &str) -> bool {
    condition(resource, kind).is_some_and(|found| found.0 == status && found.1 == reason)
}
