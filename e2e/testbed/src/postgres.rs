//! A PostgreSQL server of Debian's packages, as the user `postgres`, on a free port and in a folder of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::mount::mount_bind;
use rustix::process::Signal;

use crate::certificates::Authority;
use crate::paths::{Site, create_folder, write_file};
use crate::process::{Host, Lifetime, Process, Program, mark, output};
use crate::scratch::Scratch;
use crate::{password, ports, wait};

const DEADLINE: Duration = Duration::from_secs(60);
const SYSTEM_USER: &str = "postgres";
/// The database role that clients log in as: it may create databases, nothing more.
const ROLE: &str = "threeport";

/// How a server is made.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The address to listen on; a test that is reached from pods listens on the cluster's machine address.
    pub address: Ipv4Addr,
    /// Whether a commit waits for the disk. Off for tests of meaning, on for measurements.
    pub fsync: bool,
    /// `default_transaction_isolation`.
    pub isolation: String,
    /// Further settings of `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// An empty folder for what a new server logs ahead, on another disk perhaps; then in pieces of a MiB. None: beside its
    /// data.
    pub log_ahead: Option<PathBuf>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST,
            fsync: false,
            isolation: "read committed".to_owned(),
            settings: Vec::new(),
            log_ahead: None,
        }
    }
}

/// A real PostgreSQL with TLS. A tied one stops when dropped, and with the process that started it.
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    host: Host,
    binaries: PathBuf,
    /// What the server's user may enter: data, certificates, the administration socket.
    folder: PathBuf,
    address: SocketAddr,
    password: String,
    _scratch: Option<Scratch>,
}

/// The data folder of the server that belongs to a testbed.
pub(crate) fn data_of(site: &Site) -> PathBuf {
    site.run().join("postgres/data")
}

impl Postgres {
    /// Starts a server with a fresh data folder, for tests.
    pub fn start(options: &PostgresOptions) -> Result<Self> {
        let scratch = Scratch::new("postgres")?;
        let folder = scratch.join("server");
        create_folder(&folder)?;
        let host = Host {
            mark: mark("bare"),
            logs: scratch.join("log"),
            network: None,
            lifetime: Lifetime::Tied,
        };
        Self::open(options, host, folder, ports::free()?, Some(scratch))
    }

    /// Starts the server of a testbed, which `testbed down` stops; its data are kept in the state folder.
    pub fn start_detached(options: &PostgresOptions, site: &Site, port: u16) -> Result<Self> {
        // The state folder may lie below one that only root may enter; the server sees it elsewhere.
        let (kept, folder) = (site.path("postgres"), site.run().join("postgres"));
        create_folder(&kept)?;
        create_folder(&folder)?;
        mount_bind(&kept, &folder).with_context(|| format!("failed to mount {}", folder.display()))?;
        let host = Host {
            mark: mark(&site.name),
            logs: site.logs(),
            network: None,
            lifetime: Lifetime::Detached,
        };
        Self::open(options, host, folder, port, None)
    }

    fn open(
        options: &PostgresOptions,
        host: Host,
        folder: PathBuf,
        port: u16,
        scratch: Option<Scratch>,
    ) -> Result<Self> {
        let address = SocketAddr::from((options.address, port));
        let mut server = Self {
            process: None,
            host,
            binaries: binaries()?,
            folder,
            address,
            password: String::new(),
            _scratch: scratch,
        };
        server.initialize(options)?;
        server.resume()?;
        server.ensure_role()?;
        Ok(server)
    }

    fn initialize(&mut self, options: &PostgresOptions) -> Result<()> {
        let file = self.folder.join("password");
        if !file.exists() {
            write_file(&file, password::generate()?)?;
        }
        self.password = fs::read_to_string(&file).context("failed to read the database's password")?;
        self.give_to_server()?;
        if !self.data().join("PG_VERSION").exists() {
            self.make_data(options)?;
        }
        let authority = Authority::load_or_create(&self.folder, "ca")?;
        let names = ["localhost".to_owned(), self.address.ip().to_string()];
        authority
            .issue("postgres", None, &names)?
            .write(&self.data(), "server")?;
        write_file(&self.data().join("postgresql.auto.conf"), self.settings(options))?;
        write_file(
            &self.data().join("pg_hba.conf"),
            format!("local all postgres trust\nhostssl all {ROLE} all scram-sha-256\n"),
        )?;
        self.give_to_server()
    }

