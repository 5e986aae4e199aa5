//! Where the API is, how to trust it, and who we are: flags and environment before a context of the configuration
//! file before the kubeconfig.

mod context;
mod kubernetes;
mod port_forward;

use anyhow::Context;
use threeport_client::{Client, Options, Token};

pub use kubernetes::{Installation, client as kubernetes_client, installation};
pub use port_forward::PortForward;

use crate::arguments::Connection;

/// The namespace of a control plane that was installed as the docs say.
pub const DEFAULT_NAMESPACE: &str = "threeport-system";

/// A way to the API, kept open while this lives.
pub struct Api {
    /// The client.
    pub client: Client,
    /// How it is reached, for people.
    pub way: String,
    _forward: Option<PortForward>,
}

/// What was asked for, with the context's answers where nothing was said.
pub fn resolve(connection: &Connection) -> anyhow::Result<Connection> {
    let mut resolved = connection.clone();
    if resolved.server.is_some() {
        return Ok(resolved);
    }
    if let Some(context) = context::selected(connection)? {
        resolved.server = context.server;
        resolved.ca = resolved.ca.or(context.ca_file);
        resolved.token_file = resolved.token_file.or(context.token_file);
        resolved.namespace = resolved.namespace.or(context.namespace);
        resolved.kube_context = resolved.kube_context.or(context.kube_context);
    }
    Ok(resolved)
}

/// The namespace of the control plane.
pub fn namespace(connection: &Connection) -> &str {
    connection.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
}

/// Makes a way to the API.
pub async fn connect(connection: &Connection) -> anyhow::Result<Api> {
    let connection = resolve(connection)?;
    let agent = format!("tptctl/{}", env!("CARGO_PKG_VERSION"));
    let token = connection.token_file.as_ref().map(Token::file);
    if let Some(server) = &connection.server {
        let mut options = Options::new(server, agent);
        options.ca_file = connection.ca.clone();
        options.token = token;
        let client = Client::new(options)?;
        return Ok(Api {
            client,
            way: server.clone(),
            _forward: None,
        });
    }
    let kubernetes = kubernetes::client(&connection).await.context(
        "no server was named (--server, THREEPORT_SERVER or a context), and the kubeconfig can't be used either",
    )?;
    let namespace = namespace(&connection);
    let installation = kubernetes::installation(&kubernetes, namespace).await?;
    let forward = PortForward::open(kubernetes.clone(), installation.clone()).await?;
    let url = format!("https://{}:{}", installation.host(), forward.address().port());
    let mut options = Options::new(url, agent);
    options.address = Some(forward.address());
    options.token = match token {
        Some(token) => Some(token),
        None => Some(Token::value(
            &kubernetes::admin_token(&kubernetes, &installation).await?,
        )),
    };
    match &connection.ca {
        Some(file) => options.ca_file = Some(file.clone()),
        None => options.ca_pem = Some(kubernetes::authority(&kubernetes, &installation).await?),
    }
    let client = Client::new(options)?;
    let way = format!(
        "port-forward to Service {} in namespace {namespace}",
        installation.service
    );
    Ok(Api {
        client,
        way,
        _forward: Some(forward),
    })
}
