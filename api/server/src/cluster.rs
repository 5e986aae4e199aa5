//! The Kubernetes cluster that vouches for tokens and keeps Secrets.

use std::path::Path;

use anyhow::Context;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// A client by a kubeconfig, or of the cluster that this process runs in.
pub async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(file) => {
            let read = Kubeconfig::read_from(file)
                .with_context(|| format!("failed to read the kubeconfig {}", file.display()))?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("failed to use the kubeconfig {}", file.display()))?
        }
        None => Config::incluster()
            .context("failed to find the cluster that this process runs in (give --kubeconfig)")?,
    };
    Client::try_from(config).context("failed to make a Kubernetes client")
}
