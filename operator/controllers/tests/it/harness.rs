//! A control plane of one's own, a store in memory for the API's side, and an agent that looks when it is told to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use kube::config::{KubeConfigOptions, Kubeconfig};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use threeport_controllers::{Identity, api::Api, target::Targets, workload::InstanceController};
use threeport_engine::{
    Found, Lease, Outcome, Reconciler, Report, Run, SourceError,
    controller::Driver,
    metrics::{Metrics, Stages},
};
use threeport_model::{
    ConditionStatus, Object, condition,
    identity::field_manager,
    kinds::workload_instance::{Health, Status},
    ownership,
    protocol::{
        agent::AgentState,
        claim::Claim,
        inventory::{IntentRequest, IntentResponse, InventoryRow, Observed, OwnedBy},
        whoami::Version,
    },
};
use threeport_testbed::{ControlPlane, ControlPlaneOptions, kubectl::Kubectl, process};
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) const EPOCH: i64 = 7;
/// The runtime whose agent there is.
const LOCAL: Uuid = Uuid::from_u128(1);

/// Objects and inventory, as the database has them.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) objects: BTreeMap<String, Object>,
    pub(crate) rows: Vec<InventoryRow>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) finalized: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct FakeApi(pub(crate) Arc<Mutex<Store>>);

#[async_trait]
impl Api for FakeApi {
    async fn intend(&self, request: &IntentRequest) -> Result<IntentResponse, SourceError> {
        let mut store = self.0.lock().unwrap();
        let taken = |row: &InventoryRow| {
            let mut others = store.rows.iter();
            others.find(|other| other.instance_id != row.instance_id && is_same(other, row))
        };
        let conflicts: Vec<OwnedBy> = request
            .rows
            .iter()
            .filter_map(|row| {
                let other = taken(row)?;
                let name = store
                    .objects
                    .values()
                    .find(|object| object.id() == other.instance_id);
                let instance_name = name
                    .map(|object| object.metadata.name.clone())
                    .unwrap_or_default();
                Some(OwnedBy {
                    id: row.id,
                    instance_id: other.instance_id,
                    instance_name,
                })
            })
            .collect();
        if conflicts.is_empty() {
            // In place of what an agent found.
            let is_intended = |row: &InventoryRow| {
                let mut intended = request.rows.iter();
                intended.any(|new| row.instance_id == new.instance_id && is_same(row, new))
            };
            store.rows.retain(|row| !is_intended(row));
            store.rows.extend(request.rows.iter().cloned());
        }
        Ok(IntentResponse { conflicts })
    }

    async fn version(&self) -> Result<Version, SourceError> {
        Ok(Version {
            version: "0".to_owned(),
            schema_version: 1,
            database: "sqlite".to_owned(),
        })
    }

    fn endpoint(&self) -> &'static str {
        "https://threeport-api.threeport-system.svc"
    }
}

/// A control plane, the store, and a controller of the one Threeport control plane `plane`.
pub(crate) struct World {
    pub(crate) cluster: ControlPlane,
    pub(crate) api: FakeApi,
    pub(crate) plane: Uuid,
    pub(crate) agent_heard: bool,
    /// The default runtime. Whichever it is, it is this cluster.
    pub(crate) runtime: Uuid,
    /// ServiceAccount (`namespace/name`) that writes are made as.
    pub(crate) account: Option<String>,
    /// What is added to the runtime's spec and status.
    pub(crate) abandon_after: Option<String>,
    pub(crate) unreachable_since: Option<jiff::Timestamp>,
    controller: Driver<InstanceController>,
    metrics: Metrics,
}

