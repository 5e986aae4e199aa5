//! `threeport-api serve`: its flags, each also an environment variable. Credentials come from files only.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use threeport_nats::Nats;

/// Where the truth is kept.
#[derive(Args, Clone, Debug)]
pub struct Database {
    /// File with the database's URL (`sqlite:///path/file.db` or `postgresql://...`)
    #[arg(long, env = "THREEPORT_DATABASE_URL_FILE")]
    pub database_url_file: Option<PathBuf>,
    /// The most connections to the database that read
    #[arg(long, env = "THREEPORT_DATABASE_READERS", default_value_t = 6)]
    pub database_readers: u32,
    /// The most connections to the database that write; how many transactions there are at once is found out
    #[arg(long, env = "THREEPORT_DATABASE_WRITERS", default_value_t = 8)]
    pub database_writers: u32,
}

/// What `serve` is told.
#[derive(Args, Clone, Debug)]
pub struct Configuration {
    /// HTTPS: the API
    #[arg(long, env = "THREEPORT_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,
    /// HTTP: healthz, readyz and metrics only
    #[arg(long, env = "THREEPORT_PROBES_LISTEN", default_value = "0.0.0.0:8080")]
    pub probes_listen: SocketAddr,
    /// Serving certificate and its chain, PEM; read again when it changes
    #[arg(long, env = "THREEPORT_TLS_CERTIFICATE")]
    pub tls_certificate: PathBuf,
    /// Its key, PEM
    #[arg(long, env = "THREEPORT_TLS_KEY")]
    pub tls_key: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub database: Database,
    /// 32 bytes in base64: secret values are encrypted with it
    #[arg(long, env = "THREEPORT_ENCRYPTION_KEY_FILE")]
    pub encryption_key_file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub nats: Nats,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub authentication: Authentication,
    /// The control plane's name
    #[arg(long, env = "THREEPORT_CONTROL_PLANE_NAME", default_value = "threeport")]
    pub control_plane_name: String,
    /// The namespace that it runs in and serves custom resources in
    #[arg(long, env = "THREEPORT_NAMESPACE", default_value = "threeport-system")]
    pub namespace: String,
    /// ServiceAccount (namespace/name) that writes to the local runtime are made as
    #[arg(long, env = "THREEPORT_WORKLOADS_ACCOUNT")]
    pub workloads_account: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "documented at its type")]
    pub limits: Limits,
}

/// Whom to believe, and who may what.
#[derive(Args, Clone, Debug)]
pub struct Authentication {
    /// `disabled` makes everybody admin: for tests only
    #[arg(long, env = "THREEPORT_AUTHENTICATION", value_enum, default_value_t = Mode::Enabled)]
    pub authentication: Mode,
    /// Allow `--authentication disabled` on an address that others can reach
    #[arg(long)]
    pub force_insecure: bool,
    /// The admin token; read again when it changes
    #[arg(long, env = "THREEPORT_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Let a Kubernetes cluster vouch for ServiceAccount tokens (audience `threeport`)
    #[arg(long, env = "THREEPORT_KUBERNETES_AUTHENTICATION")]
    pub kubernetes_authentication: bool,
    /// That cluster; the one that this process runs in where absent
    #[arg(long, env = "THREEPORT_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// ServiceAccount (namespace/name) of a facade; may be given several times
    #[arg(long, env = "THREEPORT_FACADE_ACCOUNT", value_delimiter = ',')]
    pub facade_account: Vec<String>,
    /// ServiceAccount (namespace/name) of controllers; may be given several times
    #[arg(long, env = "THREEPORT_CONTROLLERS_ACCOUNT", value_delimiter = ',')]
    pub controllers_account: Vec<String>,
    /// ServiceAccount (namespace/name) of an agent; may be given several times
    #[arg(long, env = "THREEPORT_AGENT_ACCOUNT", value_delimiter = ',')]
    pub agent_account: Vec<String>,
}

/// Whether callers must say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// They must.
    Enabled,
    /// Everybody is admin.
    Disabled,
}

/// What keeps one caller, or all together, from taking everything.
#[derive(Args, Clone, Debug)]
pub struct Limits {
    /// Requests per second of one actor, sustained; twice as many at once
    #[arg(long, env = "THREEPORT_RATE_LIMIT", default_value_t = 5000)]
    pub rate_limit: u32,
    /// Requests that are served at once; more are answered 503
    #[arg(long, env = "THREEPORT_CONCURRENCY_LIMIT", default_value_t = 512)]
    pub concurrency_limit: usize,
    /// Watches that are served at once; more are answered 503
    #[arg(long, env = "THREEPORT_WATCH_LIMIT", default_value_t = 256)]
    pub watch_limit: usize,
    /// Seconds after which a request is given up
    #[arg(long, env = "THREEPORT_REQUEST_TIMEOUT", default_value_t = 30)]
    pub request_timeout: u64,
}

impl Limits {
    /// After how long a request is given up.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout)
    }
}

impl Database {
    /// The URL, which may hold a password and is never shown. From the file, else from `THREEPORT_DATABASE_URL`.
    pub fn url(&self) -> anyhow::Result<String> {
        let text = match (&self.database_url_file, std::env::var("THREEPORT_DATABASE_URL")) {
            (Some(file), _) => std::fs::read_to_string(file)
                .with_context(|| format!("failed to read the database's URL from {}", file.display()))?,
            (None, Ok(url)) => url,
            (None, Err(_)) => bail!("no database: give --database-url-file or THREEPORT_DATABASE_URL"),
        };
        Ok(text.trim().to_owned())
    }
}

impl Configuration {
    /// What flags can't say of each other.
    pub fn validate(&self) -> anyhow::Result<()> {
        let authentication = &self.authentication;
        if authentication.authentication == Mode::Disabled {
            if !self.listen.ip().is_loopback() && !authentication.force_insecure {
                bail!(
                    "authentication is disabled and {} can be reached by others: listen on a loopback address, or say \
                     --force-insecure",
                    self.listen
                );
            }
        } else if authentication.admin_token_file.is_none() && !authentication.kubernetes_authentication {
            bail!("nobody could authenticate: give --admin-token-file, --kubernetes-authentication, or both");
        }
        for (flag, name) in [
            ("--control-plane-name", &self.control_plane_name),
            ("--namespace", &self.namespace),
        ] {
            if let Some(problem) = threeport_model::name::problem(name) {
                bail!("{flag} {name:?} {problem}");
            }
        }
        Ok(())
    }
}
