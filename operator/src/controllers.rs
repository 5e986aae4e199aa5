//! The role controllers: an engine per domain, and the signals that feed it.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use prometheus_client::registry::Registry;
use threeport_client::Client;
use threeport_controllers::{Identity, api::ApiClient, one_control_plane::OneControlPlane};
use threeport_engine::{
    Engine, Options,
    metrics::{Metrics, Stages},
    signal::{self, Connection, Subscription},
};
use threeport_model::explain;
use threeport_nats::Nats;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{arguments::Serve, clients};

const RETRY: Duration = Duration::from_secs(1);

/// Controllers that are not running yet.
pub(crate) struct Controllers {
    api: Client,
    local: kube::Config,
    connection: Option<Connection>,
    metrics: Metrics,
    measured: threeport_controllers::Metrics,
    sweep_interval: Duration,
    concurrency: usize,
}

/// What the controllers' part of a process is measured by.
pub(crate) fn metrics(registry: &mut Registry, stages: &Stages) -> (Metrics, threeport_controllers::Metrics) {
    (
        Metrics::register(registry, stages.clone()),
        threeport_controllers::Metrics::register(registry, stages.clone()),
    )
}

/// Clients and connections; metrics in `registry`.
pub(crate) async fn prepare(
    serve: &Serve,
    nats: &Nats,
    registry: &mut Registry,
    stages: &Stages,
) -> anyhow::Result<Controllers> {
    let (metrics, measured) = metrics(registry, stages);
    let connection = signal::connect(nats).await.context("failed to set NATS up")?;
    if connection.is_none() {
        tracing::warn!("degraded: no --nats-url; work is found by the sweep only");
    }
    Ok(Controllers {
        api: clients::api(serve, "threeport-controllers")?,
        local: threeport_cluster::config(serve.kubeconfig.as_deref()).await?,
        connection,
        metrics,
        measured,
        sweep_interval: serve.sweep_interval,
        concurrency: serve.concurrency,
    })
}

impl Controllers {
    /// Runs until `shutdown`, then drains. Where a part of it fails the others drain too, and the process is to end; so it is
    /// where the API comes to be of another control plane: whoever starts anew works for that one.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Some(identity) = identity(&self.api, &shutdown).await else {
            return Ok(());
        };
        let client = Arc::new(ApiClient(self.api));
        let source = Arc::new(OneControlPlane::new(client.clone(), identity.control_plane));
        let api: Arc<dyn threeport_controllers::api::Api> = client;
        let holder = format!("controllers-{}", Uuid::new_v4());
        let stop = shutdown.child_token();
        let mut tasks = JoinSet::new();
        for domain in threeport_controllers::domains(&identity, &api, self.local, &self.measured) {
            let mut options = Options::new(domain.name, &holder);
            options.sweep_interval = self.sweep_interval;
            options.concurrency = self.concurrency;
            let plurals = domain.plurals();
            let engine = Engine::new(options, source.clone(), domain.reconcilers, self.metrics.clone());
            if let Some(connection) = self.connection.clone() {
                let subscription = Subscription {
                    domain: domain.name,
                    plurals,
                };
                let (intake, metrics) = (engine.intake(), self.metrics.clone());
                tasks.spawn(signal::run(
                    connection,
                    subscription,
                    intake,
                    metrics,
                    stop.clone(),
                ));
            }
            tasks.spawn(engine.run(stop.clone()));
        }
        tokio::select! {
            ended = join(tasks, &stop) => ended,
            () = source.changed() => anyhow::bail!(
                "the API is of another control plane than {} now; starting anew makes this process that one's",
                identity.control_plane
            ),
        }
    }
}

/// Waits for all. What fails has the others stop and is told: a domain that stood still would look healthy to every probe.
async fn join(mut tasks: JoinSet<()>, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.context("a task failed").and_then(|()| {
            anyhow::ensure!(stop.is_cancelled(), "a task ended by itself");
            Ok(())
        });
        if let Err(error) = &ended {
            tracing::error!("{error:#}, the process ends");
            stop.cancel();
        }
        result = result.and(ended);
    }
    result
}

/// Which control plane this is, as its API says; asked until it answers, or `shutdown`.
async fn identity(api: &Client, shutdown: &CancellationToken) -> Option<Identity> {
    loop {
        match api.whoami().await {
            Ok(who) => {
                return Some(Identity {
                    control_plane: who.control_plane_id,
                    name: who.control_plane,
                    namespace: who.namespace,
                });
            }
            Err(error) => {
                tracing::warn!("{}, trying again", explain(&error));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    async fn panics() {
        panic!("on purpose");
    }

    /// What `join` says where one task does `first`, and whether another one drained.
    async fn joined(
        first: impl Future<Output = ()> + Send + 'static,
        stop: CancellationToken,
    ) -> (String, bool) {
        let drained = Arc::new(AtomicBool::new(false));
        let (token, seen) = (stop.clone(), drained.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(first);
        tasks.spawn(async move {
            token.cancelled().await;
            seen.store(true, Ordering::SeqCst);
        });
        let said = tokio::time::timeout(Duration::from_secs(60), join(tasks, &stop)).await;
        let said = match said.expect("it does not go on as if nothing were") {
            Ok(()) => "fine".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        (said, drained.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn an_engine_that_panics_or_ends_has_the_others_drain_and_the_process_end() {
        let (said, drained) = joined(panics(), CancellationToken::new()).await;
        assert!(said.contains("on purpose") && drained, "{said}, {drained}");
        let by_itself = joined(std::future::ready(()), CancellationToken::new()).await;
        assert_eq!(by_itself, ("a task ended by itself".to_owned(), true));
        let stop = CancellationToken::new();
        stop.cancel();
        let asked = joined(std::future::ready(()), stop).await;
        assert_eq!(asked, ("fine".to_owned(), true));
    }
}