impl World {
    pub(crate) async fn start(controller_manager: bool) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ControlPlaneOptions {
            controller_manager,
            ..ControlPlaneOptions::default()
        };
        let cluster = tokio::task::spawn_blocking(move || ControlPlane::start(&options))
            .await
            .unwrap()
            .unwrap();
        let api = FakeApi::default();
        let plane = Uuid::from_u128(0xc0);
        let controller = controller(&cluster, &api, plane, "threeport").await;
        let metrics = Metrics::register(&mut Registry::default(), Stages::default());
        Self {
            cluster,
            api,
            plane,
            agent_heard: true,
            runtime: LOCAL,
            account: None,
            abandon_after: None,
            unreachable_since: None,
            controller,
            metrics,
        }
    }

    /// The same cluster and store, seen by a controller that was started anew.
    pub(crate) async fn restart(&mut self) {
        self.controller = controller(&self.cluster, &self.api, self.plane, "threeport").await;
    }

    /// Another Threeport control plane in the same cluster, with a store of its own.
    pub(crate) async fn become_another(&mut self, name: &str) {
        self.plane = Uuid::from_u128(self.plane.as_u128() + 1);
        self.api = FakeApi::default();
        self.controller = controller(&self.cluster, &self.api, self.plane, name).await;
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.tool().run(arguments).unwrap()
    }

    pub(crate) fn tool(&self) -> Kubectl {
        self.cluster.kubectl().unwrap()
    }

    /// `kubectl get -o json`, or null where there is none.
    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let namespace = if namespace.is_empty() {
            "default"
        } else {
            namespace
        };
        let text = self.kubectl(&[
            "get",
            kind,
            name,
            "-n",
            namespace,
            "-o",
            "json",
            "--ignore-not-found",
            "--show-managed-fields",
        ]);
        if text.trim().is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap()
        }
    }

    /// Writes a definition, a new generation each time.
    pub(crate) fn define(&self, name: &str, document: &str) {
        self.write("WorkloadDefinition", name, json!({"yamlDocument": document}));
    }

    /// Writes an instance of the definition of the same name unless `spec` names another.
    pub(crate) fn place(&self, name: &str, mut spec: Value) {
        if spec["definition"].is_null() {
            spec["definition"] = json!(name);
        }
        self.write("WorkloadInstance", name, spec);
    }

    fn write(&self, kind: &str, name: &str, spec: Value) {
        let mut store = self.api.0.lock().unwrap();
        let object = store.objects.entry(format!("{kind}/{name}")).or_insert_with(|| {
            let mut object = Object::new(kind, name, Value::Null);
            object.metadata.id = Some(Uuid::new_v4());
            object
        });
        object.spec = spec;
        object.metadata.generation = Some(object.generation() + 1);
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut store = self.api.0.lock().unwrap();
        let object = store
            .objects
            .get_mut(&format!("WorkloadInstance/{name}"))
            .unwrap();
        object.metadata.deletion_requested_at = Some(jiff::Timestamp::now());
    }

    pub(crate) fn id(&self, name: &str) -> Uuid {
        self.api.0.lock().unwrap().objects[&format!("WorkloadInstance/{name}")].id()
    }

    pub(crate) fn rows(&self, name: &str) -> Vec<InventoryRow> {
        let id = self.id(name);
        let store = self.api.0.lock().unwrap();
        store
            .rows
            .iter()
            .filter(|row| row.instance_id == id)
            .cloned()
            .collect()
    }

    pub(crate) fn is_finalized(&self, name: &str) -> bool {
        self.api
            .0
            .lock()
            .unwrap()
            .finalized
            .iter()
            .any(|other| other == name)
    }

    fn claim(&self, name: &str) -> Claim {
        let store = self.api.0.lock().unwrap();
        let object = store.objects[&format!("WorkloadInstance/{name}")].clone();
        let definition = object.spec["definition"].as_str().unwrap().to_owned();
        let mut references: Vec<_> = store
            .objects
            .values()
            .filter(|other| other.kind == "WorkloadDefinition" && other.metadata.name == definition)
            .cloned()
            .collect();
        let own = store.rows.iter().filter(|row| row.instance_id == object.id());
        let runtimes: BTreeSet<Uuid> = own.map(|row| row.runtime_id).chain([self.runtime]).collect();
        references.extend(runtimes.into_iter().map(|id| self.runtime_of(id)));
        Claim {
            deleted: store.finalized.iter().any(|other| other == name),
            references,
            secrets: store.secrets.clone(),
            inventory: store
                .rows
                .iter()
                .filter(|row| row.instance_id == object.id())
                .cloned()
                .collect(),
            agent: (self.runtime == LOCAL).then(|| AgentState {
                runtime_id: Some(LOCAL),
                epoch: EPOCH,
                version: "0".to_owned(),
                last_seen: self.unreachable_since.unwrap_or_else(jiff::Timestamp::now),
                heard: self.agent_heard,
                closed: Vec::new(),
            }),
            ..Claim::of(object)
        }
    }

    fn runtime_of(&self, id: Uuid) -> Object {
        let is_default = id == self.runtime;
        let mut runtime = Object::new(
            "KubernetesRuntimeInstance",
            if id == LOCAL { "local" } else { "another" },
            json!({"definition": "local", "defaultRuntime": is_default, "connection": {"inCluster": {}}}),
        );
        runtime.metadata.id = Some(id);
        if let Some(account) = &self.account {
            runtime.spec["serviceAccount"] = json!(account);
        }
        if let Some(after) = &self.abandon_after {
            runtime.spec["abandonAfter"] = json!(after);
        }
        if let Some(since) = &self.unreachable_since {
            runtime.status = json!({"reachable": {"status": "False", "since": since}});
        }
        runtime
    }

    /// One run, and what it ended with; the store then has what the API would have.
    pub(crate) async fn run(&self, name: &str) -> Report {
        let lease = Arc::new(Lease::until(Instant::now() + Duration::from_secs(60)));
        let run = Run {
            claim: self.claim(name),
            found: Found::Signal,
            lease,
        };
        let report = self.controller.reconcile(&run, &self.metrics).await.unwrap();
        let mut store = self.api.0.lock().unwrap();
        for row in &report.inventory {
            let known = store
                .rows
                .iter_mut()
                .find(|known| known.id == row.id)
                .expect("a row without intent");
            let observed = known.observed.clone();
            *known = InventoryRow {
                observed,
                ..row.clone()
            };
        }
        store
            .rows
            .retain(|row| !report.inventory_removed.contains(&row.id));
        let key = format!("WorkloadInstance/{name}");
        if report.finalize {
            let id = store.objects[&key].id();
            assert!(
                store.rows.iter().all(|row| row.instance_id != id),
                "finalized with rows left"
            );
            store.finalized.push(name.to_owned());
        }
        if let Some(status) = &report.status {
            store.objects.get_mut(&key).unwrap().status = status.clone();
        }
        report
    }

    /// Runs until the instance is finalized.
    pub(crate) async fn run_until_finalized(&self, name: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let report = self.run(name).await;
            if report.finalize {
                return;
            }
            assert!(Instant::now() < deadline, "not finalized: {:?}", report.outcome);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Everything of a kind.
    fn list(&self, kind: &str) -> Vec<Value> {
        let text = self.kubectl(&["get", kind, "-A", "-o", "json", "--show-managed-fields"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// What an agent does: looks at every row's object. `health` of what is there.
    pub(crate) fn observe(&self, name: &str, health: Health) {
        let mut seen: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in self.rows(name) {
            let kind = match (row.group.as_str(), row.plural.as_str()) {
                ("", "") => row.kind.clone(),
                ("", plural) => plural.to_owned(),
                (group, plural) => format!("{plural}.{}.{group}", row.version),
            };
            let objects = seen.entry(kind.clone()).or_insert_with(|| self.list(&kind));
            let is = |object: &&Value| {
                let metadata = &object["metadata"];
                metadata["name"] == *row.name
                    && metadata["namespace"].as_str().unwrap_or_default() == row.namespace
            };
            let live = objects.iter().find(is).cloned().unwrap_or_default();
            let metadata = &live["metadata"];
            let text = |key: &str| metadata[key].as_str().map(str::to_owned);
            let observed = Observed {
                health: if live.is_null() { Health::Missing } else { health },
                uid: if live.is_null() {
                    row.uid.clone()
                } else {
                    text("uid")
                },
                resource_version: text("resourceVersion"),
                ownership_digest: ownership::of_metadata(metadata, &field_manager(self.plane)),
                epoch: EPOCH,
                seen_at: Some(jiff::Timestamp::now()),
                other_managers: other_managers(metadata, &field_manager(self.plane)),
                ..Observed::default()
            };
            let mut store = self.api.0.lock().unwrap();
            store
                .rows
                .iter_mut()
                .find(|known| known.id == row.id)
                .unwrap()
                .observed = observed;
        }
    }

    /// What the store does when an agent sees an object that carries the instance's label and is in no row, and was in one.
    pub(crate) fn find(&self, instance: &str, plural: &str, kind: &str, namespace: &str, name: &str) {
        let live = self.get(plural, namespace, name);
        let uid = live["metadata"]["uid"].as_str().map(str::to_owned);
        let row: InventoryRow = serde_json::from_value(json!({
            "id": Uuid::new_v4(), "runtimeId": LOCAL, "instanceId": self.id(instance),
            "version": "v1", "kind": kind, "namespace": namespace, "name": name, "uid": uid,
            "observed": {"health": "Current", "uid": uid, "epoch": EPOCH},
        }))
        .unwrap();
        self.api.0.lock().unwrap().rows.push(row);
    }

    /// What was found last never was in a row.
    pub(crate) fn is_unrecorded(&self) {
        self.api.0.lock().unwrap().rows.last_mut().unwrap().unrecorded = true;
    }

    /// Runs, observes everything as healthy, runs again: what a rollout comes to.
    pub(crate) async fn settle(&self, name: &str) -> Status {
        self.run(name).await;
        self.observe(name, Health::Current);
        self.run(name).await;
        self.status(name)
    }

    pub(crate) fn status(&self, name: &str) -> Status {
        let store = self.api.0.lock().unwrap();
        store.objects[&format!("WorkloadInstance/{name}")].typed_status()
    }

    /// Reason and message of `Ready`.
    pub(crate) fn ready(&self, name: &str) -> (String, String) {
        let status = self.status(name);
        let ready = condition::find(&status.conditions, condition::READY).unwrap();
        (ready.reason.clone(), ready.message.clone())
    }

    /// The same, which `Stalled` says as well.
    pub(crate) fn stalled(&self, name: &str) -> (String, String) {
        let (status, ready) = (self.status(name), self.ready(name));
        let stalled = condition::find(&status.conditions, condition::STALLED).unwrap();
        assert_eq!(stalled.status, ConditionStatus::True, "{name}: {stalled:?}");
        assert_eq!(
            (&stalled.reason, &stalled.message),
            (&ready.0, &ready.1),
            "{name}"
        );
        ready
    }

    /// Writes in the audit log by the controller, as `verb code uri`. It uses the only kubeconfig there is, so kubectl's
    /// own writes are told by their user agent.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.requests(&["create", "update", "patch", "delete", "deletecollection"])
    }

    /// Those that delete.
    pub(crate) fn deletions(&self) -> Vec<String> {
        let mut writes = self.writes();
        writes.retain(|write| write.starts_with("delete"));
        writes
    }

    /// The controller's requests with one of these verbs, likewise.
    pub(crate) fn requests(&self, verbs: &[&str]) -> Vec<String> {
        let log = process::whole_lines(&self.cluster.audit_log()).unwrap();
        let events = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ours = events.filter(|event| {
            let agent = event["userAgent"].as_str().unwrap_or_default();
            event["user"]["username"] == "testbed-admin"
                && !agent.starts_with("kubectl")
                && verbs.contains(&event["verb"].as_str().unwrap_or_default())
        });
        ours.map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let code = event["responseStatus"]["code"].as_i64().unwrap_or_default();
            let uri = text(&event["requestURI"]);
            format!(
                "{} {code} {}",
                text(&event["verb"]),
                uri.split('?').next().unwrap_or_default()
            )
        })
        .collect()
    }
}

async fn controller(
    cluster: &ControlPlane,
    api: &FakeApi,
    plane: Uuid,
    name: &str,
) -> Driver<InstanceController> {
    let file = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .unwrap();
    let identity = Identity {
        control_plane: plane,
        name: name.to_owned(),
        namespace: "threeport-system".to_owned(),
    };
    Driver::new(InstanceController::new(
        identity,
        Arc::new(api.clone()),
        Arc::new(Targets::new(config)),
        Stages::default(),
    ))
}

fn is_same(one: &InventoryRow, other: &InventoryRow) -> bool {
    (&one.group, &one.kind, &one.namespace, &one.name)
        == (&other.group, &other.kind, &other.namespace, &other.name)
}

/// What a run must end with.
pub(crate) fn assert_done(report: &Report) {
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.status);
}

/// Who else owns fields of the object, status aside: as an agent reports it.
fn other_managers(metadata: &Value, manager: &str) -> Vec<String> {
    let entries = metadata["managedFields"].as_array().into_iter().flatten();
    let others = entries
        .filter(|entry| entry["subresource"] != "status")
        .filter_map(|entry| entry["manager"].as_str())
        .filter(|other| *other != manager);
    others.map(str::to_owned).collect()
}
