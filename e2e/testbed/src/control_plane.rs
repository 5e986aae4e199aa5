//! etcd, kube-apiserver, kube-controller-manager, kube-scheduler: the programs of a Kubernetes control plane, for
//! a whole cluster ([`crate::cluster`]) and bare ([`ControlPlane`]).

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::certificates::{Authority, key_pair};
use crate::kubectl::Kubectl;
use crate::network::{API_SERVICE, HOST_NODE, SERVICE_RANGE};
use crate::paths::write_file;
use crate::process::{Host, Lifetime, Process, Program, mark};
use crate::scratch::Scratch;
use crate::{binaries, kubeconfig, ports, wait};

/// Its last rule, for what no other one takes, is for who starts the control plane.
const AUDIT_POLICY: &str = include_str!("../manifests/audit-policy.yaml");
const DEADLINE: Duration = Duration::from_secs(90);

/// Where a control plane listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// The API server's address.
    pub(crate) api: Ipv4Addr,
    pub(crate) api_port: u16,
    pub(crate) etcd_port: u16,
    pub(crate) etcd_peer_port: u16,
    pub(crate) controller_manager_port: u16,
    pub(crate) scheduler_port: u16,
    /// Whether pods reach the API server by the `kubernetes` Service.
    pub(crate) in_cluster: bool,
}

/// The folders and the authority of a control plane.
pub(crate) struct Setup<'a> {
    pub(crate) host: &'a Host,
    pub(crate) state: &'a Path,
    pub(crate) addresses: Addresses,
    pub(crate) authority: Authority,
    pub(crate) context: &'a str,
    /// Whether the audit log has what requests carry.
    pub(crate) audit_bodies: bool,
}

