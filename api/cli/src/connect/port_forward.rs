//! A port on this machine that leads to the API through the Kubernetes API server: no public address is needed, and
//! TLS goes through it end to end.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Api, Client, api::ListParams};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::task::AbortOnDropHandle;

use super::Installation;

/// Connections at once: a command has a few, and a watch.
const CONNECTIONS: usize = 32;

/// Open while it lives.
pub struct PortForward {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

/// A pod that serves the API, and at which port.
struct Backend {
    pod: String,
    port: u16,
}

impl PortForward {
    /// Opens it, once a pod serves the API.
    pub async fn open(client: Client, installation: Installation) -> anyhow::Result<Self> {
        backend(&client, &installation).await?;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("failed to listen on this machine")?;
        let address = listener
            .local_addr()
            .context("failed to listen on this machine")?;
        let task = tokio::spawn(accept(listener, client, installation));
        Ok(Self {
            address,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, client: Client, installation: Installation) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok((connection, _)) = listener.accept().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let (client, installation) = (client.clone(), installation.clone());
        tokio::spawn(async move {
            if let Err(error) = forward(connection, &client, &installation).await {
                let why = crate::output::shown(&crate::exit::explain(&error));
                crate::output::say(&format!("port-forward: {why}"));
            }
            drop(place);
        });
    }
}

/// A pod is chosen for each connection: the one of before may be gone.
async fn forward(
    mut connection: TcpStream,
    client: &Client,
    installation: &Installation,
) -> anyhow::Result<()> {
    let Backend { pod, port } = backend(client, installation).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &installation.namespace);
    let mut forwarder = pods.portforward(&pod, &[port]).await.with_context(|| {
        format!("failed to forward to pod {pod}; it takes the right to create pods/portforward, or --server")
    })?;
    let Some(mut stream) = forwarder.take_stream(port) else {
        bail!("pod {pod} gave no stream")
    };
    // An end of either side is how such a connection ends.
    let _ = tokio::io::copy_bidirectional(&mut connection, &mut stream).await;
    drop(stream);
    let _ = forwarder.join().await;
    Ok(())
}

async fn backend(client: &Client, installation: &Installation) -> anyhow::Result<Backend> {
    let Installation {
        namespace,
        service: name,
    } = installation;
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let service = services
        .get(name)
        .await
        .with_context(|| format!("failed to read Service {name}"))?;
    let spec = service.spec.unwrap_or_default();
    let selector: Vec<_> = spec
        .selector
        .unwrap_or_default()
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let target = spec
        .ports
        .unwrap_or_default()
        .into_iter()
        .next()
        .and_then(|port| port.target_port);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods
        .list(&ListParams::default().labels(&selector.join(",")))
        .await;
    let list = list.with_context(|| format!("failed to look for the pods of Service {name}"))?;
    let Some(pod) = chosen(list.items) else {
        bail!(
            "no pod of Service {name} in namespace {namespace} is running; see: kubectl get pods -n {namespace} -l {}",
            selector.join(",")
        )
    };
    let port = port_of(&pod, target.as_ref());
    Ok(Backend {
        pod: pod.metadata.name.unwrap_or_default(),
        port,
    })
}

/// One that is ready, or else one that runs: an API without its database is not ready, and says so itself, which is
/// better to hear than that there is none. (A Service, which leads to those that are ready only, refuses connections.)
fn chosen(pods: Vec<Pod>) -> Option<Pod> {
    let (ready, others): (Vec<_>, Vec<_>) = pods
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .partition(is_ready);
    ready.into_iter().chain(others.into_iter().filter(runs)).next()
}

fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running")
}

fn port_of(pod: &Pod, target: Option<&IntOrString>) -> u16 {
    const DEFAULT: u16 = 8443;
    let number = match target {
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let ports = containers.flat_map(|container| container.ports.iter().flatten());
            ports
                .into_iter()
                .find(|port| port.name.as_ref() == Some(name))
                .map(|port| port.container_port)
        }
        None => None,
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .unwrap_or(DEFAULT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, phase: &str, ready: bool, deleted: bool) -> Pod {
        let status = if ready { "True" } else { "False" };
        let deleted = deleted.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "metadata": {"name": name, "deletionTimestamp": deleted},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": status}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_that_is_not_ready_is_asked_where_none_is() {
        let name = |pods: Vec<Pod>| chosen(pods).and_then(|pod| pod.metadata.name);
        let waiting = pod("waiting", "Pending", false, false);
        let leaving = pod("leaving", "Running", true, true);
        let unready = pod("unready", "Running", false, false);
        let ready = pod("ready", "Running", true, false);
        assert_eq!(name(vec![waiting.clone(), leaving.clone()]), None);
        let without = vec![waiting.clone(), leaving.clone(), unready.clone()];
        assert_eq!(name(without).as_deref(), Some("unready"));
        let all = vec![waiting, leaving, unready, ready];
        assert_eq!(name(all).as_deref(), Some("ready"));
    }
}
