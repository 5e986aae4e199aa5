//! The cluster that a control plane is brought up in: the testbed's, or the one of the current kubeconfig context.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use threeport_testbed::network::Kind;
use threeport_testbed::paths::cache;
use threeport_testbed::process::output;
use threeport_testbed::{Cluster, ClusterOptions, binaries, cleanup, cluster, install, preflight, progress};

use crate::estimate::{self, Estimate};
use crate::{Database, Selection, UpOptions, Where, database, release};

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
    /// Opens the cluster; starts the testbed's if it is not up. Says first how long all that `up` does will take.
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
        let mut ports = vec![(release::API_NODE_PORT, "Threeport's API")];
        if options.database == Database::Postgresql {
            ports.push((database::PORT, "PostgreSQL"));
        }
        match options.selection.cluster {
            Where::Testbed => Self::testbed(&options.selection, &ports, |is_running| {
                estimate::of_testbed(options, is_running)
            }),
            Where::Current => {
                estimate::of_current(options)?.say();
                Self::current()
            }
        }
    }

    /// The testbed's cluster, started if it is not up. `estimate` is asked how long everything will take.
    pub(crate) fn testbed(
        selection: &Selection,
        ports: &[preflight::Port],
        estimate: impl FnOnce(bool) -> Result<Estimate>,
    ) -> Result<Self> {
        let options = selection.testbed.options()?;
        let site = options.site()?;
        let running = Cluster::attach(&site)
            .ok()
            .filter(|cluster| cluster.check().is_ok());
        if running.is_none() {
            let findings = preflight::check(&site, options.network, ports);
            preflight::print(&findings)?;
            preflight::require(&findings)?;
        }
        estimate(running.is_some())?.say();
        let cluster = match running {
            Some(cluster) => cluster,
            None => start(&options)?,
        };
        Ok(Self {
            state: site.state,
            kubectl: binaries::path("kubectl")?,
            helm: binaries::path("helm")?,
            reaches_services: cluster.network_kind() == Kind::Machine,
            cluster: Some(cluster),
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

    /// Tells this cluster from another one that has its name.
    pub(crate) fn identity(&self) -> Result<String> {
        self.run_kubectl(&[
            "get",
            "namespace",
            "kube-system",
            "--output=jsonpath={.metadata.uid}",
        ])
    }

    /// The tools that were built because the machine has none of its own, by name.
    pub(crate) fn own_tools(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        [("kubectl", self.kubectl.as_path()), ("helm", self.helm.as_path())]
            .into_iter()
            .filter(|(_, path)| path.is_absolute())
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

fn start(options: &ClusterOptions) -> Result<Cluster> {
    install::install()?;
    binaries::of_every_testbed()?;
    progress::step("Start Kubernetes", preflight::START, || Cluster::start(options))
}

/// A tool of the machine, else the testbed's.
fn tool(name: &str) -> Result<PathBuf> {
    if is_in_path(name) {
        Ok(PathBuf::from(name))
    } else {
        binaries::path(name)
    }
}

pub(crate) fn is_in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Removes what `up` started, and nothing else; says what stays.
pub(crate) fn down(selection: &Selection) -> Result<()> {
    match selection.cluster {
        Where::Testbed => {
            let site = selection.testbed.site()?;
            let what = format!("Take down the testbed {:?}", site.name);
            progress::step(&what, Duration::from_secs(3), || cluster::down(&site))?;
            println!(
                "Gone. What stays, for the next time: Debian packages, and that Debian makes no PostgreSQL server by \
                 itself ({}); what was built ({}); lock files in /run and /tmp/threeport-testbed.",
                install::NO_SERVER,
                cache()?.display()
            );
            Ok(())
        }
        Where::Current => {
            let target = Target::current()?;
            release::remove(&target)?;
            cleanup::remove_folder(&target.state)?;
            println!("{}", release::what_stays(&target)?);
            Ok(())
        }
    }
}
