//! `make dev`: the control plane as processes of this machine against the testbed's cluster, with the very accounts
//! and rights that the chart gives its pods. It runs until Ctrl-C, and everything that it started ends with it.
//!
//! The data (SQLite, certificates, tokens) are in `dev/` of the testbed's state folder and outlive it.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use threeport_testbed::accounts::{Accounts, client_flags};
use threeport_testbed::paths::{create_folder, write_file};
use threeport_testbed::process::{Host, Lifetime, Process, Program, mark, output};
use threeport_testbed::{binaries, progress, wait};

use crate::environment::link_cli;
use crate::programs::{self, Profile, Programs};
use crate::release::RELEASE;
use crate::target::Target;
use crate::{Selection, Where};
use crate::{estimate, images};

/// The control plane's namespace: another one than that of `make up`, so that both can run.
const NAMESPACE: &str = "threeport-dev";
// Below the ephemeral range, and not among those that the testbed gives to tests.
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 27443);
const NATS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 27222);
const PROBES: u16 = 27080;
const ACCOUNTS: Accounts<'_> = Accounts {
    release: RELEASE,
    namespace: NAMESPACE,
    lifetime: "12h",
};
/// Tokens are renewed long before they end.
const TOKEN_RENEWAL: Duration = Duration::from_hours(6);

struct Dev {
    target: Target,
    programs: Programs,
    host: Host,
    folder: PathBuf,
}

/// Runs until a process ends or this one is stopped.
pub(crate) fn run(selection: &Selection) -> Result<()> {
    ensure!(
        selection.cluster == Where::Testbed,
        "`dev` needs the testbed's cluster"
    );
    forget_own_variables()?;
    let target = Target::testbed(selection, &[], |is_running| {
        estimate::of_dev(selection, is_running)
    })?;
    let programs = programs::provide(Profile::Dev, selection.programs.as_deref())?;
    let folder = target.path("dev");
    create_folder(&folder)?;
    let site = target.cluster().context("no testbed")?.site().clone();
    let host = Host {
        mark: mark(&site.name),
        logs: folder.join("log"),
        network: None,
        lifetime: Lifetime::Tied,
    };
    let dev = Dev {
        target,
        programs,
        host,
        folder,
    };
    dev.refuse_second()?;
    images::provide_sample(&dev.target, &dev.programs)?;
    dev.prepare()?;
    let mut processes = dev.start()?;
    dev.write_environment()?;
    println!(
        "\nThe control plane runs until Ctrl-C; logs are in {}. In another shell:\n\n  . {}\n  tptctl get all",
        dev.host.logs.display(),
        dev.folder.join("env").display()
    );
    dev.watch(&mut processes)
}

