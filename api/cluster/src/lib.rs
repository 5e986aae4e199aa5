//! The Kubernetes cluster that a process belongs to: how it is found, that no call to it lasts for ever, and where it serves
//! a kind ([`discovery`]).
//!
//! kube waits for an answer without end, and a connection that died unnoticed brings none. So every client is configured
//! here, and every watch begins with [`watch_config`]: it is silent for no longer than a client waits.
//!
//! What not to do: no `watcher::Config` of one's own with a client from here. By kube's default a watch may be silent for
//! 290 s, longer than a client waits.

pub mod discovery;
mod proxy;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
    runtime::watcher,
};

/// The longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// The API server ends a watch after so many seconds; a connection that died unnoticed is found 5 s later, by kube-runtime.
const WATCH_SECONDS: u32 = 55;
/// For how long an answer may be silent: longer than a watch is, and longer than the API server works on a request, which it
/// gives up after 60 s.
const READ: Duration = Duration::from_secs(70);
/// For how long a request may find no way out.
const WRITE: Duration = Duration::from_secs(15);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no kubeconfig, and this is no pod.
    #[error("failed to read the ServiceAccount of this pod (where it is none, give --kubeconfig)")]
    ServiceAccount(#[source] InClusterError),
    /// The file can't be read.
    #[error("failed to read the kubeconfig {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KubeconfigError,
    },
    /// What the file says can't be used.
    #[error("failed to use the kubeconfig {}", .path.display())]
    Use {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KubeconfigError,
    },
    /// There is no client of this configuration.
    #[error("failed to configure the Kubernetes client")]
    Client(#[source] kube::Error),
}

/// The configuration of a client by a kubeconfig, or of the cluster that this process runs in. Who wants less patience sets
/// it.
pub async fn config(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    let Some(path) = kubeconfig else {
        return Config::incluster().map(bounded).map_err(Error::ServiceAccount);
    };
    let file = Kubeconfig::read_from(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    of_kubeconfig(file, None).await.map_err(|source| Error::Use {
        path: path.to_owned(),
        source,
    })
}

/// The same of what was read already: the cluster of a context, or of the current one.
pub async fn of_kubeconfig(file: Kubeconfig, context: Option<String>) -> Result<Config, KubeconfigError> {
    let named = proxy::named(&file, context.as_deref());
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    let mut config = Config::from_custom_kubeconfig(file, &options).await?;
    proxy::heed(&mut config, named, proxy::inherited(), &proxy::exceptions());
    Ok(bounded(config))
}

/// A client of [`config`].
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, Error> {
    Client::try_from(config(kubeconfig).await?).map_err(Error::Client)
}

/// How every watch begins: of all that there is, until somebody selects.
pub fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

fn bounded(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    config.write_timeout = Some(WRITE);
    // From when a request is sent: the time that a connection was idle before is not the answer's.
    config.reset_reader_on_write = true;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: a, user: {token: a}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
current-context: a
"#;

    #[tokio::test]
    async fn a_client_waits_for_no_answer_without_end_and_longer_than_a_watch_is_silent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, KUBECONFIG).unwrap();
        let config = config(Some(&path)).await.unwrap();
        assert_eq!(config.cluster_url.port_u16(), Some(1), "it is this file's");
        let limits = [config.connect_timeout, config.read_timeout, config.write_timeout];
        let [connect, read, write] = limits.map(|limit| limit.expect("a limit"));
        assert!(
            connect <= Duration::from_secs(5) && write <= Duration::from_secs(30),
            "{limits:?}"
        );
        let silent = watch_config().timeout.expect("a watch that ends");
        let found_dead = Duration::from_secs(u64::from(silent) + 5);
        assert!(
            read > found_dead && read <= Duration::from_secs(90),
            "{read:?}, and a watch {found_dead:?}"
        );
        assert!(config.reset_reader_on_write);
    }
}
