//! The clients of the API and of Kubernetes.

use std::path::Path;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use threeport_client::{Client, Options, Token};

use crate::arguments::Serve;

/// A client of the control plane's API.
pub(crate) fn api(serve: &Serve, name: &str) -> anyhow::Result<Client> {
    let mut options = Options::new(&serve.api_url, format!("{name}/{}", env!("CARGO_PKG_VERSION")));
    options.ca_file.clone_from(&serve.api_ca);
    options.token = serve.token_file.as_ref().map(Token::file);
    Client::new(options).context("failed to configure the API client")
}

/// The configuration of a Kubernetes client.
pub(crate) async fn kube_config(kubeconfig: Option<&Path>) -> anyhow::Result<kube::Config> {
    match kubeconfig {
        None => kube::Config::incluster().context("failed to read the ServiceAccount of this pod"),
        Some(path) => {
            let file =
                Kubeconfig::read_from(path).with_context(|| format!("failed to read {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("failed to use {}", path.display()))
        }
    }
}

/// A Kubernetes client.
pub(crate) async fn kube(kubeconfig: Option<&Path>) -> anyhow::Result<kube::Client> {
    kube::Client::try_from(kube_config(kubeconfig).await?)
        .context("failed to configure the Kubernetes client")
}
