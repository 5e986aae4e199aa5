//! A control plane in a cluster, found by the labels of its chart, and what its install left for people there.

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::arguments::Connection;

const API_LABELS: &str = "app.kubernetes.io/name=threeport,app.kubernetes.io/component=api";

/// A control plane's API in a cluster.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The namespace.
    pub namespace: String,
    /// Name of its Service.
    pub service: String,
}

impl Installation {
    /// What its certificate is for.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    /// What the names of its objects start with.
    pub fn prefix(&self) -> &str {
        self.service.strip_suffix("-api").unwrap_or(&self.service)
    }
}

/// A client by the kubeconfig, as kubectl would take it.
pub async fn client(connection: &Connection) -> anyhow::Result<Client> {
    let options = KubeConfigOptions {
        context: connection.kube_context.clone(),
        ..KubeConfigOptions::default()
    };
    let mut config = match &connection.kubeconfig {
        Some(path) => {
            let file =
                Kubeconfig::read_from(path).with_context(|| format!("failed to read {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &options).await
        }
        None => Config::from_kubeconfig(&options).await,
    }
    .context("failed to read the kubeconfig")?;
    config.connect_timeout = Some(std::time::Duration::from_secs(5));
    Client::try_from(config).context("failed to use the kubeconfig")
}

/// The control plane in a namespace.
pub async fn installation(client: &Client, namespace: &str) -> anyhow::Result<Installation> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let found = services
        .list(&ListParams::default().labels(API_LABELS))
        .await
        .with_context(|| format!("failed to look for a control plane in namespace {namespace}"))?;
    let mut names: Vec<_> = found
        .items
        .into_iter()
        .filter_map(|service| service.metadata.name)
        .collect();
    match (names.pop(), names.is_empty()) {
        (Some(service), true) => Ok(Installation {
            namespace: namespace.to_owned(),
            service,
        }),
        (None, _) => bail!(
            "there is no control plane in namespace {namespace}; name another with --namespace (helm list -A shows \
             where threeport is installed), or the API's address with --server"
        ),
        (Some(service), false) => {
            names.push(service);
            bail!(
                "there are several control planes in namespace {namespace}: {}; use --server",
                names.join(", ")
            )
        }
    }
}

/// The token that the install made for people.
pub(super) async fn admin_token(client: &Client, installation: &Installation) -> anyhow::Result<String> {
    let name = format!("{}-admin-token", installation.prefix());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &installation.namespace);
    let secret = secrets.get(&name).await.with_context(|| {
        format!(
            "failed to read Secret {name} in namespace {}; name a file with a token of yours with --token-file",
            installation.namespace
        )
    })?;
    let token = secret.data.and_then(|mut data| data.remove("token"));
    let token = token.with_context(|| format!("Secret {name} has no token"))?;
    String::from_utf8(token.0).with_context(|| format!("the token in Secret {name} is not text"))
}

/// The control plane's CA.
pub(super) async fn authority(client: &Client, installation: &Installation) -> anyhow::Result<Vec<u8>> {
    let name = format!("{}-ca", installation.prefix());
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &installation.namespace);
    let map = maps.get(&name).await.with_context(|| {
        format!(
            "failed to read ConfigMap {name} in namespace {}; name the CA's file with --ca",
            installation.namespace
        )
    })?;
    let pem = map.data.and_then(|mut data| data.remove("ca.crt"));
    pem.map(String::into_bytes)
        .with_context(|| format!("ConfigMap {name} has no ca.crt"))
}
