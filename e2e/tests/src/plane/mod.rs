//! A control plane of a test's own, as processes of this machine that the test may kill, stop and start as it likes:
//! a bare Kubernetes (etcd, kube-apiserver, kube-controller-manager), NATS, PostgreSQL, and ours with the chart's own
//! accounts and rights. No pod runs: Deployments have no replicas.
//!
//! Whoever starts a part may give it variables of environment, such as a failpoint. Everything ends with the test.

mod accounts;
mod part;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use threeport_client::{Client, Options, Token};
use threeport_testbed::{
    ControlPlane, ControlPlaneOptions, Nats, NatsOptions, Postgres, PostgresOptions,
    kubectl::Kubectl,
    ports,
    process::{Host, Lifetime, Process, mark, output},
    scratch::Scratch,
};
use tokio::task::{block_in_place, spawn_blocking};

use crate::programs;

pub use part::Part;

/// The namespace and the release's name.
pub const NAMESPACE: &str = "threeport-system";
/// What the chart's accounts are called after.
pub const RELEASE: &str = "threeport";
/// The database's name.
pub const DATABASE: &str = "threeport";
/// How long a part has to end when it is asked to.
const GRACE: Duration = Duration::from_secs(8);

/// See the module. Dropped in this order: what uses something before what it uses.
pub struct Plane {
    running: BTreeMap<Part, Process>,
    /// The API, as its administrator.
    pub api: Client,
    /// The cluster, as system:masters.
    pub cluster: kube::Client,
    /// The cluster's own processes.
    pub kubernetes: ControlPlane,
    /// The notifications' server.
    pub nats: Nats,
    /// The database's server.
    pub postgres: Postgres,
    host: Host,
    addresses: BTreeMap<Part, SocketAddr>,
    listen: SocketAddr,
    starts: u32,
    folder: Scratch,
}

impl Plane {
    /// Starts everything, and waits until the API is ready and a custom resource would be served.
    pub async fn start() -> Result<Self> {
        let mut plane = Self::prepare().await?;
        for part in Part::ALL {
            plane.start_part(part, &[])?;
            plane.wait_part(part)?;
        }
        Ok(plane)
    }

    /// Starts what the parts need, and makes keys, accounts and an empty database.
    pub async fn prepare() -> Result<Self> {
        Self::prepare_on(ControlPlaneOptions::default()).await
    }

    /// The same, on a Kubernetes of these options; its controller manager runs in any case.
    pub async fn prepare_on(options: ControlPlaneOptions) -> Result<Self> {
        threeport_telemetry::init();
        let kubernetes = spawn_blocking(move || {
            ControlPlane::start(&ControlPlaneOptions {
                controller_manager: true,
                ..options
            })
        });
        let postgres = spawn_blocking(|| Postgres::start(&PostgresOptions::default()));
        let nats = spawn_blocking(|| Nats::start(&NatsOptions::default()));
        let (kubernetes, postgres, nats) = (kubernetes.await??, postgres.await??, nats.await??);
        let folder = Scratch::new("plane")?;
        let host = Host {
            mark: mark("bare"),
            logs: folder.join("log"),
            network: None,
            lifetime: Lifetime::Tied,
        };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?));
        let mut addresses = BTreeMap::new();
        for part in Part::ALL.into_iter().chain([Part::SecondControllers]) {
            addresses.insert(part, SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()?)));
        }
        block_in_place(|| -> Result<()> {
            accounts::make(&kubernetes, folder.path())?;
            let mut bootstrap = Command::new(programs::path("threeport-api")?);
            bootstrap.args(["bootstrap", "--dns=localhost", "--directory"]);
            output(bootstrap.arg(folder.path()))?;
            let url = postgres.create_database(DATABASE, None)?;
            let mut migrate = Command::new(programs::path("threeport-api")?);
            output(migrate.arg("migrate").env("THREEPORT_DATABASE_URL", url)).map(drop)
        })?;
        let mut options = Options::new(format!("https://localhost:{}", listen.port()), "threeport-e2e");
        options.ca_file = Some(folder.join("ca.crt"));
        options.token = Some(Token::file(folder.join("admin-token")));
        Ok(Self {
            running: BTreeMap::new(),
            api: Client::new(options)?,
            cluster: client(&kubernetes).await?,
            kubernetes,
            nats,
            postgres,
            host,
            addresses,
            listen,
            starts: 0,
            folder,
        })
    }

    /// From its next start on the part knows the cluster's API by this address, and trusts this authority (PEM): for
    /// something in between.
    pub fn lead(&self, part: Part, url: &str, authority: &str) -> Result<()> {
        accounts::lead(&self.kubeconfig(part), url, authority)
    }

    /// The kubeconfig of a part's account.
    pub fn kubeconfig(&self, part: Part) -> PathBuf {
        self.path(&format!("{}.kubeconfig", part.account()))
    }

    /// kubectl as system:masters.
    pub fn kubectl(&self) -> Result<Kubectl> {
        self.kubernetes.kubectl()
    }

    /// The apiserver's audit log.
    pub fn audit_log(&self) -> PathBuf {
        self.kubernetes.audit_log()
    }

    /// A path in the folder of this control plane.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts a part with further variables of environment; see [`Self::wait_part`].
    pub fn start_part(&mut self, part: Part, variables: &[(&str, String)]) -> Result<()> {
        self.starts += 1;
        let name = format!("{part}-{}", self.starts);
        let mut program = part.program(&name, self)?;
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.into()));
        program.env.extend(variables);
        let process = self.host.start(program)?;
        self.running.insert(part, process);
        Ok(())
    }

    /// Waits until a part is ready; fails at once where it ended.
    pub fn wait_part(&mut self, part: Part) -> Result<()> {
        let address = self.address(part)?;
        let process = self.process(part)?;
        block_in_place(|| part::wait(process, address))
    }

    /// Whether a part says that it is ready.
    pub fn is_ready(&mut self, part: Part) -> Result<bool> {
        let address = self.address(part)?;
        Ok(block_in_place(|| part::is_ready(address)).is_ok())
    }

    /// Ends a part in order.
    pub fn stop_part(&mut self, part: Part) -> Result<()> {
        match self.running.remove(&part) {
            Some(mut process) => block_in_place(|| process.stop(GRACE)),
            None => Ok(()),
        }
    }

    /// The process of a part.
    pub fn process(&mut self, part: Part) -> Result<&mut Process> {
        self.running
            .get_mut(&part)
            .with_context(|| format!("{part} does not run"))
    }

    /// The ends of all parts' logs, for whoever has to find out why something does not hold.
    pub fn log_tails(&self) -> String {
        let tails = self
            .running
            .iter()
            .map(|(part, process)| format!("the end of the log of {part}:\n{}", process.log_tail()));
        tails.collect::<Vec<_>>().join("\n")
    }

    fn address(&self, part: Part) -> Result<SocketAddr> {
        self.addresses.get(&part).copied().context("no address")
    }
}

async fn client(kubernetes: &ControlPlane) -> Result<kube::Client> {
    let file = Kubeconfig::read_from(kubernetes.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}
