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
use crate::search_path::SearchPath;
use crate::{Database, Selection, UpOptions, Where, database, release};

/// A cluster, and the folder of what is kept about it.
pub(crate) struct Target {
    place: Place,
    state: PathBuf,
    reaches_services: bool,
    kubectl: Tool,
    helm: Tool,
}

/// Where the cluster is.
enum Place {
    Testbed(Cluster),
    /// The context that was current at first: another one that becomes it meanwhile is another cluster's.
    Context(String),
}

/// A program that talks to the cluster.
struct Tool {
    program: PathBuf,
    /// Built because the machine has none, or not the one that it takes.
    is_built: bool,
}

/// Which sort of cluster it is: decides how images get there.
pub(crate) enum Sort<'a> {
    /// The testbed's.
    Testbed(&'a Cluster),
    /// kind's, by its name, with the program that knows it.
    Kind { program: PathBuf, name: String },
    /// k3s on this machine: its program.
    K3s(PathBuf),
    /// Anything else, by its context.
    Other(String),
}

impl Tool {
    /// The machine's, else the testbed's.
    fn find(name: &str, path: &SearchPath) -> Result<Self> {
        match path.find(name) {
            Some(program) => Ok(Self {
                program,
                is_built: false,
            }),
            None => Self::built(name),
        }
    }

    fn built(name: &str) -> Result<Self> {
        Ok(Self {
            program: binaries::path(name)?,
            is_built: true,
        })
    }
}

/// Refuses what does not go together.
fn check(options: &UpOptions) -> Result<()> {
    ensure!(
        options.selection.cluster == Where::Testbed || options.database == Database::Sqlite,
        "DATABASE=postgresql is the testbed's PostgreSQL, which CLUSTER=current can't reach: install the chart with \
         database.mode=external and a Secret that holds your database's URL"
    );
    ensure!(
        options.selection.cluster == Where::Current || options.registry.is_none(),
        "REGISTRY is for CLUSTER=current: the testbed gets its images without one"
    );
    Ok(())
}

impl Target {
    /// Opens the cluster; starts the testbed's if it is not up. Says first how long all that `up` does will take.
    pub(crate) fn open(options: &UpOptions, path: &SearchPath) -> Result<Self> {
        check(options)?;
        let mut ports = vec![(release::API_NODE_PORT, "Threeport's API")];
        if options.database == Database::Postgresql {
            ports.push((database::PORT, "PostgreSQL"));
        }
        match options.selection.cluster {
            Where::Testbed => Self::testbed(&options.selection, &ports, |is_running| {
                estimate::of_testbed(options, is_running)
            }),
            Where::Current => {
                estimate::of_current(options, path)?.say();
                Self::current(path)
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
            kubectl: Tool::built("kubectl")?,
            helm: Tool::built("helm")?,
            reaches_services: cluster.network_kind() == Kind::Machine,
            place: Place::Testbed(cluster),
        })
    }

    /// The cluster of the context that is current now.
    pub(crate) fn current(path: &SearchPath) -> Result<Self> {
        let kubectl = Tool::find("kubectl", path)?;
        let helm = Tool::find("helm", path)?;
        let context = output(Command::new(&kubectl.program).args(["config", "current-context"]))
            .context("CLUSTER=current needs a kubeconfig with a current context")?;
        let context = context.trim();
        let folder = context.replace(|character: char| !character.is_ascii_alphanumeric(), "-");
        let target = Self {
            place: Place::Context(context.to_owned()),
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
    pub(crate) fn sort(&self, path: &SearchPath) -> Result<Sort<'_>> {
        let context = match &self.place {
            Place::Testbed(cluster) => return Ok(Sort::Testbed(cluster)),
            Place::Context(context) => context,
        };
        if let Some(name) = context.strip_prefix("kind-")
            && let Some(program) = path.find("kind")
        {
            let name = name.to_owned();
            return Ok(Sort::Kind { program, name });
        }
        let version = self.run_kubectl(&["version", "--output=json"])?;
        if version.contains("+k3s")
            && let Some(program) = path.find("k3s")
        {
            return Ok(Sort::K3s(program));
        }
        Ok(Sort::Other(context.clone()))
    }

    /// The testbed's cluster, if it is that.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        match &self.place {
            Place::Testbed(cluster) => Some(cluster),
            Place::Context(_) => None,
        }
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
        [("kubectl", &self.kubectl), ("helm", &self.helm)]
            .into_iter()
            .filter(|(_, tool)| tool.is_built)
            .map(|(name, tool)| (name, tool.program.as_path()))
    }

    /// kubectl for this cluster.
    pub(crate) fn kubectl(&self) -> Command {
        self.tool(&self.kubectl, "--context")
    }

    /// Runs kubectl and gives its standard output.
    pub(crate) fn run_kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(self.kubectl().args(arguments))
    }

    /// helm for this cluster.
    pub(crate) fn helm(&self) -> Command {
        self.tool(&self.helm, "--kube-context")
    }

    fn tool(&self, tool: &Tool, context_flag: &str) -> Command {
        let mut command = Command::new(&tool.program);
        match &self.place {
            Place::Testbed(cluster) => command.env("KUBECONFIG", cluster.kubeconfig()),
            Place::Context(context) => command.arg(format!("{context_flag}={context}")),
        };
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

/// Removes what `up` started, and nothing else; says what stays.
pub(crate) fn down(selection: &Selection, path: &SearchPath) -> Result<()> {
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
            let target = Target::current(path)?;
            release::remove(&target)?;
            cleanup::remove_folder(&target.state)?;
            println!("{}", release::what_stays(&target)?);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::fixture::Machine;
    use crate::{Action, Arguments};

    fn refusal(line: &[&str]) -> Option<String> {
        let line = ["threeport-up", "up"].iter().chain(line);
        let Action::Up(options) = Arguments::parse_from(line).command else {
            panic!("another command");
        };
        check(&options).err().map(|error| error.to_string())
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_what_to_do() {
        let current = ["--cluster", "current"];
        let database = refusal(&[&current[..], &["--database", "postgresql"]].concat()).unwrap();
        assert!(
            database.starts_with("DATABASE=postgresql is the testbed's")
                && database.contains("database.mode=external"),
            "{database}"
        );
        let registry = refusal(&["--registry", "registry.example.com/x"]).unwrap();
        assert!(
            registry.starts_with("REGISTRY is for CLUSTER=current"),
            "{registry}"
        );
        // What each of them is for.
        assert_eq!(refusal(&["--database", "postgresql"]), None);
        let pushed = [&current[..], &["--registry", "registry.example.com/x"]].concat();
        assert_eq!(refusal(&pushed), None);
        assert_eq!(refusal(&[]), None);
        assert_eq!(refusal(&current), None);
    }

    /// Whoever works in another terminal may switch it while programs are built.
    #[test]
    fn a_context_that_becomes_current_meanwhile_is_not_followed() {
        let machine = Machine::new("kind-first", "v1.35.0", &["kind"]);
        let path = machine.path();
        let target = Target::current(&path).unwrap();
        machine.is_in("kind-second", "v1.35.0");
        for (command, flag) in [
            (target.kubectl(), "--context=kind-first"),
            (target.helm(), "--kube-context=kind-first"),
        ] {
            assert!(command.get_args().eq([flag]), "{command:?}");
        }
        let Sort::Kind { name, .. } = target.sort(&path).unwrap() else {
            panic!("another sort");
        };
        assert_eq!(name, "first");
    }
}
