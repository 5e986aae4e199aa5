//! What every Threeport process does first and last: logs, the TLS provider, metrics and health, shutdown.
//!
//! One place, so that all parts log alike (JSON unless a terminal reads), are probed alike and drain alike: without it each
//! of four binaries would have its own copy.

pub mod connections;
pub mod reference;
pub mod stages;

use std::{future::Future, io::IsTerminal, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus_client::registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// How long a process has to drain after SIGTERM.
pub const DRAIN: Duration = Duration::from_secs(10);
/// The most connections of probes and scrapers at once: a handful is what there should be.
const PROBES: usize = 128;

/// What libraries say loudly of what is nothing, or what is said by us with its reason: that a transaction which the server
/// has ended already is rolled back (each that collides at COMMIT), and that a request to a cluster failed.
const QUIET: &str = "sqlx::postgres::notice=error,kube_client::client::builder=off";

/// Installs the TLS provider (two are linked, and rustls refuses to choose) and the log writer. The filter comes
/// from `RUST_LOG`, by default `info`.
pub fn init() {
    // A second call in one process (tests) finds both installed already, which is what it wants.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let filter = filter(std::env::var("RUST_LOG").ok());
    let registry = tracing_subscriber::registry().with(filter);
    let terminal = std::io::stderr().is_terminal();
    let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let _ = if terminal {
        registry.with(text).try_init()
    } else {
        registry.with(text.json().flatten_event(true)).try_init()
    };
}

/// What is logged: as it is asked for, which goes before [`QUIET`]; else from `info` on.
fn filter(asked: Option<String>) -> EnvFilter {
    let directives = |text: &str| EnvFilter::try_new(format!("{QUIET},{text}"));
    let asked = asked.and_then(|text| directives(&text).ok());
    asked.unwrap_or_else(|| EnvFilter::new(format!("{QUIET},info")))
}

/// Cancelled at the first SIGTERM or SIGINT. The caller then has [`DRAIN`] to end; the process is ended hard after
/// that, so that a stuck peer can't hold a pod.
pub fn shutdown_token() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("draining");
        cancelled.cancel();
        tokio::time::sleep(DRAIN).await;
        tracing::warn!("did not drain in {} s, ending", DRAIN.as_secs());
        std::process::exit(1);
    });
    Ok(token)
}

/// Whether a process can do its work, and in words why not.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Serves `/healthz`, `/readyz` and `/metrics` in plain HTTP, for probes and scrapers inside the cluster: none of
/// them carries a credential or a secret. The API serves its own.
pub async fn serve_probes(
    address: SocketAddr,
    registry: Arc<Registry>,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(metrics).with_state(registry));
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen for probes on {address}"))?;
    let stopped = async move { shutdown.cancelled().await };
    axum::serve(connections::Bounded::new(listener, PROBES), router)
        .with_graceful_shutdown(stopped)
        .await
        .context("failed to serve probes")
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    match readiness() {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Result<String, StatusCode> {
    render(&registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// The metrics in the OpenMetrics text form.
pub fn render(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

/// Runs `main` on a runtime with `workers` threads: two cores are typical, and more threads cost memory only.
pub fn run<F: Future<Output = anyhow::Result<()>>>(workers: usize, main: F) -> anyhow::Result<()> {
    init();
    open_more_files();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .context("failed to start the runtime")?
        .block_on(main)
}

/// Programs are started with 1024 files that they may open (a connection is one, too) where they may allow themselves many
/// more: a thousand connections of a stranger were enough to leave none for the database.
fn open_more_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, most).context("failed to allow more open files") {
        tracing::warn!("{error:#}");
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// What of these is logged, each by its target at level error or warn.
    fn logged(asked: Option<&str>) -> Vec<&'static str> {
        let subscriber = tracing_subscriber::registry().with(filter(asked.map(str::to_owned)));
        tracing::subscriber::with_default(subscriber, || {
            [
                ("ours", tracing::enabled!(target: "threeport_server", Level::INFO)),
                (
                    "notice",
                    tracing::enabled!(target: "sqlx::postgres::notice", Level::WARN),
                ),
                (
                    "serious",
                    tracing::enabled!(target: "sqlx::postgres::notice", Level::ERROR),
                ),
                (
                    "request",
                    tracing::enabled!(target: "kube_client::client::builder", Level::ERROR),
                ),
            ]
            .into_iter()
            .filter_map(|(name, is_enabled)| is_enabled.then_some(name))
            .collect()
        })
    }

    #[test]
    fn libraries_are_quiet_of_what_is_nothing_unless_they_are_asked() {
        assert_eq!(logged(None), ["ours", "serious"]);
        assert_eq!(logged(Some("info")), ["ours", "serious"]);
        assert_eq!(logged(Some("warn")), ["serious"]);
        let asked = "info,sqlx::postgres::notice=warn,kube_client::client::builder=error";
        assert_eq!(logged(Some(asked)), ["ours", "notice", "serious", "request"]);
    }

    #[test]
    fn a_program_may_open_as_many_files_as_it_can_allow_itself() {
        let limit = getrlimit(Resource::Nofile);
        let few = Rlimit {
            current: Some(256),
            ..limit
        };
        setrlimit(Resource::Nofile, few).unwrap();
        assert_eq!(getrlimit(Resource::Nofile), few);
        run(1, async { Ok(()) }).unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
    }
}
