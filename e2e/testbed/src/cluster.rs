//! A whole one-node cluster: control plane, containerd, kubelet, kube-proxy, DNS, volumes.
//!
//! One start takes over whatever an earlier one left, by first releasing everything that is marked as this
//! testbed's. A state folder whose first start was completed keeps its data (etcd, images, volumes), so a cluster
//! survives a reboot; one that was not is begun anew.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;

use crate::cleanup::RECORD;
use crate::control_plane::{Addresses, Setup, wait_for_default_service_account};
use crate::kubectl::Kubectl;
use crate::network::{Kind, Network};
use crate::paths::Site;
use crate::process::{Host, Lifetime, Process, mark};
use crate::{addons, cleanup, network, node, state};

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Its name: unique on the machine.
    pub name: String,
    /// Where its data goes; a temporary place below the cache if none.
    pub state: Option<PathBuf>,
    /// Which network namespace it lives in.
    pub network: Kind,
    /// Whether it ends with this process.
    pub lifetime: Lifetime,
    /// The controller manager's client limit, in requests per second.
    pub controller_requests_per_second: u32,
}

impl ClusterOptions {
    /// A cluster for tests: in a network namespace of its own, ending with this process.
    #[must_use]
    pub fn for_tests(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            state: None,
            network: Kind::Own,
            lifetime: Lifetime::Tied,
            controller_requests_per_second: 200,
        }
    }

    /// The cluster's name and folders.
    pub fn site(&self) -> Result<Site> {
        match &self.state {
            Some(state) => Site::new(&self.name, state),
            None => Site::new(
                &self.name,
                &crate::paths::cache()?.join("clusters").join(&self.name),
            ),
        }
    }
}

/// A running cluster. One that is tied to this process is removed when dropped.
#[derive(Debug)]
pub struct Cluster {
    processes: Vec<Process>,
    site: Site,
    network: Network,
    lifetime: Lifetime,
    // Held while this cluster is being started, and as long as a tied one lives.
    _lock: Option<File>,
}

impl Cluster {
    /// Starts a cluster and waits until its node is Ready and its DNS answers.
    pub fn start(options: &ClusterOptions) -> Result<Self> {
        let site = options.site()?;
        let lock = state::lock(&site)?;
        state::prepare(&site, options.lifetime)?;
        let network = network::create(&site, options.network)?;
        state::write_record(&site, Some(network.clone()), false)?;
        let host = Host {
            mark: mark(&site.name),
            logs: site.logs(),
            network: network.namespace.clone(),
            lifetime: options.lifetime,
        };
        let mut cluster = Self {
            processes: Vec::new(),
            site,
            network,
            lifetime: options.lifetime,
            _lock: Some(lock),
        };
        cluster.bring_up(&host, options.controller_requests_per_second)?;
        state::write_record(&cluster.site, Some(cluster.network.clone()), true)?;
        if cluster.lifetime == Lifetime::Detached {
            cluster._lock = None;
        }
        Ok(cluster)
    }

    /// A cluster that another process started, e.g. `testbed up --name NAME`.
    pub fn attach(site: &Site) -> Result<Self> {
        let record = state::read_record(site)?.with_context(|| {
            format!(
                "no testbed {:?} in {}: run `testbed up`",
                site.name,
                site.state.display()
            )
        })?;
        let network = record.network.filter(|_| record.complete).with_context(|| {
            format!(
                "the testbed {:?} is not completely up: run `testbed up` again",
                site.name
            )
        })?;
        Ok(Self {
            processes: Vec::new(),
            site: site.clone(),
            network,
            lifetime: Lifetime::Detached,
            _lock: None,
        })
    }

    /// Whether all of its processes run and the node is Ready; says what is wrong if not.
    pub fn check(&self) -> Result<()> {
        let running = cleanup::marked_processes(&self.site)?;
        let wanted = [
            "etcd",
            "kube-apiserver",
            "kube-controller",
            "kube-scheduler",
            "containerd",
            "kubelet",
            "kube-proxy",
        ];
        for name in wanted {
            ensure!(
                running.iter().any(|(_, command)| command == name),
                "{name} is not running"
            );
        }
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        let ready = self
            .kubectl()?
            .run(&["get", "node", node::NODE, "-o", path, "--request-timeout=5s"])?;
        ensure!(ready == "True", "the node's condition Ready is {ready}");
        Ok(())
    }