impl<'a> Setup<'a> {
    /// Makes keys, certificates and kubeconfigs. Certificates are issued anew at each start, by the same authority.
    pub(crate) fn new(
        host: &'a Host,
        state: &'a Path,
        addresses: Addresses,
        context: &'a str,
    ) -> Result<Self> {
        let pki = state.join("pki");
        let authority = Authority::load_or_create(&pki, "ca")?;
        key_pair(&pki, "service-account")?;
        let mut names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
        ]
        .map(str::to_owned)
        .to_vec();
        names.push("kubernetes.default.svc.cluster.local".to_owned());
        names.extend([Ipv4Addr::LOCALHOST, API_SERVICE, addresses.api].map(|address| address.to_string()));
        authority
            .issue("kube-apiserver", None, &names)?
            .write(&pki, "apiserver")?;
        authority
            .issue("kube-apiserver-kubelet-client", Some("system:masters"), &[])?
            .write(&pki, "kubelet-client")?;
        let setup = Self {
            host,
            state,
            addresses,
            authority,
            context,
            audit_bodies: false,
        };
        setup.kubeconfig("kubeconfig", "testbed-admin", Some("system:masters"))?;
        setup.kubeconfig(
            "controller-manager.kubeconfig",
            "system:kube-controller-manager",
            None,
        )?;
        setup.kubeconfig("scheduler.kubeconfig", "system:kube-scheduler", None)?;
        Ok(setup)
    }

    /// Writes a kubeconfig for a user of the API.
    pub(crate) fn kubeconfig(&self, file: &str, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let path = self.state.join(file);
        let issued = self.authority.issue(user, group, &[])?;
        let server = format!("https://{}:{}", self.addresses.api, self.addresses.api_port);
        kubeconfig::write(&path, self.context, &server, &self.authority, &issued)?;
        Ok(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    pub(crate) fn start_etcd(&self) -> Result<Process> {
        let client = format!("http://127.0.0.1:{}", self.addresses.etcd_port);
        let peer = format!("http://127.0.0.1:{}", self.addresses.etcd_peer_port);
        self.host.start(
            Program::new("etcd", binaries::path("etcd")?)
                .flag("--data-dir", self.file("etcd"))
                .flag("--listen-client-urls", &client)
                .flag("--advertise-client-urls", &client)
                .flag("--listen-peer-urls", &peer)
                .flag("--initial-advertise-peer-urls", &peer)
                .flag("--initial-cluster", format!("default={peer}"))
                // A trial's data need not survive a power failure, and fsync is most of etcd's time.
                .arg("--unsafe-no-fsync"),
        )
    }

    fn write_audit_policy(&self) -> Result<()> {
        let level = if self.audit_bodies { "Request" } else { "Metadata" };
        write_file(
            &self.file("audit-policy.yaml"),
            format!("{AUDIT_POLICY}  - level: {level}\n"),
        )
    }

    pub(crate) fn start_apiserver(&self) -> Result<Process> {
        let Addresses {
            api,
            api_port,
            etcd_port,
            in_cluster,
            ..
        } = self.addresses;
        // The advertised address must not be a loopback one, even where nobody uses it.
        let advertised = if api.is_loopback() { HOST_NODE } else { api };
        let reconciler = if in_cluster { "lease" } else { "none" };
        self.write_audit_policy()?;
        self.host.start(
            Program::new("kube-apiserver", binaries::path("kube-apiserver")?)
                .flag("--etcd-servers", format!("http://127.0.0.1:{etcd_port}"))
                .flag("--bind-address", api.to_string())
                .flag("--secure-port", api_port.to_string())
                .flag("--advertise-address", advertised.to_string())
                .flag("--endpoint-reconciler-type", reconciler)
                .flag("--client-ca-file", self.file("pki/ca.crt"))
                .flag("--tls-cert-file", self.file("pki/apiserver.crt"))
                .flag("--tls-private-key-file", self.file("pki/apiserver.key"))
                .flag("--cert-dir", self.file("pki"))
                .flag("--service-account-key-file", self.file("pki/service-account.pub"))
                .flag(
                    "--service-account-signing-key-file",
                    self.file("pki/service-account.key"),
                )
                .flag("--service-account-issuer", "https://kubernetes.default.svc")
                .flag("--service-cluster-ip-range", SERVICE_RANGE)
                .flag("--authorization-mode", "Node,RBAC")
                .flag("--enable-admission-plugins", "NodeRestriction")
                .arg("--allow-privileged")
                .flag("--kubelet-preferred-address-types", "InternalIP")
                .flag("--kubelet-certificate-authority", self.file("pki/ca.crt"))
                .flag(
                    "--kubelet-client-certificate",
                    self.file("pki/kubelet-client.crt"),
                )
                .flag("--kubelet-client-key", self.file("pki/kubelet-client.key"))
                .flag("--audit-policy-file", self.file("audit-policy.yaml"))
                .flag("--audit-log-path", self.file("audit.log"))
                // Written before the answer is sent, so a test reads what it has just done.
                .flag("--audit-log-mode", "blocking")
                .flag("--audit-log-maxsize", "2000")
                .flag("--audit-log-maxbackup", "1"),
        )
    }

    /// `requests_per_second` limits the controllers' client: 20 is Kubernetes' default.
    pub(crate) fn start_controller_manager(&self, requests_per_second: u32) -> Result<Process> {
        self.host.start(
            Program::new(
                "kube-controller-manager",
                binaries::path("kube-controller-manager")?,
            )
            .flag("--kubeconfig", self.file("controller-manager.kubeconfig"))
            .flag("--bind-address", "127.0.0.1")
            .flag(
                "--secure-port",
                self.addresses.controller_manager_port.to_string(),
            )
            .flag("--cert-dir", self.file("pki"))
            .flag(
                "--service-account-private-key-file",
                self.file("pki/service-account.key"),
            )
            .flag("--root-ca-file", self.file("pki/ca.crt"))
            .flag("--cluster-signing-cert-file", self.file("pki/ca.crt"))
            .flag("--cluster-signing-key-file", self.file("pki/ca.key"))
            .arg("--use-service-account-credentials")
            .flag("--kube-api-qps", requests_per_second.to_string())
            .flag("--kube-api-burst", (requests_per_second * 2).to_string())
            .flag("--leader-elect", "false"),
        )
    }

    pub(crate) fn start_scheduler(&self) -> Result<Process> {
        self.host.start(
            Program::new("kube-scheduler", binaries::path("kube-scheduler")?)
                .flag("--kubeconfig", self.file("scheduler.kubeconfig"))
                .flag("--bind-address", "127.0.0.1")
                .flag("--secure-port", self.addresses.scheduler_port.to_string())
                .flag("--cert-dir", self.file("pki"))
                .flag("--kube-api-qps", "500")
                .flag("--kube-api-burst", "1000")
                .flag("--leader-elect", "false"),
        )
    }

    pub(crate) fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::new(&self.file("kubeconfig"))
    }

    pub(crate) fn wait_for_apiserver(&self, apiserver: &mut Process) -> Result<()> {
        let kubectl = self.kubectl()?;
        let Addresses { api, api_port, .. } = self.addresses;
        wait::served(apiserver, "wait for the API server to be ready", DEADLINE, || {
            // A connection costs nothing; kubectl as often would take a core away from what it waits for.
            TcpStream::connect((api, api_port)).context("its port is closed")?;
            kubectl.run(&["get", "--raw", "/readyz"]).map(|_| ())
        })
    }
}

