//! The whole process: TLS, a real nats-server, SIGTERM's drain. Started from what bootstrap makes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use async_nats::jetstream::{self, consumer::pull};
use clap::Parser;
use futures::StreamExt;
use reqwest::tls::TlsInfo;
use serde_json::Value;
use tempfile::TempDir;
use threeport_model::protocol::notification::{Notification, ORIGIN_HEADER, STREAM, TRACE_HEADER};
use threeport_server::{
    bootstrap,
    configuration::{Configuration, Database},
    serve,
    tls::ServingCertificate,
};
use threeport_store::{Options, Store};
use threeport_testbed::{Nats, NatsOptions, ports};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::definition;

const DEADLINE: Duration = Duration::from_secs(20);
/// So long a process waits for requests that do not end.
const DRAIN: Duration = Duration::from_secs(7);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    serve: Configuration,
}

struct Process {
    address: SocketAddr,
    probes: SocketAddr,
    client: reqwest::Client,
    shutdown: CancellationToken,
    served: JoinHandle<anyhow::Result<()>>,
    folder: TempDir,
}

async fn bootstrapped(directory: &Path, dns: &[&str]) {
    bootstrapped_at(directory, dns, jiff::Timestamp::now()).await;
}

async fn bootstrapped_at(directory: &Path, dns: &[&str], now: jiff::Timestamp) {
    let arguments = bootstrap::Arguments {
        directory: Some(directory.to_owned()),
        namespace: None,
        name: None,
        kubeconfig: None,
        dns: dns.iter().map(ToString::to_string).collect(),
    };
    bootstrap::run(&arguments, now).await.unwrap();
}

fn free() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().unwrap()))
}

