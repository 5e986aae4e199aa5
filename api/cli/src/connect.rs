//! Where the API is, how to trust it, and who we are: flags and environment before a context of the configuration
//! file before the kubeconfig. Where the place in Kubernetes is typed (namespace, kube-context, kubeconfig), what the
//! environment and the `current` context say of another control plane does not count; nor does what the environment says
//! where a context is typed.

mod context;
mod kubernetes;
mod port_forward;

use anyhow::Context;
use threeport_client::{Client, Options, Token};

pub use kubernetes::{Installation, client as kubernetes_client, client_and_cluster, installation};
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
    /// What is forwarded to, where that is how.
    pub installation: Option<Installation>,
    _forward: Option<PortForward>,
}

/// What was asked for, with the context's answers where nothing was said.
pub fn resolve(connection: &Connection) -> anyhow::Result<Connection> {
    let mut resolved = connection.clone();
    if resolved.server.is_some() {
        return Ok(resolved);
    }
    let Some(context) = context::selected(connection)? else {
        return Ok(resolved);
    };
    if connection.is_placed {
        // Its server, CA and token are another control plane's. Where it names a cluster, a namespace is meant there.
        if context.server.is_none() && connection.kubeconfig.is_none() {
            resolved.kube_context = resolved.kube_context.or(context.kube_context);
        }
        return Ok(resolved);
    }
    resolved.server = context.server;
    resolved.ca = resolved.ca.or(context.ca_file);
    resolved.token_file = resolved.token_file.or(context.token_file);
    resolved.namespace = resolved.namespace.or(context.namespace);
    resolved.kube_context = resolved.kube_context.or(context.kube_context);
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
        // The API speaks TLS alone: anybody else would be told the token. (An address is also one with blanks around it, or
        // with a line's end within.)
        let is_tls = server
            .trim_start()
            .get(..6)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
        if !is_tls {
            return Err(threeport_client::Error::Address(server.clone()).into());
        }
        let mut options = Options::new(server, agent);
        options.ca_file = connection.ca.clone();
        options.token = token;
        let client = Client::new(options)?;
        return Ok(Api {
            client,
            way: server.clone(),
            installation: None,
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
        installation: Some(installation),
        _forward: Some(forward),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::arguments::Arguments;

    const CONTEXTS: &str = "contexts:
- {name: here, server: 'https://here', caFile: here.crt, tokenFile: here.token, namespace: here}
- {name: tptctl, server: 'https://named', tokenFile: named.token}
- {name: trial, kubeContext: trial, namespace: there, tokenFile: there.token}
";

    /// What a command line means beside a configuration file, in an environment that names the variable's context.
    fn resolved(current: &str, variable: Option<&'static str>, flags: &[&str]) -> Connection {
        resolved_beside(current, ("context", variable), flags)
    }

    /// The same in an environment that has a variable for one of the arguments.
    fn resolved_beside(
        current: &str,
        (argument, variable): (&'static str, Option<&'static str>),
        flags: &[&str],
    ) -> Connection {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, format!("current: {current}\n{CONTEXTS}")).unwrap();
        let file = file.display().to_string();
        let line = [&["tptctl", "get", "all", "--config", &file][..], flags].concat();
        let command = Arguments::command()
            .mut_args(|argument| argument.env(None::<&'static str>))
            .mut_arg(argument, |argument| argument.env(variable));
        let matches = command.try_get_matches_from(line).unwrap();
        let mut arguments = Arguments::from_arg_matches(&matches).unwrap();
        arguments.connection.prefer_command_line(&matches);
        resolve(&arguments.connection).unwrap()
    }

    #[test]
    fn a_control_plane_that_is_typed_is_not_that_of_the_current_context() {
        // The package's name, as if THREEPORT_CONTEXT said it.
        for (variable, server) in [(None, "https://here"), (Some("CARGO_PKG_NAME"), "https://named")] {
            assert_eq!(resolved("here", variable, &[]).server.as_deref(), Some(server));
            for flags in [
                ["-n", "other"],
                ["--kube-context", "other"],
                ["--kubeconfig", "other"],
            ] {
                let other = resolved("here", variable, &flags);
                assert_eq!(
                    (other.server, other.ca, other.token_file),
                    (None, None, None),
                    "{flags:?}"
                );
                assert_ne!(other.namespace.as_deref(), Some("here"), "{flags:?}");
            }
            let both = resolved("trial", variable, &["-n", "other", "--context", "here"]);
            assert_eq!(both.server.as_deref(), Some("https://here"));
            assert_eq!(both.namespace.as_deref(), Some("other"));
        }
    }

    #[test]
    fn a_context_that_is_typed_is_not_looked_for_in_the_environment_s_namespace() {
        // The package's name, as if THREEPORT_NAMESPACE said it.
        let variable = ("namespace", Some("CARGO_PKG_NAME"));
        let namespace = |flags: &[&str]| resolved_beside("here", variable, flags).namespace;
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(namespace(&[]), named("tptctl"), "the control");
        assert_eq!(namespace(&["--context", "trial"]), named("there"));
        assert_eq!(namespace(&["--context", "tptctl"]), None);
        assert_eq!(namespace(&["--context", "trial", "-n", "other"]), named("other"));
    }

    #[test]
    fn a_namespace_that_is_typed_is_meant_in_the_current_context_s_cluster() {
        let place = |connection: Connection| (connection.kube_context, connection.namespace);
        let named = |name: &str| Some(name.to_owned());
        let current = resolved("trial", None, &[]);
        let token = current.token_file.as_deref().and_then(Path::file_name);
        assert_eq!(token, Some("there.token".as_ref()));
        assert_eq!(place(current), (named("trial"), named("there")));
        let other = resolved("trial", None, &["-n", "other"]);
        assert_eq!(other.token_file, None);
        assert_eq!(place(other), (named("trial"), named("other")));
        let cluster = resolved("trial", None, &["--kube-context", "other"]);
        assert_eq!(place(cluster), (named("other"), None));
        let file = resolved("trial", None, &["--kubeconfig", "other"]);
        assert_eq!(place(file), (None, None));
    }
}
