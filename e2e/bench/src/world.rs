//! The control plane that is measured: a testbed of its own, the chart as it is, one API replica unless told otherwise.

use std::{collections::BTreeMap, env, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use kube::{
    Api,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use threeport_client::{ApplyBody, Client, ListQuery, Options, Token};
use threeport_e2e::wait_until;
use threeport_model::{
    Kind, KindDescriptor, find_kind, identity,
    kinds::{WorkloadDefinition, WorkloadInstance, workload_definition},
};
use threeport_testbed::{
    paths::{Site, cache},
    progress,
};
use uuid::Uuid;

use crate::{
    arguments::{Arguments, Database},
    bare::Loop,
    database,
    driver::AT_ONCE,
    objects::{self, RUN},
    processes,
};

/// The longest that anything may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Where a testbed is, and what is put into it.
pub(crate) struct Place {
    site: Site,
    database: Database,
    arguments: Arguments,
}

impl Place {
    pub(crate) fn new(arguments: &Arguments, database: Database) -> Result<Self> {
        ensure!(
            !arguments.keep || arguments.databases().len() == 1,
            "--keep needs one --database: a control plane keeps its own"
        );
        let state = match &arguments.state {
            Some(state) => state.clone(),
            None => cache()?.join("clusters").join(&arguments.name),
        };
        Ok(Self {
            site: Site::new(&arguments.name, &state)?,
            database,
            arguments: arguments.clone(),
        })
    }

    /// Starts the testbed and installs the chart, of programs as they are released.
    pub(crate) fn bring_up(&self) -> Result<()> {
        // Taking down what a killed run left takes programs that a fresh machine does not have.
        run(testbed_program("testbed")?.arg("install"))?;
        if !self.arguments.keep {
            self.take_down()?;
        }
        let rate = self.arguments.controller_requests_per_second.to_string();
        self.run("testbed", &["up", "--controller-requests-per-second", &rate])?;
        let replicas = self.arguments.api_replicas.to_string();
        let mut install = vec!["up", "--no-sample", "--profile", "release"];
        install.extend(["--database", self.database.as_str()]);
        if self.database == Database::Postgresql {
            install.extend(["--api-replicas", &replicas]);
        }
        self.run("threeport-up", &install)
    }

    /// Fails where the database is not as figures are told of it.
    pub(crate) fn ensure_as_told(&self) -> Result<()> {
        match self.database {
            Database::Postgresql => database::is_as_told(&self.site),
            Database::Sqlite => Ok(()),
        }
    }

    /// Removes it all.
    pub(crate) fn take_down(&self) -> Result<()> {
        self.run("testbed", &["down"])
    }

    /// A program of the testbed, about this place.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let mut command = testbed_program(program)?;
        command.args(arguments);
        run(command
            .args(["--name", &self.site.name, "--state"])
            .arg(&self.site.state))
    }

    fn variables(&self) -> Result<BTreeMap<String, String>> {
        let path = self.site.path("threeport.env");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }
}

/// One of the testbed's programs, which lie beside this one.
fn testbed_program(name: &str) -> Result<Command> {
    let own = env::current_exe().context("failed to find this program")?;
    Ok(Command::new(own.with_file_name(name)))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("failed to run {command:?}: `make bench` builds it"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// A running control plane.
pub(crate) struct World {
    /// The API as its administrator, by as many clients as there ever are, a connection each.
    pub(crate) clients: Vec<Client>,
    pub(crate) cluster: kube::Client,
    pub(crate) bare: Loop,
    pub(crate) control_plane: Uuid,
    pub(crate) namespace: String,
    pub(crate) audit_log: PathBuf,
    pub(crate) site: Site,
}

impl World {
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        let variables = place.variables()?;
        let variable = |name: &str| {
            let value = variables.get(name).cloned();
            value.with_context(|| format!("the testbed's installer did not say {name}"))
        };
        let client = || -> Result<Client> {
            let mut options = Options::new(variable("THREEPORT_SERVER")?, "threeport-bench");
            options.ca_file = Some(variable("THREEPORT_CA_FILE")?.into());
            options.token = Some(Token::file(variable("THREEPORT_TOKEN_FILE")?));
            Ok(Client::new(options)?)
        };
        let clients = (0..AT_ONCE).map(|_| client()).collect::<Result<Vec<_>>>()?;
        let kubeconfig = Kubeconfig::read_from(place.site.path("kubeconfig"))?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let cluster = kube::Client::try_from(config)?;
        let control_plane = clients[0].whoami().await?.control_plane_id;
        Ok(Self {
            clients,
            bare: Loop::new(cluster.clone()),
            cluster,
            control_plane,
            namespace: variable("THREEPORT_NAMESPACE")?,
            audit_log: variable("THREEPORT_AUDIT_LOG")?.into(),
            site: place.site.clone(),
        })
    }

    /// One client.
    pub(crate) fn api(&self) -> &Client {
        &self.clients[0]
    }

    /// Places a definition many times, by applies of all at once, and waits until all are Ready.
    pub(crate) async fn place(&self, definition: &str, instances: usize) -> Result<()> {
        let kind = kind_of::<WorkloadDefinition>()?;
        self.api()
            .object_create(kind, &objects::definition(definition, false))
            .await?;
        let names = objects::names(definition, instances);
        for some in names.chunks(500) {
            let objects = some
                .iter()
                .map(|name| serde_json::to_value(objects::instance(name, definition)));
            let body = ApplyBody::Objects(objects.collect::<Result<_, _>>()?);
            self.api().apply(body, false).await?;
        }
        self.wait_ready(definition, instances).await
    }

    /// Waits until the testbed's processes have next to nothing to do: what came before must not count for what follows.
    pub(crate) async fn settle(&self) -> Result<()> {
        const LOOK: Duration = Duration::from_secs(1);
        const IDLE: Duration = Duration::from_millis(250);
        let mut before = processes::sample(&self.site)?;
        for _ in 0..60 {
            tokio::time::sleep(LOOK).await;
            let after = processes::sample(&self.site)?;
            let all: Vec<&str> = after.keys().map(String::as_str).collect();
            if processes::cpu(&before, &after, &all) <= IDLE {
                return Ok(());
            }
            before = after;
        }
        eprintln!("bench: the testbed did not come to rest within a minute; going on");
        Ok(())
    }

    /// Waits until a definition says that all of its instances are Ready.
    pub(crate) async fn wait_ready(&self, definition: &str, instances: usize) -> Result<()> {
        wait_until("instances to be Ready", LIMIT, || async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let object = self
                .api()
                .object_get(kind_of::<WorkloadDefinition>()?, definition)
                .await?;
            let status: workload_definition::Status = object.typed_status();
            let (counts, wanted) = (status.instances, i64::try_from(instances)?);
            let all = counts.total == wanted && counts.ready == wanted && counts.current == wanted;
            let current = status.observed_generation == object.generation();
            Ok(if all && current {
                Ok(())
            } else {
                Err(format!("{counts:?}"))
            })
        })
        .await
    }

    /// Waits until the custom resources of a run's instances say that they are Ready.
    pub(crate) async fn wait_mirrored(&self, run: &str, instances: usize) -> Result<()> {
        wait_until("custom resources to be Ready", LIMIT, || async {
            let found = self.mirrors(run).await?;
            let ready = found.iter().filter(|resource| is_ready(resource)).count();
            if ready == instances {
                return Ok(Ok(()));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(Err(format!("{ready} of {} are Ready", found.len())))
        })
        .await
    }

    async fn mirrors(&self, run: &str) -> Result<Vec<DynamicObject>> {
        let kind = kind_of::<WorkloadInstance>()?;
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("threeport.io", "v1alpha1", kind.kind),
            kind.plural,
        );
        let api: Api<DynamicObject> = Api::namespaced_with(self.cluster.clone(), &self.namespace, &resource);
        Ok(api
            .list(&ListParams::default().labels(&format!("{RUN}={run}")))
            .await?
            .items)
    }

    /// Waits until the namespaces of a control plane's instances are gone.
    pub(crate) async fn wait_namespaces_gone(&self, control_plane: Uuid) -> Result<()> {
        let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.cluster.clone());
        let selector = format!("{}={control_plane}", identity::CONTROL_PLANE);
        wait_until("namespaces to be gone", LIMIT, || async {
            let left = api
                .list_metadata(&ListParams::default().labels(&selector).limit(1))
                .await?;
            Ok(if left.items.is_empty() {
                Ok(())
            } else {
                Err("some are left".to_owned())
            })
        })
        .await
    }

    /// Waits until nothing of a run is left: neither in the API nor as custom resources.
    pub(crate) async fn wait_gone(&self, run: &str) -> Result<()> {
        wait_until("the run's instances to be gone", LIMIT, || async {
            let query = ListQuery {
                limit: Some(1),
                label_selector: Some(format!("{RUN}={run}")),
                ..ListQuery::default()
            };
            let page = self
                .api()
                .object_list(kind_of::<WorkloadInstance>()?, &query)
                .await?;
            let left = page.items.len() + self.mirrors(run).await?.len();
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(if left == 0 {
                Ok(())
            } else {
                Err(format!("{left} are left"))
            })
        })
        .await
    }
}

fn is_ready(resource: &DynamicObject) -> bool {
    let conditions = resource.data["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
}

/// The descriptor of a kind.
pub(crate) fn kind_of<K: Kind>() -> Result<&'static KindDescriptor> {
    find_kind(K::KIND).with_context(|| format!("{} is not a kind", K::KIND))
}

/// Says what is being measured.
pub(crate) fn say(what: &str) {
    eprintln!("[{}] {what}", progress::human(since_start()));
}

fn since_start() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}
