//! The role facade.

use prometheus_client::registry::Registry;
use threeport_facade::{FacadeOptions, Metrics};
use threeport_telemetry::stages::Stages;

use crate::{arguments::Serve, clients};

/// The options of the facade, and its metrics in `registry`.
pub(crate) async fn prepare(
    serve: &Serve,
    registry: &mut Registry,
    stages: &Stages,
) -> anyhow::Result<FacadeOptions> {
    let api = clients::api(serve, "threeport-facade")?;
    let kube = threeport_cluster::client(serve.kubeconfig.as_deref()).await?;
    let metrics = Metrics::register(registry, stages.clone());
    let mut options = FacadeOptions::new(api, kube, &serve.namespace, metrics);
    options.mirror_selector = serve.mirror_selector.clone();
    Ok(options)
}
