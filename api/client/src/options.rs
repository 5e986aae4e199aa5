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
    /// For how long an answer may be silent, from its request on: a watch is kept alive by the API.
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
        // Else it would be found out at the first request, as a failure that might pass.
        let url = options
            .url
            .parse::<reqwest::Url>()
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| Error::Address(options.url.clone()))?;
        let mut builder = reqwest::Client::builder()
            .user_agent(options.user_agent)
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(options.timeout)
            .pool_idle_timeout(Duration::from_secs(60))
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .http2_keep_alive_while_idle(true)
            .https_only(url.scheme() == "https");
        let certificates = |pem: &[u8]| reqwest::Certificate::from_pem_bundle(pem).map_err(Error::Configure);
        let mut trusted = certificates(&options.ca_pem.unwrap_or_default())?;
        if let Some(path) = &options.ca_file {
            let pem = std::fs::read(path).map_err(|source| Error::ReadFile {
                path: path.clone(),
                source,
            })?;
            let found = certificates(&pem)?;
            // Else the system's authorities would be trusted in place of the one that was named.
            if found.is_empty() {
                return Err(Error::NoCertificate(path.clone()));
            }
            trusted.extend(found);
        }
        if !trusted.is_empty() {
            builder = builder.tls_certs_only(trusted);
        }
        if let Some(address) = options.address {
            let host = url
                .host_str()
                .ok_or_else(|| Error::Address(options.url.clone()))?;
            // A proxy, which the environment may name, would be asked for a name that only this override knows.
            builder = builder.resolve(host, address).no_proxy();
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

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{SocketAddr, TcpListener},
        process::Command,
    };

    use crate::{Client, Error, Options};

    /// Says to a process of this test that it is the one whose environment names a proxy.
    const WITHIN: &str = "WITHIN_A_PROXY_S_ENVIRONMENT";

    /// An API that is ready.
    fn ready() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let answer =
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 15\r\n\r\n{\"degraded\":[]}";
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address
    }

    #[test]
    fn an_address_is_one_before_anything_is_sent_there() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (url, taken) in [
            ("https://threeport.example.com/team", true),
            ("https://[::1]:8443", true),
            ("http://localhost", true),
            ("", false),
            ("localhost", false),
            // Of a scheme that is called localhost.
            ("localhost:8443", false),
            ("https://", false),
            ("ftp://localhost", false),
        ] {
            match Client::new(Options::new(url, "test")) {
                Ok(_) => assert!(taken, "{url:?} is taken"),
                Err(error) => {
                    assert!(!taken, "{url:?}: {error}");
                    assert!(error.to_string().contains("https://localhost:8443"), "{error}");
                    assert!(!error.is_transient());
                }
            }
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_no_authority_and_the_system_s_are_none_in_its_place() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let path = std::env::temp_dir().join(format!("threeport-client-{}.crt", std::process::id()));
        for text in ["", "not in PEM\n"] {
            std::fs::write(&path, text).unwrap();
            let mut options = Options::new("https://localhost", "test");
            options.ca_file = Some(path.clone());
            let error = Client::new(options).map(drop).unwrap_err();
            assert!(matches!(error, Error::NoCertificate(_)), "{text:?}: {error}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_forwarded_port_is_reached_without_the_environment_s_proxy() {
        if std::env::var_os(WITHIN).is_none() {
            // A process can't change its own environment safely.
            let name = "options::tests::a_forwarded_port_is_reached_without_the_environment_s_proxy";
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name, "--nocapture"])
                .env_clear()
                .env(WITHIN, "yes")
                // Nobody listens there.
                .env("HTTP_PROXY", "http://127.0.0.1:1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
            return;
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = ready();
        let control = Client::new(Options::new(format!("http://{address}"), "test")).unwrap();
        assert!(control.ready().await.is_err(), "the proxy is not heeded at all");

        let url = format!("http://threeport-api.threeport-system.svc:{}", address.port());
        let mut options = Options::new(url, "test");
        options.address = Some(address);
        let ready = Client::new(options).unwrap().ready().await.unwrap();
        assert!(ready.degraded.is_empty(), "{ready:?}");
    }
}
