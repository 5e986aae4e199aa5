//! How a client reaches its API.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::{Client, Error, Inner, Token};

/// How often a connection is tried while nothing comes, and how long it may be silent then: one that died unnoticed would
/// swallow every request until it times out.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Where the API is and how to trust it and be trusted.
#[derive(Clone, Debug)]
pub struct Options {
    /// As in `https://threeport-api.threeport-system.svc`.
    pub url: String,
    /// PEM file with the control plane's CA. The system's CAs where absent.
    pub ca_file: Option<PathBuf>,
    /// The CA in PEM, held in memory; beside or in place of `ca_file`.
    pub ca_pem: Option<Vec<u8>>,
    /// Where the host of `url` really is: a port-forward, whose server still proves its own name.
    pub address: Option<SocketAddr>,
    /// Who calls; nobody where absent.
    pub token: Option<Token>,
    /// The longest that a request may take, a watch aside.
    pub timeout: Duration,
    /// The longest that anything said about a claim may take, to the end of its answer.
    pub claim_timeout: Duration,
    /// As in `tptctl/0.1.0`.
    pub user_agent: String,
}

impl Options {
    /// Options with a time-out of 30 s.
    pub fn new(url: impl Into<String>, user_agent: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_file: None,
            ca_pem: None,
            address: None,
            token: None,
            timeout: Duration::from_secs(30),
            claim_timeout: Duration::from_secs(4),
            user_agent: user_agent.into(),
        }
    }
}

impl Client {
    /// A client. Reads the CA file; makes no connection yet.
    pub fn new(options: Options) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(options.user_agent)
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(options.timeout)
            .pool_idle_timeout(Duration::from_secs(60))
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .http2_keep_alive_while_idle(true)
            .https_only(options.url.starts_with("https://"));
        let mut trusted = options.ca_pem.unwrap_or_default();
        if let Some(path) = &options.ca_file {
            let pem = std::fs::read(path).map_err(|source| Error::ReadFile {
                path: path.clone(),
                source,
            })?;
            trusted.extend(pem);
        }
        if !trusted.is_empty() {
            let certificates = reqwest::Certificate::from_pem_bundle(&trusted).map_err(Error::Configure)?;
            builder = builder.tls_certs_only(certificates);
        }
        if let Some(address) = options.address {
            let url: reqwest::Url = options
                .url
                .parse()
                .map_err(|_| Error::Address(options.url.clone()))?;
            let host = url
                .host_str()
                .ok_or_else(|| Error::Address(options.url.clone()))?;
            builder = builder.resolve(host, address);
        }
        let http = builder.build().map_err(Error::Configure)?;
        let base = options.url.trim_end_matches('/').to_owned();
        Ok(Self {
            inner: Arc::new(Inner {
                http,
                base,
                token: options.token,
                claim_timeout: options.claim_timeout,
            }),
        })
    }

    /// The address that the client was made with.
    pub fn url(&self) -> &str {
        &self.inner.base
    }
}