    fn bring_up(&mut self, host: &Host, controller_requests_per_second: u32) -> Result<()> {
        let (site, network) = (self.site.clone(), self.network.clone());
        let addresses = Addresses {
            api: network.node,
            api_port: 6443,
            etcd_port: 12379,
            etcd_peer_port: 12380,
            controller_manager_port: 10257,
            scheduler_port: 10259,
            in_cluster: true,
        };
        let context = site.kernel_name();
        let setup = Setup::new(host, &site.state, addresses, &context)?;
        self.processes.push(setup.start_etcd()?);
        self.processes.push(setup.start_apiserver()?);
        // containerd unpacks images while the API server starts.
        let containerd = thread::scope(|scope| -> Result<Process> {
            let containerd = scope.spawn(|| node::start_containerd(&site, &setup));
            let apiserver = self.process("kube-apiserver")?;
            let ready = setup.wait_for_apiserver(apiserver);
            let containerd = containerd
                .join()
                .map_err(|_| anyhow!("starting containerd panicked"))??;
            ready.map(|()| containerd)
        })?;
        self.processes.push(containerd);
        self.processes
            .push(setup.start_controller_manager(controller_requests_per_second)?);
        self.processes.push(setup.start_scheduler()?);
        self.processes
            .push(node::start_kube_proxy(&site, &setup, &network)?);
        let mut kubelet = node::start_kubelet(&site, &setup, &network)?;
        let kubectl = setup.kubectl()?;
        let upstream = node::has_upstream(&site, &network);
        let manifests = format!(
            "{}---\n{}",
            addons::dns(upstream),
            addons::volumes(&site.path("volumes"))?
        );
        kubectl.apply(&manifests)?;
        let ready = node::wait_until_ready(&setup, &mut kubelet);
        self.processes.push(kubelet);
        ready?;
        wait_for_default_service_account(&kubectl)?;
        addons::wait_for_dns(self)?;
        state::write_environment(&site)
    }

    /// Its name and folders.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The node's address: of the API server, reachable from the machine and from pods.
    #[must_use]
    pub fn node_address(&self) -> Ipv4Addr {
        self.network.node
    }

    /// Where pods (and processes in the cluster's network namespace) reach a process of the machine.
    #[must_use]
    pub fn machine_address(&self) -> Ipv4Addr {
        self.network.machine
    }

    /// Which network it lives in.
    #[must_use]
    pub fn network_kind(&self) -> Kind {
        self.network.kind
    }

    /// A kubeconfig of group system:masters, usable from the machine.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.site.path("kubeconfig")
    }

    /// The audit log: one JSON event per line, written before the answer of its request is sent.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.site.path("audit.log")
    }

    /// kubectl for this cluster.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::new(&self.kubeconfig())
    }

    /// A command that runs in the cluster's network namespace, where Services' addresses are reachable, with
    /// KUBECONFIG and PATH set, and what the installer of a control plane wrote to `threeport.env` (NAME=VALUE lines).
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = match &self.network.namespace {
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net={}", namespace.display()))
                    .arg("--")
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [self.site.path("bin")]
            .into_iter()
            .chain(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(folders) {
            command.env("PATH", path);
        }
        command.env("KUBECONFIG", self.kubeconfig());
        let installed = fs::read_to_string(self.site.path("threeport.env")).unwrap_or_default();
        command.envs(installed.lines().filter_map(|line| line.split_once('=')));
        command
    }

    /// Imports an image (an OCI archive) into the node.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        node::load_image(&self.site, archive)
    }

    /// Sends a signal to one of the cluster's programs (`kube-apiserver`, `kubelet`, `etcd`, ...), whoever started
    /// it: to pause (STOP, CONT) or to kill.
    pub fn signal(&self, program: &str, signal: Signal) -> Result<()> {
        let found = cleanup::signal(&self.site, program, signal)?;
        ensure!(
            found > 0,
            "no {program} of the testbed {:?} is running",
            self.site.name
        );
        Ok(())
    }

    /// Forgets the cluster as a killed process would: what runs stays for the next start of its name to clear away.
    pub fn abandon(mut self) {
        self.lifetime = Lifetime::Detached;
    }

    /// The process called `name`, if this process started it.
    pub fn process(&mut self, name: &str) -> Result<&mut Process> {
        self.processes
            .iter_mut()
            .find(|process| process.name() == name)
            .with_context(|| format!("this process did not start {name}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Tied {
            for process in &mut self.processes {
                // `remove` finds what is left.
                let _ = process.kill();
            }
            if let Err(error) = cleanup::remove(&self.site) {
                eprintln!("testbed: {error:#}");
            }
        }
    }
}

/// Stops a testbed and removes all that it made, also after an interrupted start.
pub fn down(site: &Site) -> Result<()> {
    let _lock = state::lock(site)?;
    let is_ours = state::read_record(site)?.is_some();
    if !is_ours {
        ensure!(
            state::is_empty(&site.state)?,
            "{} is no testbed's state folder: it has no {RECORD}; nothing was removed from it",
            site.state.display()
        );
        // The folder may be gone while processes and mounts are still there.
        cleanup::release(site)?;
        return cleanup::remove_folder(&site.run());
    }
    cleanup::remove(site)
}
