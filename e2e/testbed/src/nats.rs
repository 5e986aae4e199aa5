//! A NATS server with JetStream, on a free port.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::certificates::Authority;
use crate::paths::write_file;
use crate::process::{Host, Lifetime, Process, Program, mark};
use crate::scratch::Scratch;
use crate::{binaries, cleanup, ports, wait};

const DEADLINE: Duration = Duration::from_secs(20);

/// Who may connect.
#[derive(Clone, Debug, Default)]
pub enum Authentication {
    /// Everybody.
    #[default]
    None,
    /// Whoever has the token.
    Token(String),
    /// These users, by name and password, with all rights.
    Users(Vec<(String, String)>),
}

/// How a server is made.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// The address to listen on; a test that is reached from pods listens on the cluster's machine address.
    pub address: Ipv4Addr,
    /// Whether connections use TLS, with a certificate of [`Nats::authority`].
    pub tls: bool,
    /// Who may connect.
    pub authentication: Authentication,
    /// Further lines of the server's configuration file.
    pub configuration: String,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST,
            tls: false,
            authentication: Authentication::None,
            configuration: String::new(),
        }
    }
}

/// A real nats-server with JetStream. It stops when dropped, and with the process that started it.
#[derive(Debug)]
pub struct Nats {
    process: Option<Process>,
    address: SocketAddr,
    tls: bool,
    folder: Scratch,
}

impl Nats {
    /// Starts it and waits until JetStream is enabled.
    pub fn start(options: &NatsOptions) -> Result<Self> {
        let folder = Scratch::new("nats")?;
        let address = SocketAddr::from((options.address, ports::free()?));
        if options.tls {
            let authority = Authority::new("testbed-nats")?;
            write_file(&folder.join("ca.crt"), authority.certificate())?;
            let names = ["localhost".to_owned(), options.address.to_string()];
            authority
                .issue("nats", None, &names)?
                .write(folder.path(), "server")?;
        }
        write_file(
            &folder.join("nats.conf"),
            configuration(options, address, &folder),
        )?;
        let mut server = Self {
            process: None,
            address,
            tls: options.tls,
            folder,
        };
        server.resume()?;
        Ok(server)
    }

    /// Where it listens; clients of a server without TLS use `nats://` and this.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL, without credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "tls" } else { "nats" }, self.address)
    }

    /// The certificate of the authority that a client must trust, PEM, if TLS is on.
    #[must_use]
    pub fn authority(&self) -> Option<PathBuf> {
        self.tls.then(|| self.folder.join("ca.crt"))
    }

    /// Stops it (SIGTERM); its address and storage stay for [`Nats::resume`].
    pub fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.stop(Duration::from_secs(10)),
            None => Ok(()),
        }
    }

    /// Starts it again on the same address and storage, if it is stopped.
    pub fn resume(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let host = Host {
            mark: mark("bare"),
            logs: self.folder.join("log"),
            network: None,
            lifetime: Lifetime::Tied,
        };
        let program = Program::new("nats-server", binaries::path("nats-server")?)
            .arg("--config")
            .arg(self.folder.join("nats.conf"));
        let mut process = host.start(program)?;
        wait::served(&mut process, "wait for NATS with JetStream", DEADLINE, || {
            greeting(self.address)
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Removes all that JetStream stored: streams, consumers, messages. A running server is restarted.
    pub fn wipe_storage(&mut self) -> Result<()> {
        let was_running = self.process.is_some();
        if let Some(mut process) = self.process.take() {
            process.kill()?;
        }
        cleanup::remove_folder(&self.folder.join("jetstream"))?;
        if was_running { self.resume() } else { Ok(()) }
    }

    /// The process, to pause or kill it.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("NATS is stopped")
    }
}

fn configuration(options: &NatsOptions, address: SocketAddr, folder: &Scratch) -> String {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let file = |name: &str| quote(&folder.join(name).display().to_string());
    let mut text = format!(
        "listen: \"{address}\"\njetstream {{ store_dir: {} }}\n",
        file("jetstream")
    );
    let authorization = match &options.authentication {
        Authentication::None => None,
        Authentication::Token(token) => Some(format!("token: {}", quote(token))),
        Authentication::Users(users) => {
            let user = |(name, password): &(String, String)| {
                format!("{{ user: {}, password: {} }}", quote(name), quote(password))
            };
            Some(format!(
                "users: [{}]",
                users.iter().map(user).collect::<Vec<_>>().join(", ")
            ))
        }
    };
    // Writing to a String can't fail.
    if let Some(authorization) = authorization {
        let _ = writeln!(text, "authorization {{ {authorization} }}");
    }
    if options.tls {
        let (certificate, key) = (file("server.crt"), file("server.key"));
        let _ = writeln!(text, "tls {{ cert_file: {certificate}, key_file: {key} }}");
    }
    text.push_str(&options.configuration);
    text
}

/// The server greets with its facts in clear before anything else, TLS included.
fn greeting(address: SocketAddr) -> Result<()> {
    let second = Duration::from_secs(1);
    let stream = TcpStream::connect_timeout(&address, second)?;
    stream.set_read_timeout(Some(second))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    ensure!(
        line.starts_with("INFO ") && line.contains("\"jetstream\":true"),
        "the server greeted with {line:?}"
    );
    Ok(())
}