    fn make_data(&self, options: &PostgresOptions) -> Result<()> {
        crate::cleanup::remove_folder(&self.data())?;
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--init-groups"])
            .arg(self.binaries.join("initdb"))
            .args([
                "--username=postgres",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
            ])
            .args([
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
            ])
            .arg("--pgdata")
            .arg(self.data())
            .current_dir("/");
        if let Some(folder) = &options.log_ahead {
            give(folder)?;
            command.args(["--wal-segsize=1", "--waldir"]).arg(folder);
        }
        output(&mut command)
            .map(drop)
            .context("failed to create PostgreSQL's data folder")
    }

    fn give_to_server(&self) -> Result<()> {
        give(&self.folder)
    }

    fn settings(&self, options: &PostgresOptions) -> String {
        let on = |value: bool| if value { "on" } else { "off" }.to_owned();
        let mut settings = vec![
            ("listen_addresses".to_owned(), self.address.ip().to_string()),
            ("port".to_owned(), self.address.port().to_string()),
            (
                "unix_socket_directories".to_owned(),
                self.folder.display().to_string(),
            ),
            ("ssl".to_owned(), "on".to_owned()),
            ("fsync".to_owned(), on(options.fsync)),
            // Also without fsync: what is acknowledged outlives the server, though not the machine.
            ("synchronous_commit".to_owned(), "on".to_owned()),
            ("full_page_writes".to_owned(), on(options.fsync)),
            ("max_connections".to_owned(), "200".to_owned()),
            (
                "default_transaction_isolation".to_owned(),
                options.isolation.clone(),
            ),
        ];
        settings.extend(options.settings.iter().cloned());
        settings
            .iter()
            .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
            .collect()
    }

    fn ensure_role(&self) -> Result<()> {
        // By a file: arguments can be read by everybody.
        let statements = self.folder.join("role.sql");
        write_file(
            &statements,
            format!(
                "DO $$ BEGIN CREATE ROLE {ROLE} LOGIN CREATEDB; EXCEPTION WHEN duplicate_object THEN NULL; END $$;\n\
                 ALTER ROLE {ROLE} PASSWORD '{}';\n\
                 GRANT CREATE ON DATABASE postgres TO {ROLE};\n",
                password::verifier(&self.password)?
            ),
        )?;
        let created = self.psql("postgres", &["--file", &statements.display().to_string()]);
        fs::remove_file(&statements).context("failed to remove a temporary file")?;
        created.map(|_| ())
    }

    /// Creates a database, as a copy of `template` if one is given (nobody may be connected to that), and gives its URL.
    pub fn create_database(&self, name: &str, template: Option<&str>) -> Result<String> {
        for name in [Some(name), template].into_iter().flatten() {
            ensure_plain(name)?;
        }
        let template = template.unwrap_or("template1");
        let statement = format!("CREATE DATABASE \"{name}\" OWNER {ROLE} TEMPLATE \"{template}\"");
        self.execute("postgres", &statement)?;
        Ok(self.url(name))
    }

    /// Creates a database whose data lie in an empty folder of their own, on another disk perhaps, and gives its URL. What
    /// the server logs ahead stays where it is.
    pub fn create_database_in(&self, name: &str, folder: &Path) -> Result<String> {
        ensure_plain(name)?;
        give(folder)?;
        let folder = folder.display();
        self.execute(
            "postgres",
            &format!("CREATE TABLESPACE \"{name}\" LOCATION '{folder}'"),
        )?;
        let statement = format!("CREATE DATABASE \"{name}\" OWNER {ROLE} TABLESPACE \"{name}\"");
        self.execute("postgres", &statement)?;
        Ok(self.url(name))
    }