/// What a bare control plane runs.
#[derive(Clone, Debug)]
pub struct ControlPlaneOptions {
    /// The name of its kubeconfig's context.
    pub name: String,
    /// Whether kube-controller-manager runs (garbage collection, namespace deletion, ServiceAccounts).
    pub controller_manager: bool,
    /// Simulated nodes; more than none runs controller manager, scheduler and kwok.
    pub nodes: u32,
    /// The controller manager's client limit, in requests per second.
    pub controller_requests_per_second: u32,
    /// Whether the audit log has what requests carry, Secrets included.
    pub audit_bodies: bool,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        Self {
            name: "testbed".to_owned(),
            controller_manager: false,
            nodes: 0,
            controller_requests_per_second: 500,
            audit_bodies: false,
        }
    }
}

/// A real API server with etcd on free loopback ports, without a node: ready in seconds, several at once. It
/// stops when dropped, and with the process that started it.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: what uses the API before the API, that before etcd, the folder last.
    processes: Vec<Process>,
    files: ControlPlaneFiles,
    _folder: Scratch,
    url: String,
}

/// Where the folder of a bare control plane is told to those who share it.
pub const SHARED_CONTROL_PLANE: &str = "THREEPORT_TEST_CONTROL_PLANE";

/// What clients of a bare control plane need of it, whoever started it.
#[derive(Clone, Debug)]
pub struct ControlPlaneFiles {
    folder: PathBuf,
}

impl ControlPlaneFiles {
    /// Of the one in the folder that [`SHARED_CONTROL_PLANE`] names; nothing where nobody shares one.
    #[must_use]
    pub fn shared() -> Option<Self> {
        let folder = std::env::var_os(SHARED_CONTROL_PLANE)?.into();
        Some(Self { folder })
    }

    /// The folder of it all.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A kubeconfig of group system:masters.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The audit log: one JSON event per line, written before the answer of its request is sent.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// kubectl for it.
    pub fn kubectl(&self) -> Result<Kubectl> {
        Kubectl::new(&self.kubeconfig())
    }
}

impl ControlPlane {
    /// Starts it and waits until the API answers as ready.
    pub fn start(options: &ControlPlaneOptions) -> Result<Self> {
        let folder = Scratch::new("control-plane")?;
        let host = Host {
            mark: mark("bare"),
            logs: folder.path().join("log"),
            network: None,
            lifetime: Lifetime::Tied,
        };
        let addresses = Addresses {
            api: Ipv4Addr::LOCALHOST,
            api_port: ports::free()?,
            etcd_port: ports::free()?,
            etcd_peer_port: ports::free()?,
            controller_manager_port: ports::free()?,
            scheduler_port: ports::free()?,
            in_cluster: false,
        };
        let mut setup = Setup::new(&host, folder.path(), addresses, &options.name)?;
        setup.audit_bodies = options.audit_bodies;
        let etcd = setup.start_etcd()?;
        let mut apiserver = setup.start_apiserver()?;
        setup.wait_for_apiserver(&mut apiserver)?;
        let mut processes = vec![apiserver, etcd];
        if options.controller_manager || options.nodes > 0 {
            processes.insert(
                0,
                setup.start_controller_manager(options.controller_requests_per_second)?,
            );
            wait_for_default_service_account(&setup.kubectl()?)?;
        }
        if options.nodes > 0 {
            processes.insert(0, setup.start_scheduler()?);
            processes.insert(0, crate::kwok::start(&setup, options.nodes)?);
        }
        let files = ControlPlaneFiles {
            folder: folder.path().to_owned(),
        };
        let url = format!("https://127.0.0.1:{}", addresses.api_port);
        Ok(Self {
            processes,
            files,
            _folder: folder,
            url,
        })
    }

    /// What its clients need.
    #[must_use]
    pub fn files(&self) -> &ControlPlaneFiles {
        &self.files
    }

    /// The API's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate of the authority that its clients must trust, PEM.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.files.folder.join("pki/ca.crt")
    }

    /// A kubeconfig of group system:masters.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.files.kubeconfig()
    }

    /// The audit log: see [`ControlPlaneFiles::audit_log`].
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.files.audit_log()
    }

    /// kubectl for this control plane.
    pub fn kubectl(&self) -> Result<Kubectl> {
        self.files.kubectl()
    }

    /// The process called `name` (`kube-apiserver`, `etcd`, ...), to pause or kill it.
    pub fn process(&mut self, name: &str) -> Result<&mut Process> {
        self.processes
            .iter_mut()
            .find(|process| process.name() == name)
            .with_context(|| format!("this control plane runs no {name}"))
    }
}

/// Pods can't be created in `default` before its ServiceAccount is there.
pub(crate) fn wait_for_default_service_account(kubectl: &Kubectl) -> Result<()> {
    let seconds = DEADLINE.as_secs();
    kubectl
        .run(&[
            "wait",
            "serviceaccount/default",
            "--namespace=default",
            "--for=create",
            &format!("--timeout={seconds}s"),
        ])
        .map(drop)
        .context("the controllers do not work")
}
