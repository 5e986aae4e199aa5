//! `threeport-api` as processes of this test's own, on a database of its own.

use std::{net::TcpListener, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use threeport_client::{Client, Options, Token};
use threeport_e2e::{programs, wait_until};
use tokio::process::{Child, Command};
use uuid::Uuid;

const PROGRAM: &str = "threeport-api";

/// What several processes share: a database, certificates, the admin token.
pub(crate) struct Installation {
    directory: PathBuf,
    database_url: String,
}

/// One running `threeport-api`; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) client: Client,
}

async fn checked(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("failed to run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The PostgreSQL of `THREEPORT_TEST_DATABASES` (`name=url,name=url`).
fn postgresql() -> Result<String> {
    let list = threeport_e2e::world::variable("THREEPORT_TEST_DATABASES")?;
    let found = list
        .split(',')
        .find_map(|entry| entry.trim().strip_prefix("postgresql=").map(str::to_owned));
    found.context("THREEPORT_TEST_DATABASES has no postgresql=URL: a missing PostgreSQL is a failure")
}

impl Installation {
    /// A fresh database with the newest schema, and fresh certificates.
    pub(crate) async fn new() -> Result<Self> {
        let server = postgresql()?;
        let database = format!("processes_{}", Uuid::new_v4().simple());
        checked(
            Command::new("psql")
                .arg(&server)
                .args(["-q", "-c", &format!("CREATE DATABASE {database}")]),
        )
        .await?;
        let (base, query) = server
            .split_once('?')
            .map_or((server.as_str(), None), |(base, query)| (base, Some(query)));
        let (base, _) = base
            .rsplit_once('/')
            .context("the PostgreSQL URL names no database")?;
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Self::on(format!("{base}/{database}{query}")).await
    }

    /// The same on a database that is there and empty.
    pub(crate) async fn on(database_url: String) -> Result<Self> {
        threeport_telemetry::init();
        let name = format!("processes-{}", Uuid::new_v4().simple());
        let installation = Self {
            directory: std::env::temp_dir().join(name),
            database_url,
        };
        checked(
            Command::new(programs::path(PROGRAM)?)
                .args(["bootstrap", "--dns", "localhost", "--directory"])
                .arg(&installation.directory),
        )
        .await?;
        checked(
            Command::new(programs::path(PROGRAM)?)
                .arg("migrate")
                .env("THREEPORT_DATABASE_URL", &installation.database_url),
        )
        .await?;
        Ok(installation)
    }

    /// Where the database really is.
    pub(crate) fn database_url(&self) -> &str {
        &self.database_url
    }

    /// What the bootstrap made: `ca.crt`, `admin-token` and so on.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Starts a process and waits until it answers.
    pub(crate) async fn start(&self) -> Result<Process> {
        self.start_at(&self.database_url).await
    }

    /// The same, with something between the process and its database. A port that was free a moment ago may be taken
    /// by then: others are tried.
    pub(crate) async fn start_at(&self, database_url: &str) -> Result<Process> {
        let mut started = self.try_start(database_url).await;
        for _ in 0..4 {
            if started.is_ok() {
                break;
            }
            started = self.try_start(database_url).await;
        }
        started
    }

    async fn try_start(&self, database_url: &str) -> Result<Process> {
        let (port, probes) = (free_port()?, free_port()?);
        let file = |name: &str| self.file(name);
        let child = Command::new(programs::path(PROGRAM)?)
            .arg("serve")
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg(format!("--probes-listen=127.0.0.1:{probes}"))
            .arg("--tls-certificate")
            .arg(file("api.crt"))
            .arg("--tls-key")
            .arg(file("api.key"))
            .arg("--encryption-key-file")
            .arg(file("encryption-key"))
            .arg("--admin-token-file")
            .arg(file("admin-token"))
            .env("THREEPORT_DATABASE_URL", database_url)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start threeport-api")?;
        let mut options = Options::new(format!("https://localhost:{port}"), "threeport-e2e");
        options.ca_file = Some(file("ca.crt"));
        options.token = Some(Token::file(file("admin-token")));
        let client = Client::new(options)?;
        let mut process = Process {
            child,
            client: client.clone(),
        };
        let answered = wait_until("threeport-api answers", Duration::from_secs(20), || async {
            Ok(client
                .ready()
                .await
                .map(drop)
                .map_err(|error| format!("{error:#}")))
        });
        tokio::select! {
            answered = answered => answered?,
            ended = process.child.wait() => bail!("threeport-api ended: {ended:?}"),
        }
        Ok(process)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Process {
    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("failed to kill threeport-api")
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
