//! The real API on SQLite in this process, the real program as a child, and the test as the controller.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use clap::Parser;
use serde_json::{Value, json};
use tempfile::TempDir;
use threeport_client::{Client, Options, Token};
use threeport_model::{
    Object, find_kind,
    protocol::claim::{Claim, ClaimKey, ClaimRequest, CompleteRequest, Next, StatusUpdate},
};
use threeport_server::{bootstrap, configuration::Configuration, serve};
use threeport_store::Store;
use threeport_testbed::ports;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Server {
    #[command(flatten)]
    configuration: Configuration,
}

#[derive(Parser)]
struct Bootstrap {
    #[command(flatten)]
    arguments: bootstrap::Arguments,
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
}

/// What the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The standard output of a run that must have succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }
}

/// The program while it runs.
pub(crate) struct Running {
    child: Child,
    stderr: Box<dyn Read + Send>,
    said: String,
}

impl Running {
    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Ran {
        let ended = tokio::task::spawn_blocking(move || {
            self.stderr.read_to_string(&mut self.said).unwrap();
            let output = self.child.wait_with_output().unwrap();
            let stdout = String::from_utf8(output.stdout).unwrap();
            Ran {
                code: output.status.code().unwrap_or(-1),
                stdout,
                stderr: self.said,
            }
        });
        tokio::time::timeout(DEADLINE * 2, ended).await.unwrap().unwrap()
    }
}

fn free() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().unwrap()))
}

impl World {
    pub(crate) async fn new() -> Self {
        threeport_telemetry::init();
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let key = |name: &str| keys.join(name).display().to_string();
        let made = Bootstrap::parse_from(["bootstrap", "--directory", &keys.display().to_string()]);
        bootstrap::run(&made.arguments, jiff::Timestamp::now())
            .await
            .unwrap();
        let url = format!("sqlite://{}", folder.path().join("threeport.db").display());
        let url_file = folder.path().join("database-url");
        std::fs::write(&url_file, &url).unwrap();
        Store::migrate(&threeport_store::Options::new(url)).await.unwrap();
        let (address, probes) = (free(), free());
        let server = Server::parse_from([
            "serve",
            "--listen",
            &address.to_string(),
            "--probes-listen",
            &probes.to_string(),
            "--tls-certificate",
            &key("api.crt"),
            "--tls-key",
            &key("api.key"),
            "--database-url-file",
            &url_file.display().to_string(),
            "--encryption-key-file",
            &key("encryption-key"),
            "--admin-token-file",
            &key("admin-token"),
        ]);
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        tokio::spawn(async move { serve::run(server.configuration, stop).await.unwrap() });
        let mut options = Options::new(format!("https://localhost:{}", address.port()), "test");
        options.ca_file = Some(keys.join("ca.crt"));
        options.token = Some(Token::file(keys.join("admin-token")));
        let client = Client::new(options).unwrap();
        let ready = async {
            while client.ready().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, ready).await.unwrap();
        Self {
            folder,
            client,
            address,
            shutdown,
        }
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.path().join("keys").join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// What the program's environment says of the API.
    pub(crate) fn environment(&self) -> BTreeMap<&'static str, OsString> {
        BTreeMap::from([
            (
                "THREEPORT_SERVER",
                format!("https://localhost:{}", self.address.port()).into(),
            ),
            ("THREEPORT_CA_FILE", self.key("ca.crt").into()),
            ("THREEPORT_TOKEN_FILE", self.key("admin-token").into()),
        ])
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "").await
    }

    pub(crate) async fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        program(arguments, input, self.environment()).await
    }

    /// Starts the program and waits until it has said something on standard error.
    pub(crate) async fn start(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tptctl"));
        command.args(arguments).env_clear().envs(self.environment());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            let mut stderr = BufReader::new(child.stderr.take().unwrap());
            let mut said = String::new();
            stderr.read_line(&mut said).unwrap();
            Running {
                child,
                stderr: Box::new(stderr),
                said,
            }
        });
        tokio::time::timeout(DEADLINE, started).await.unwrap().unwrap()
    }

    /// Does a controller's work: the next object of the kind that has work ends up with such a condition Ready.
    pub(crate) async fn reconcile(&self, kind: &str, name: &str, ready: bool) {
        self.reconcile_saying(kind, name, ready, "as the test says").await;
    }

    /// The same with a message.
    pub(crate) async fn reconcile_saying(&self, kind: &str, name: &str, ready: bool, message: &str) {
        let claim = self.claim(kind, name).await;
        let object = &claim.object;
        let generation = object.generation();
        let conditions = json!([{
            "type": "Ready", "status": if ready { "True" } else { "False" }, "reason": "Test",
            "message": message, "observedGeneration": generation,
        }]);
        let mut status = json!({"observedGeneration": generation, "conditions": conditions});
        if kind == "WorkloadInstance" {
            let definition = claim.references.iter().find(|it| it.kind == "WorkloadDefinition");
            let definition = definition.map(Object::generation).unwrap_or_default();
            status["revision"] = json!({"definition": definition, "instance": generation});
        }
        self.complete(&claim, Some(status), false).await;
    }

    /// Does a controller's work on an object that is being deleted: it is gone then.
    pub(crate) async fn finalize(&self, kind: &str, name: &str) {
        let claim = self.claim(kind, name).await;
        self.complete(&claim, None, true).await;
    }

    async fn claim(&self, kind: &str, name: &str) -> Claim {
        let descriptor = find_kind(kind).unwrap();
        let claiming = async {
            loop {
                let Ok(object) = self.client.object_get(descriptor, name).await else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let request = ClaimRequest {
                    holder: "test".to_owned(),
                    kinds: vec![kind.to_owned()],
                    ids: vec![object.id()],
                    limit: 1,
                    ttl_seconds: 10,
                };
                if let Some(claim) = self.client.claim(&request).await.unwrap().claims.pop() {
                    return claim;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, claiming).await.unwrap()
    }

    async fn complete(&self, claim: &Claim, status: Option<Value>, finalize: bool) {
        let ClaimKey { id, epoch } = ClaimKey {
            id: claim.object.id(),
            epoch: claim.epoch,
        };
        let observed_generation = claim.object.generation();
        let request = CompleteRequest {
            id,
            epoch,
            token: claim.token.clone(),
            status: status.map(|status| StatusUpdate {
                observed_generation,
                status,
            }),
            next: Next::Done,
            inventory: Vec::new(),
            inventory_removed: Vec::new(),
            events: Vec::new(),
            finalize,
        };
        self.client.claim_complete(&request).await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Runs tptctl with an environment of its own.
pub(crate) async fn program(
    arguments: &[&str],
    input: &str,
    environment: BTreeMap<&'static str, OsString>,
) -> Ran {
    run(
        Path::new(env!("CARGO_BIN_EXE_tptctl")),
        arguments,
        input,
        environment,
    )
    .await
}

/// Runs a program with an environment of its own.
pub(crate) async fn run(
    program: &Path,
    arguments: &[&str],
    input: &str,
    environment: BTreeMap<&'static str, OsString>,
) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // A program that does not read its input is none the worse for it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