impl Process {
    async fn start(folder: TempDir, further: &[&str]) -> Self {
        crate::harness::init_log();
        let keys = folder.path();
        let file = |name: &str| keys.join(name).display().to_string();
        let url = file("database-url");
        let database = format!("sqlite://{}\n", file("threeport.db"));
        std::fs::write(&url, &database).unwrap();
        Store::migrate(&Options::new(database.trim())).await.unwrap();
        let (address, probes) = (free(), free());
        let flags = [
            "serve".to_owned(),
            format!("--listen={address}"),
            format!("--probes-listen={probes}"),
            format!("--tls-certificate={}", file("api.crt")),
            format!("--tls-key={}", file("api.key")),
            format!("--database-url-file={url}"),
            format!("--encryption-key-file={}", file("encryption-key")),
            format!("--admin-token-file={}", file("admin-token")),
        ];
        let flags = Flags::parse_from(flags.into_iter().chain(further.iter().map(ToString::to_string)));
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(serve::run(flags.serve, shutdown.clone()));
        let client = client(keys);
        let process = Self {
            address,
            probes,
            client,
            shutdown,
            served,
            folder,
        };
        process
            .wait("readiness", async |process| {
                let answer = process.client.get(process.url("/readyz")).send().await;
                answer.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        process
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    async fn wait(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self).await {
            assert!(start.elapsed() < DEADLINE, "{what} did not come");
            assert!(!self.served.is_finished(), "the process ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("admin-token")).unwrap()
    }

    async fn create(&self, name: &str) -> Value {
        let request = self.client.post(self.url("/v1alpha1/workloaddefinitions"));
        let request = request.bearer_auth(self.token()).json(&definition(name, "1"));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json().await.unwrap()
    }

    async fn ready_text(&self) -> String {
        self.client
            .get(self.url("/readyz"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    /// A gauge without labels; nothing where it isn't served.
    async fn gauge(&self, name: &str) -> Option<f64> {
        let url = format!("http://{}/metrics", self.probes);
        let text = reqwest::get(url).await.ok()?.text().await.ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().parse().ok()
    }

    async fn stop(self) -> Duration {
        let start = Instant::now();
        self.shutdown.cancel();
        self.served.await.unwrap().unwrap();
        start.elapsed()
    }
}

/// Without connections that are kept: every request sees the certificate of its moment.
fn client(keys: &Path) -> reqwest::Client {
    let ca = std::fs::read(keys.join("ca.crt")).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .tls_info(true)
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(15))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    bootstrapped(folder.path(), &[]).await;
    let process = Process::start(folder, &[]).await;
    let served = async |process: &Process| {
        let answer = process.client.get(process.url("/healthz")).send().await.unwrap();
        answer
            .extensions()
            .get::<TlsInfo>()
            .unwrap()
            .peer_certificate()
            .unwrap()
            .to_vec()
    };
    let before = served(&process).await;
    bootstrapped(process.folder.path(), &["renewed.example"]).await;
    process
        .wait("the renewed certificate", async |process| {
            served(process).await != before
        })
        .await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_renews_is_told_before_it_ends() {
    const SAID: &str = "the serving certificate ends on";
    let folder = tempfile::tempdir().unwrap();
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(355 * 24);
    bootstrapped_at(folder.path(), &[], long_ago).await;
    let process = Process::start(folder, &[]).await;
    process
        .wait("the end of the certificate", async |process| {
            process.ready_text().await.contains(SAID)
        })
        .await;
    bootstrapped(process.folder.path(), &[]).await;
    process
        .wait("its renewal", async |process| {
            !process.ready_text().await.contains(SAID)
        })
        .await;
    process.stop().await;
}

#[tokio::test]
async fn a_broken_certificate_is_not_taken() {
    crate::harness::init_log();
    let folder = tempfile::tempdir().unwrap();
    bootstrapped(folder.path(), &[]).await;
    let (certificate, key) = (folder.path().join("api.crt"), folder.path().join("api.key"));
    let serving = ServingCertificate::from_files(certificate.clone(), key).unwrap();
    let before = serving.served().get_inner();
    std::fs::write(&certificate, "nonsense").unwrap();
    assert!(serving.reload().is_err());
    assert!(std::sync::Arc::ptr_eq(&before, &serving.served().get_inner()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_does_not_hold_the_drain() {
    let folder = tempfile::tempdir().unwrap();
    bootstrapped(folder.path(), &[]).await;
    let process = Process::start(folder, &[]).await;
    let probe = format!("http://{}/readyz", process.probes);
    assert!(reqwest::get(&probe).await.unwrap().status().is_success());
    let watch = process
        .client
        .get(process.url("/v1alpha1/watch"))
        .bearer_auth(process.token())
        .send()
        .await
        .unwrap();
    assert_eq!(watch.status(), 200);
    let mut events = watch.bytes_stream();
    events.next().await.unwrap().unwrap();
    let reader = tokio::spawn(async move { while events.next().await.is_some() {} });
    assert!(process.stop().await < DRAIN, "it was waited for");
    tokio::time::timeout(DEADLINE, reader).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_reads_why_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    bootstrapped(folder.path(), &[]).await;
    let process = Process::start(folder, &[]).await;
    for declared in [true, false] {
        let request = process
            .client
            .post(process.url("/v1alpha1/workloaddefinitions"))
            .bearer_auth(process.token());
        let request = request.header("content-type", "application/json");
        let chunk = vec![b' '; 1 << 20];
        let request = if declared {
            request.body(chunk.repeat(10))
        } else {
            let chunks = futures::stream::iter((0..10).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
            request.body(reqwest::Body::wrap_stream(chunks))
        };
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "TooLarge");
    }
    process.stop().await;
}

/// A server as the chart configures it: certificate and users from bootstrap.
fn nats(keys: &Path) -> Nats {
    let file = |name: &str| keys.join(name).display().to_string();
    let configuration = format!(
        "{}\ntls {{ cert_file: \"{}\", key_file: \"{}\" }}\n",
        std::fs::read_to_string(keys.join("auth.conf")).unwrap(),
        file("nats.crt"),
        file("nats.key"),
    );
    Nats::start(&NatsOptions {
        configuration,
        ..NatsOptions::default()
    })
    .unwrap()
}

async fn controllers(keys: PathBuf, url: &str) -> jetstream::Context {
    let password = std::fs::read_to_string(keys.join("nats-controllers-password")).unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password("controllers".to_owned(), password);
    let options = options
        .add_root_certificates(keys.join("ca.crt"))
        .retry_on_initial_connect();
    jetstream::new(options.connect(url).await.unwrap())
}

/// A consumer like the controllers' one, made with their rights.
async fn consumer(context: &jetstream::Context) -> pull::Stream {
    let configuration = pull::Config {
        durable_name: Some("test".to_owned()),
        ..pull::Config::default()
    };
    let start = Instant::now();
    loop {
        match context
            .create_consumer_on_stream(configuration.clone(), STREAM)
            .await
        {
            Ok(consumer) => return consumer.messages().await.unwrap(),
            Err(error) => assert!(start.elapsed() < DEADLINE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The next message about `id` with that origin, and how long it took.
async fn message(messages: &mut pull::Stream, id: &str, origin: &str) -> jetstream::Message {
    let found = async {
        loop {
            let message = messages.next().await.unwrap().unwrap();
            message.ack().await.unwrap();
            let notification: Notification = serde_json::from_slice(&message.payload).unwrap();
            let headers = message.headers.as_ref().unwrap();
            if notification.id.to_string() == id && headers.get(ORIGIN_HEADER).unwrap().as_str() == origin {
                assert!(!notification.token.is_empty());
                return message;
            }
        }
    };
    tokio::time::timeout(DEADLINE, found)
        .await
        .unwrap_or_else(|_| panic!("no message of {origin} about {id}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_told_at_once_and_what_was_lost_is_told_by_the_relay() {
    let folder = tempfile::tempdir().unwrap();
    bootstrapped(folder.path(), &[]).await;
    let keys = folder.path().to_owned();
    let mut nats = nats(&keys);
    let url = format!("tls://{}", nats.address());
    let ca = format!("--nats-ca={}", keys.join("ca.crt").display());
    let password = format!(
        "--nats-password-file={}",
        keys.join("nats-api-password").display()
    );
    let process = Process::start(folder, &[&format!("--nats-url={url}"), &ca, &password]).await;
    process
        .wait("NATS", async |process| process.ready_text().await == "ok")
        .await;

    let context = controllers(keys, &url).await;
    let mut messages = consumer(&context).await;
    let created = process.create("first").await;
    let id = created["metadata"]["id"].as_str().unwrap();
    let told = message(&mut messages, id, "commit").await;
    assert_eq!(
        told.subject.as_str(),
        format!("threeport.desired.workloaddefinitions.{id}")
    );
    assert!(
        told.headers
            .as_ref()
            .unwrap()
            .get(TRACE_HEADER)
            .unwrap()
            .as_str()
            .starts_with("00-")
    );
    // Nobody claims it, so the relay tells it again.
    message(&mut messages, id, "relay").await;
    drop(messages);

    // Everything in NATS is lost while something is written.
    nats.stop().unwrap();
    process
        .wait("the degradation", async |process| {
            process.ready_text().await.contains("NATS")
        })
        .await;
    let created = process.create("second").await;
    let id = created["metadata"]["id"].as_str().unwrap();
    let lag = async |process: &Process| process.gauge("threeport_relay_lag_seconds").await;
    process
        .wait("the lag of the relay", async |process| {
            lag(process).await.is_some_and(|lag| lag > 4.0)
        })
        .await;
    nats.wipe_storage().unwrap();
    nats.resume().unwrap();
    let mut messages = consumer(&context).await;
    message(&mut messages, id, "relay").await;
    process
        .wait("NATS", async |process| process.ready_text().await == "ok")
        .await;
    process
        .wait("no lag", async |process| {
            lag(process).await.is_some_and(|lag| lag < 1.0)
        })
        .await;
    assert!(process.stop().await < Duration::from_secs(9));
}

#[test]
fn disabled_authentication_stays_at_home() {
    let flags = |listen: &str, further: &[&str]| {
        let base = [
            "serve",
            "--tls-certificate=c",
            "--tls-key=k",
            "--database-url-file=d",
            "--encryption-key-file=e",
            listen,
            "--authentication=disabled",
        ];
        Flags::parse_from(base.iter().chain(further)).serve.validate()
    };
    flags("--listen=127.0.0.1:8443", &[]).unwrap();
    assert!(
        flags("--listen=0.0.0.0:8443", &[])
            .unwrap_err()
            .to_string()
            .contains("--force-insecure")
    );
    flags("--listen=0.0.0.0:8443", &["--force-insecure"]).unwrap();
}

#[test]
fn nobody_to_authenticate_is_refused() {
    let base = [
        "serve",
        "--tls-certificate=c",
        "--tls-key=k",
        "--database-url-file=d",
        "--encryption-key-file=e",
    ];
    assert!(Flags::parse_from(base).serve.validate().is_err());
    let database = Database {
        database_url_file: Some("/nonexistent/file".into()),
        database_readers: 1,
        database_writers: 1,
    };
    assert!(
        database
            .url()
            .unwrap_err()
            .to_string()
            .contains("/nonexistent/file")
    );
}
