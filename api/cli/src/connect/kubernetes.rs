//! A control plane in a cluster, found by the labels of its chart, and what its install left for people there.

use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::{Api, Client, Config, api::ListParams, config::Kubeconfig};

use crate::arguments::Connection;

const API_LABELS: &str = "app.kubernetes.io/name=threeport,app.kubernetes.io/component=api";
/// The longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// For how long an answer may be silent: who waits is a person, and asks for little. Through a port-forward something comes
/// every few seconds, for the client of the API sees to that.
const READ: Duration = Duration::from_secs(30);

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
    Client::try_from(config(connection).await?).context("failed to use the kubeconfig")
}

/// The same, and which cluster it is of, for people: where that is, and the context that says so.
pub async fn client_and_cluster(connection: &Connection) -> anyhow::Result<(Client, String)> {
    let current = kubeconfig(connection)?.current_context;
    let context = connection.kube_context.clone().or(current).unwrap_or_default();
    let address = config(connection).await?.cluster_url.to_string();
    let cluster = format!("{} (context {context})", address.trim_end_matches('/'));
    Ok((client(connection).await?, cluster))
}

fn kubeconfig(connection: &Connection) -> anyhow::Result<Kubeconfig> {
    match &connection.kubeconfig {
        Some(path) => {
            Kubeconfig::read_from(path).with_context(|| format!("failed to read {}", path.display()))
        }
        None => Kubeconfig::read().context("failed to read the kubeconfig"),
    }
}

async fn config(connection: &Connection) -> anyhow::Result<Config> {
    let file = kubeconfig(connection)?;
    let read = threeport_cluster::of_kubeconfig(file, connection.kube_context.clone());
    let mut config = read.await.context("failed to use the kubeconfig")?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    Ok(config)
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

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "
clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}, {name: b, cluster: {server: 'http://127.0.0.1:2'}}]
contexts: [{name: a, context: {cluster: a, user: a}}, {name: b, context: {cluster: b, user: a}}]
users: [{name: a, user: {token: a}}]
current-context: a
";

    #[tokio::test]
    async fn the_cluster_of_a_context_is_given_up_where_it_never_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, KUBECONFIG).unwrap();
        for (context, port) in [(None, 1), (Some("b"), 2)] {
            let connection = Connection {
                kubeconfig: Some(path.clone()),
                kube_context: context.map(str::to_owned),
                ..Connection::default()
            };
            let config = config(&connection).await.unwrap();
            assert_eq!(config.cluster_url.port_u16(), Some(port));
            let limits = [config.connect_timeout, config.read_timeout, config.write_timeout];
            for limit in limits {
                assert!(
                    limit.is_some_and(|limit| limit <= Duration::from_secs(30)),
                    "{limits:?}"
                );
            }
            assert!(
                config.reset_reader_on_write,
                "else what was idle is given up at once"
            );
        }
        let connection = Connection {
            kubeconfig: Some(path),
            kube_context: Some("c".to_owned()),
            ..Connection::default()
        };
        let missing = config(&connection).await.unwrap_err();
        assert!(crate::exit::explain(&missing).ends_with(": c"), "{missing:?}");
    }
}
