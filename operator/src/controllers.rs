//! The role controllers: an engine per domain, and the signals that feed it.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use prometheus_client::registry::Registry;
use threeport_client::Client;
use threeport_controllers::{Identity, api::ApiClient, one_control_plane::OneControlPlane};
use threeport_engine::{
    Engine, Options,
    metrics::{Metrics, Stages},
    signal::{self, Connection, Nats, Subscription},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
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
    registry: &mut Registry,
    stages: &Stages,
) -> anyhow::Result<Controllers> {
    let (metrics, measured) = metrics(registry, stages);
    let connection = match &serve.nats_url {
        Some(url) => {
            let nats = Nats {
                url: url.clone(),
                ca_file: serve.nats_ca.clone(),
                user: Some(serve.nats_user.clone()),
                password_file: serve.nats_password_file.clone(),
            };
            Some(signal::connect(&nats).await.context("failed to set NATS up")?)
        }
        None => {
            tracing::warn!("degraded: no --nats-url; work is found by the sweep only");
            None
        }
    };
    Ok(Controllers {
        api: clients::api(serve, "threeport-controllers")?,
        local: clients::kube_config(serve.kubeconfig.as_deref()).await?,
        connection,
        metrics,
        measured,
        sweep_interval: serve.sweep_interval,
        concurrency: serve.concurrency,
    })
}

impl Controllers {
    /// Runs until `shutdown`, then drains. Fails where the API comes to be of another control plane: whoever starts anew
    /// works for that one.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Some(identity) = identity(&self.api, &shutdown).await else {
            return Ok(());
        };
        let client = Arc::new(ApiClient(self.api));
        let source = Arc::new(OneControlPlane::new(client.clone(), identity.control_plane));
        let api: Arc<dyn threeport_controllers::api::Api> = client;
        let holder = format!("controllers-{}", Uuid::new_v4());
        let tasks = TaskTracker::new();
        for domain in threeport_controllers::domains(&identity, &api, self.local, &self.measured) {
            let mut options = Options::new(domain.name, &holder);
            options.sweep_interval = self.sweep_interval;
            options.concurrency = self.concurrency;
            let engine = Engine::new(options, source.clone(), domain.reconcilers, self.metrics.clone());
            if let Some(connection) = self.connection.clone() {
                let subscription = Subscription {
                    domain: domain.name,
                    plurals: domain.plurals,
                };
                let (intake, metrics) = (engine.intake(), self.metrics.clone());
                tasks.spawn(signal::run(
                    connection,
                    subscription,
                    intake,
                    metrics,
                    shutdown.clone(),
                ));
            }
            tasks.spawn(engine.run(shutdown.clone()));
        }
        tasks.close();
        tokio::select! {
            () = tasks.wait() => Ok(()),
            () = source.changed() => anyhow::bail!(
                "the API is of another control plane than {} now; starting anew makes this process that one's",
                identity.control_plane
            ),
        }
    }
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
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(cause, "{error}, trying again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}
