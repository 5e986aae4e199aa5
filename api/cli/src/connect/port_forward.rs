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
    let Some(pod) = list.items.into_iter().find(is_ready) else {
        bail!(
            "no pod of Service {name} in namespace {namespace} is ready; see: kubectl get pods -n {namespace} -l {}",
            selector.join(",")
        )
    };
    let port = port_of(&pod, target.as_ref());
    Ok(Backend {
        pod: pod.metadata.name.unwrap_or_default(),
        port,
    })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
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