impl Dev {
    fn refuse_second(&self) -> Result<()> {
        for address in [API, NATS] {
            ensure!(
                TcpStream::connect(address).is_err(),
                "something listens on {address} already: is another `make dev` running?"
            );
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn prepare(&self) -> Result<()> {
        progress::step(
            "Prepare accounts, certificates and the database",
            Duration::from_secs(5),
            || {
                self.target.apply(&ACCOUNTS.manifests(self.target.helm())?)?;
                self.write_credentials()?;
                let mut bootstrap = Command::new(self.programs.path("threeport-api")?);
                bootstrap.args(["bootstrap", "--dns=localhost", "--dns=127.0.0.1", "--directory"]);
                output(bootstrap.arg(&self.folder))?;
                let mut migrate = Command::new(self.programs.path("threeport-api")?);
                output(
                    migrate
                        .arg("migrate")
                        .env("THREEPORT_DATABASE_URL", self.database()),
                )
                .map(|_| ())
            },
        )
    }

    fn write_credentials(&self) -> Result<()> {
        ACCOUNTS.write_credentials(&self.folder, |arguments| self.target.run_kubectl(arguments))
    }

    fn database(&self) -> String {
        format!("sqlite://{}", self.path("threeport.db").display())
    }

    fn start(&self) -> Result<Vec<Process>> {
        progress::step(
            "Start NATS, API, operator and agent",
            Duration::from_secs(10),
            || {
                let mut processes = vec![self.start_nats()?];
                processes.push(self.start_api()?);
                for role in ["facade", "controllers"] {
                    processes.push(self.start_operator(role)?);
                }
                processes.push(self.start_agent()?);
                Ok(processes)
            },
        )
    }

    fn start_nats(&self) -> Result<Process> {
        let text = format!(
            "listen: {NATS}\ntls {{ cert_file: \"{0}/nats.crt\", key_file: \"{0}/nats.key\" }}\n\
             jetstream {{ store_dir: \"{0}/jetstream\", max_memory_store: 64MiB, max_file_store: 0 }}\ninclude auth.conf\n",
            self.folder.display()
        );
        let config = self.path("nats.conf");
        write_file(&config, text)?;
        let program = Program::new("nats", binaries::path("nats-server")?)
            .arg("--config")
            .arg(config);
        self.started(program, NATS)
    }

    fn start_api(&self) -> Result<Process> {
        let mut program = Program::new("api", self.programs.path("threeport-api")?)
            .arg("serve")
            .flag("--listen", API.to_string())
            .flag("--probes-listen", probes(0).to_string())
            .args(ACCOUNTS.api_flags(&self.folder))
            .args(self.nats_flags("api"));
        program
            .env
            .push(("THREEPORT_DATABASE_URL".to_owned(), self.database().into()));
        self.started(program, probes(0))
    }

    fn start_operator(&self, role: &str) -> Result<Process> {
        let address = probes(if role == "facade" { 1 } else { 2 });
        let program = Program::new(role, self.programs.path("threeport-operator")?)
            .flag("--role", role)
            .flag("--namespace", NAMESPACE)
            .args(self.client_flags(role, address))
            .args(self.nats_flags("controllers"));
        self.started(program, address)
    }

    fn start_agent(&self) -> Result<Process> {
        let address = probes(3);
        let program = Program::new("agent", self.programs.path("threeport-agent")?)
            .args(self.client_flags("agent", address));
        self.started(program, address)
    }

    fn client_flags(&self, account: &str, probes: SocketAddr) -> Vec<String> {
        let mut flags = client_flags(&self.folder, account, &format!("https://{API}"));
        flags.push(format!("--probes-listen={probes}"));
        flags
    }

    fn nats_flags(&self, user: &str) -> Vec<String> {
        vec![
            format!("--nats-url=tls://localhost:{}", NATS.port()),
            format!("--nats-ca={}", self.path("ca.crt").display()),
            format!("--nats-user={user}"),
            format!(
                "--nats-password-file={}",
                self.path(&format!("nats-{user}-password")).display()
            ),
        ]
    }

    /// Starts a program and waits until it listens on the address.
    fn started(&self, mut program: Program, address: SocketAddr) -> Result<Process> {
        let level = std::env::var_os("RUST_LOG").unwrap_or_else(|| "info".into());
        program.env.push(("RUST_LOG".to_owned(), level));
        let what = format!("wait for {}", program.name);
        let mut process = self.host.start(program)?;
        wait::served(&mut process, &what, Duration::from_secs(30), || {
            TcpStream::connect(address)
                .map(|_| ())
                .with_context(|| format!("nothing listens on {address}"))
        })?;
        Ok(process)
    }

    fn write_environment(&self) -> Result<()> {
        let folder = self.path("bin");
        link_cli(&folder, self.programs.path("tptctl")?)?;
        let tools = self.target.path("bin");
        let cluster = self.target.cluster().context("no testbed")?;
        let lines = [
            format!("export PATH=\"{}:{}:$PATH\"", folder.display(), tools.display()),
            format!("export KUBECONFIG=\"{}\"", cluster.kubeconfig().display()),
            format!("export THREEPORT_SERVER=\"https://localhost:{}\"", API.port()),
            format!("export THREEPORT_CA_FILE=\"{}\"", self.path("ca.crt").display()),
            format!(
                "export THREEPORT_TOKEN_FILE=\"{}\"",
                self.path("admin-token").display()
            ),
            format!("export THREEPORT_NAMESPACE=\"{NAMESPACE}\""),
        ];
        write_file(&self.path("env"), lines.join("\n") + "\n")
    }

    /// Renews tokens, and ends with an error when a process does.
    fn watch(&self, processes: &mut [Process]) -> Result<()> {
        let mut renewed = Instant::now();
        loop {
            for process in &mut *processes {
                if let Some(status) = process.exit_status()? {
                    bail!(
                        "{} ended with {status}; the end of its log:\n{}",
                        process.name(),
                        process.log_tail()
                    );
                }
            }
            if renewed.elapsed() >= TOKEN_RENEWAL {
                self.write_credentials()?;
                renewed = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Starts this program anew without the variables that a shell has from sourcing `env`: the programs would read them
/// as flags.
fn forget_own_variables() -> Result<()> {
    let names = std::env::vars_os().map(|(name, _)| name);
    let own = names
        .filter(|name| name.to_str().is_some_and(|name| name.starts_with("THREEPORT_")))
        .collect::<Vec<_>>();
    if own.is_empty() {
        return Ok(());
    }
    let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
    command.args(std::env::args_os().skip(1));
    for name in own {
        command.env_remove(name);
    }
    Err(command.exec()).context("failed to start this program anew")
}

fn probes(index: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, PROBES + index))
}
