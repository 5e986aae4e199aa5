//! The operator's process: flags, clients, probes, and the roles that it plays.
//!
//! The chart runs it as two Deployments with two ServiceAccounts, `--role facade` and `--role controllers`, because
//! controllers have no right on threeport.io resources at all; `--role all` is for one process on one's own machine.

mod arguments;
mod clients;
mod controllers;
mod facade;

use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use prometheus_client::registry::Registry;
use threeport_telemetry::{self as telemetry, Readiness, stages::Stages};

use arguments::{Arguments, Command, Role};

/// As in the API: a mirror or a run is thousands of small allocations, which threads hand to each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let parts = [
        threeport_engine::writes::ALL,
        threeport_controllers::writes::ALL,
        threeport_facade::writes::ALL,
    ];
    if threeport_failpoint::begin(&parts)? {
        return Ok(());
    }
    telemetry::run(2, run(Arguments::parse()))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let shutdown = telemetry::shutdown_token()?;
    if let Some(Command::StripFinalizers(strip)) = &arguments.command {
        let kube = threeport_cluster::client(strip.kubeconfig.as_deref()).await?;
        return threeport_facade::strip_finalizers(&kube, &strip.namespace, strip.deployment.as_deref())
            .await;
    }
    let serve = arguments
        .serve
        .as_ref()
        .context("--api-url is needed; see --help")?;
    let mut registry = Registry::default();
    let stages = Stages::default();
    stages.register(&mut registry, "threeport_stage_seconds");
    let facade = match serve.role {
        Role::Facade | Role::All => Some(facade::prepare(serve, &mut registry, &stages).await?),
        Role::Controllers => None,
    };
    let controllers = match serve.role {
        Role::Controllers | Role::All => {
            Some(controllers::prepare(serve, &arguments.nats, &mut registry, &stages).await?)
        }
        Role::Facade => None,
    };
    let ready = facade.as_ref().map(|facade| facade.ready.clone());
    let readiness: Readiness = Arc::new(move || match &ready {
        Some(ready) if !ready.load(std::sync::atomic::Ordering::Relaxed) => {
            Err("the facade does not know all custom resources yet".to_owned())
        }
        _ => Ok(()),
    });
    let probes = telemetry::serve_probes(
        serve.probes_listen,
        Arc::new(registry),
        readiness,
        shutdown.clone(),
    );
    let facade = async {
        match facade {
            Some(options) => threeport_facade::run(options, shutdown.clone())
                .await
                .context("the facade ended"),
            None => Ok(()),
        }
    };
    let controllers = async {
        match controllers {
            Some(controllers) => controllers
                .run(shutdown.clone())
                .await
                .context("the controllers ended"),
            None => Ok(()),
        }
    };
    tokio::try_join!(probes, facade, controllers).map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Names are a contract.
    #[test]
    fn the_metrics_are_those_of_the_reference() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
        let mut registry = Registry::default();
        let stages = Stages::default();
        stages.register(&mut registry, "threeport_stage_seconds");
        threeport_facade::Metrics::register(&mut registry, stages.clone()).example();
        let (engine, measured) = controllers::metrics(&mut registry, &stages);
        engine.example();
        measured.example();
        telemetry::reference::check(&page, "threeport-operator", &registry).unwrap();
    }
}
