//! The agent's process: flags, certificates, probes, drain.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Parser;
use threeport_agent::{metrics::Metrics, session::Agent, writes};
use threeport_client::{Client, Options, Token};
use threeport_telemetry as telemetry;

/// Watches a control plane's objects in this cluster and reports how they are. It dials out only, and never writes
/// to the cluster.
#[derive(Parser)]
#[command(name = "threeport-agent", version)]
struct Arguments {
    /// Address of the control plane's API
    #[arg(long, env = "THREEPORT_API_URL")]
    api_url: String,
    /// PEM file with the control plane's CA; the system's CAs where absent
    #[arg(long, env = "THREEPORT_API_CA")]
    api_ca: Option<PathBuf>,
    /// File with the bearer token; read again when it changes
    #[arg(long, env = "THREEPORT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Name of the KubernetesRuntimeInstance that this cluster is; the one the control plane runs in where absent
    #[arg(long, env = "THREEPORT_RUNTIME")]
    runtime: Option<String>,
    /// Kubeconfig of the cluster to watch; the cluster that the agent runs in where absent
    #[arg(long, env = "THREEPORT_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Where /healthz, /readyz and /metrics are served, in plain HTTP
    #[arg(long, env = "THREEPORT_PROBES_LISTEN", default_value = "0.0.0.0:8080")]
    probes_listen: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    if threeport_failpoint::begin(&[writes::ALL])? {
        return Ok(());
    }
    telemetry::run(2, run(Arguments::parse()))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let shutdown = telemetry::shutdown_token()?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let metrics = Metrics::default();
    let mut registry = prometheus_client::registry::Registry::default();
    metrics.register(&mut registry);

    let mut options = Options::new(&arguments.api_url, format!("threeport-agent/{version}"));
    options.ca_file = arguments.api_ca;
    options.token = arguments.token_file.map(Token::file);
    let api = Client::new(options).context("failed to configure the API client")?;
    let client = threeport_cluster::client(arguments.kubeconfig.as_deref()).await?;
    let agent = Agent {
        api: Arc::new(api),
        client,
        runtime: arguments.runtime,
        version,
        metrics: metrics.clone(),
    };

    let readiness: telemetry::Readiness = Arc::new(move || metrics.readiness());
    let probes = telemetry::serve_probes(
        arguments.probes_listen,
        Arc::new(registry),
        readiness,
        shutdown.clone(),
    );
    let agent = async {
        agent.run(shutdown.clone()).await;
        Ok(())
    };
    tokio::try_join!(probes, agent).map(|_| ())
}