    /// Creates a database unless it exists, and gives its URL.
    pub fn ensure_database(&self, name: &str) -> Result<String> {
        let query = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
        if self.execute("postgres", &query)?.trim() == "1" {
            return Ok(self.url(name));
        }
        self.create_database(name, None)
    }

    /// Runs a statement as the superuser and gives the rows, columns separated by `|`.
    pub fn execute(&self, database: &str, statement: &str) -> Result<String> {
        self.psql(database, &["--command", statement])
    }

    fn psql(&self, database: &str, arguments: &[&str]) -> Result<String> {
        let port = self.address.port();
        psql(&self.binaries, &self.folder, port, database, arguments)
    }

    /// The URL of a database, with credentials. TLS is required; the authority is [`Postgres::authority`].
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{ROLE}:{}@{}/{database}?sslmode=require",
            self.password, self.address
        )
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of the authority that issued the server's, PEM.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Stops it, ending its sessions; address and data stay for [`Postgres::resume`].
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.signal(Signal::INT)?;
        wait::until("stop PostgreSQL", DEADLINE, || {
            process.exit_status()?.context("still running")
        })?;
        Ok(())
    }

    /// SIGKILL to the server: its sessions end as they notice; [`Postgres::resume`] recovers.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Starts it again, if it is stopped.
    pub fn resume(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        // Sessions of a killed server hold its shared memory until they notice, and a new one refuses to start.
        self.process = Some(wait::until("start PostgreSQL", DEADLINE, || self.try_start())?);
        Ok(())
    }

    fn try_start(&self) -> Result<Process> {
        let mut program = Program::new("postgres", self.binaries.join("postgres"))
            .arg("-D")
            .arg(self.data());
        program.user = Some(SYSTEM_USER.to_owned());
        // An immediate shutdown: unlike SIGKILL, it removes the shared memory.
        program.death_signal = Some("QUIT");
        let mut process = self.host.start(program)?;
        wait::served(&mut process, "wait for PostgreSQL", DEADLINE, || {
            self.execute("postgres", "SELECT 1")
        })?;
        Ok(process)
    }

    /// The server's process, to pause it.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("PostgreSQL is stopped")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.host.lifetime == Lifetime::Tied
            && let Err(error) = self.stop()
        {
            eprintln!("testbed: {error:#}");
        }
    }
}

/// Runs a statement as the superuser of a testbed's server, whoever started it, and gives the rows, columns separated by `|`.
pub fn ask(site: &Site, statement: &str) -> Result<String> {
    let folder = site.run().join("postgres");
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))?;
    let port = entries.flatten().find_map(|entry| {
        let name = entry.file_name();
        // Beside the socket lies a file that says whose it is, whose name ends in more than a number.
        name.to_str()?.strip_prefix(".s.PGSQL.")?.parse::<u16>().ok()
    });
    let port = port.with_context(|| format!("no PostgreSQL listens in {}", folder.display()))?;
    psql(&binaries()?, &folder, port, "postgres", &["--command", statement])
}

fn psql(binaries: &Path, folder: &Path, port: u16, database: &str, arguments: &[&str]) -> Result<String> {
    output(
        Command::new(binaries.join("psql"))
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set",
                "ON_ERROR_STOP=1",
            ])
            .args(["--username", "postgres", "--dbname", database, "--host"])
            .arg(folder)
            .args(["--port", &port.to_string()])
            .args(arguments),
    )
}

/// Lets the server's user own a folder and all that is in it.
fn give(folder: &Path) -> Result<()> {
    output(Command::new("chown").arg("-R").arg(SYSTEM_USER).arg(folder)).map(|_| ())
}

fn ensure_plain(name: &str) -> Result<()> {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    ensure!(
        is_plain && !name.is_empty(),
        "invalid database name {name:?}: use a-z, 0-9 and _"
    );
    Ok(())
}

/// The folder of the newest installed server's programs.
fn binaries() -> Result<PathBuf> {
    let mut found = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse::<u32>().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, path)| path.join("postgres").exists())
        .collect::<Vec<_>>();
    found.sort();
    found
        .pop()
        .map(|(_, path)| path)
        .context("PostgreSQL is not installed: `testbed install` installs it")
}
