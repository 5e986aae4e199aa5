//! The cluster that a control plane is brought up in: the testbed's, or the one of the current kubeconfig context.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use threeport_testbed::paths::{Site, cache, project};
use threeport_testbed::process::{Lifetime, output};
use threeport_testbed::{Cluster, ClusterOptions, binaries, cluster, install, network, preflight, progress};

use crate::{Database, Selection, UpOptions, Where, release};

/// The testbed that `make up` uses.
const MAIN: &str = "main";

/// A cluster, and the folder of what is kept about it.
pub(crate) struct Target {
    /// None: the current context's.
    cluster: Option<Cluster>,
    state: PathBuf,
    reaches_services: bool,
    kubectl: PathBuf,
    helm: PathBuf,
}

/// Which sort of cluster it is: decides how images get there.
pub(crate) enum Sort<'a> {
    /// The testbed's.
    Testbed(&'a Cluster),
    /// kind's, by its name.
    Kind(String),
    /// k3s on this machine.
    K3s,
    /// Anything else, by its context.
    Other(String),
}

impl Target {
    /// Opens the cluster; starts the testbed's if it is not up.
    pub(crate) fn open(options: &UpOptions) -> Result<Self> {
        ensure!(
            options.selection.cluster == Where::Testbed || options.database == Database::Sqlite,
            "DATABASE=postgresql is the testbed's PostgreSQL, which CLUSTER=current can't reach: install the chart with \
             database.mode=external and a Secret that holds your database's URL"
        );
        ensure!(
            options.selection.cluster == Where::Current || options.registry.is_none(),
            "REGISTRY is for CLUSTER=current: the testbed gets its images without one"
        );
        match options.selection.cluster {
            Where::Testbed => Self::testbed(&options.selection),
            Where::Current => Self::current(),
        }
    }

    /// The testbed's cluster, started if it is not up.
    pub(crate) fn testbed(selection: &Selection) -> Result<Self> {
        let options = cluster_options(selection)?;
        let site = options.site()?;
        let running = Cluster::attach(&site)
            .ok()
            .filter(|cluster| cluster.check().is_ok());
        let cluster = match running {
            Some(cluster) => cluster,
            None => start(&options)?,
        };
        Ok(Self {
            state: site.state,
            kubectl: binaries::path("kubectl")?,
            helm: binaries::path("helm")?,
            cluster: Some(cluster),
            reaches_services: options.network == network::Kind::Machine,
        })
    }

    fn current() -> Result<Self> {
        let kubectl = tool("kubectl")?;
        let helm = tool("helm")?;
        let context = output(Command::new(&kubectl).args(["config", "current-context"]))
            .context("CLUSTER=current needs a kubeconfig with a current context")?;
        let context = context.trim();
        let folder = context.replace(|character: char| !character.is_ascii_alphanumeric(), "-");
        let target = Self {
            cluster: None,
            reaches_services: false,
            state: cache()?.join("contexts").join(folder),
            kubectl,
            helm,
        };
        target
            .run_kubectl(&["version", "--request-timeout=10s"])
            .with_context(|| format!("the cluster of context {context:?} does not answer"))?;
        Ok(target)
    }

    /// Which sort of cluster it is.
    pub(crate) fn sort(&self) -> Result<Sort<'_>> {
        if let Some(cluster) = &self.cluster {
            return Ok(Sort::Testbed(cluster));
        }
        let context = self
            .run_kubectl(&["config", "current-context"])?
            .trim()
            .to_owned();
        if let Some(name) = context.strip_prefix("kind-")
            && is_in_path("kind")
        {
            return Ok(Sort::Kind(name.to_owned()));
        }
        let version = self.run_kubectl(&["version", "--output=json"])?;
        if version.contains("+k3s") && is_in_path("k3s") {
            return Ok(Sort::K3s);
        }
        Ok(Sort::Other(context))
    }

    /// The testbed's cluster, if it is that.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Whether this machine reaches the addresses of the cluster's Services: it is their node.
    pub(crate) fn reaches_services(&self) -> bool {
        self.reaches_services
    }

    /// The folder of what is kept about it.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// A path in [`Self::state`].
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.state.join(relative)
    }

    /// The registry in the images' references.
    pub(crate) fn registry<'a>(&self, registry: Option<&'a str>) -> &'a str {
        registry.unwrap_or("localhost")
    }

    /// kubectl for this cluster.
    pub(crate) fn kubectl(&self) -> Command {
        self.tool(&self.kubectl)
    }

    /// Runs kubectl and gives its standard output.
    pub(crate) fn run_kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(self.kubectl().args(arguments))
    }

    /// helm for this cluster.
    pub(crate) fn helm(&self) -> Command {
        self.tool(&self.helm)
    }

    fn tool(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(cluster) = &self.cluster {
            command.env("KUBECONFIG", cluster.kubeconfig());
        }
        command
    }

    /// Applies manifests from a string, so that no secret is in an argument.
    pub(crate) fn apply(&self, manifests: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new().context("failed to create a temporary file")?;
        std::fs::write(file.path(), manifests).context("failed to write manifests")?;
        let mut command = self.kubectl();
        command.args([
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=threeport-up",
            "--filename",
        ]);
        output(command.arg(file.path())).map(|_| ())
    }
}

/// Starts the testbed after a look at the machine, saying how long it takes.
fn start(options: &ClusterOptions) -> Result<Cluster> {
    let findings = preflight::check(&options.site()?, options.network);
    preflight::print(&findings)?;
    preflight::require(&findings)?;
    eprintln!(
        "Kubernetes and its tools take about {}",
        progress::human(preflight::duration()?)
    );
    install::install()?;
    binaries::all()?;
    progress::step("Start Kubernetes", Duration::from_secs(25), || {
        Cluster::start(options)
    })
}

/// The options of the testbed that is selected.
fn cluster_options(selection: &Selection) -> Result<ClusterOptions> {
    let is_main = selection.name == MAIN;
    let state = match &selection.state {
        Some(state) => state.clone(),
        None if is_main => project().join(".testbed"),
        None => cache()?.join("clusters").join(&selection.name),
    };
    Ok(ClusterOptions {
        name: selection.name.clone(),
        state: Some(state),
        network: if is_main {
            network::Kind::Machine
        } else {
            network::Kind::Own
        },
        lifetime: Lifetime::Detached,
        controller_requests_per_second: 200,
    })
}

/// A tool of the machine, else the testbed's.
fn tool(name: &str) -> Result<PathBuf> {
    if is_in_path(name) {
        Ok(PathBuf::from(name))
    } else {
        binaries::path(name)
    }
}

fn is_in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Removes what `up` started, and nothing else.
pub(crate) fn down(selection: &Selection) -> Result<()> {
    match selection.cluster {
        Where::Testbed => {
            let site: Site = cluster_options(selection)?.site()?;
            let what = format!("Take down the testbed {:?}", site.name);
            progress::step(&what, Duration::from_secs(3), || cluster::down(&site))
        }
        Where::Current => release::remove(&Target::current()?),
    }
}
