//! A proxy between a client and PostgreSQL that loses connections, delays and cuts answers, and lets transactions fail
//! with 40001.
//!
//! It speaks the wire protocol (version 3) just enough to know where a message ends, what a batch of messages executes,
//! and when the server's answer is complete: a *statement* here is what a client sends up to its next Sync or simple
//! query. One statement is under way per connection; whatever a client sends ahead waits in its socket.
//!
//! **Faults are honest.** 40001 is raised by the server itself: in place of the client's statement it gets one that does
//! nothing but fail, so that its transaction has truly failed (and at COMMIT is truly rolled back). A connection that is
//! lost after COMMIT is closed when the server's own answer to COMMIT has been seen. What could not take effect (a COMMIT
//! that the server refused has no lost acknowledgement) is let pass and not counted.
//!
//! The client's side is in clear, whatever the server's is: `sslmode=disable` there, and the server's certificate is not
//! verified. COPY is not supported.

mod batch;
mod journal;
mod plan;
mod server;
mod session;
mod wire;

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

pub use journal::{Counts, Injected};
pub use plan::{Fault, Kind, Place, Plan};

use self::{journal::Journal, server::Server};

/// Why a proxy can't be had, or why one of its connections ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database's URL can't be used.
    #[error("failed to use the database's URL: {0}")]
    Url(String),
    /// A connection broke, or can't be made.
    #[error("failed to reach or to serve: {0}")]
    Io(#[from] std::io::Error),
    /// The server's TLS.
    #[error("failed to set TLS up: {0}")]
    Tls(#[from] rustls::Error),
    /// What this proxy does not speak.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// The server ended the connection before its answer was complete.
    #[error("the server ended the connection")]
    ServerGone,
}

/// A running proxy. Ends, with all of its connections, when dropped.
pub struct Proxy {
    url: Url,
    address: SocketAddr,
    journal: Arc<Journal>,
    _running: DropGuard,
}

impl Proxy {
    /// Listens on a free local port for clients of the server that `url` names. Injects nothing before
    /// [`Proxy::begin`].
    pub async fn start(url: &str) -> Result<Self, Error> {
        let url: Url = url
            .parse()
            .map_err(|error: url::ParseError| Error::Url(error.to_string()))?;
        let server = Arc::new(Server::of(&url)?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let journal = Arc::<Journal>::default();
        let running = CancellationToken::new();
        tokio::spawn(accept(listener, server, Arc::clone(&journal), running.clone()));
        Ok(Self {
            url,
            address,
            journal,
            _running: running.drop_guard(),
        })
    }

    /// The database's URL, with this proxy in the server's place.
    pub fn url(&self) -> Result<String, Error> {
        let mut url = self.url.clone();
        let no_base = |()| Error::Url("it has no host".to_owned());
        url.set_ip_host(self.address.ip()).map_err(no_base)?;
        url.set_port(Some(self.address.port())).map_err(no_base)?;
        let others: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| name != "sslmode")
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.query_pairs_mut()
            .clear()
            .extend_pairs(others)
            .append_pair("sslmode", "disable");
        Ok(url.into())
    }

    /// From now on faults are those of `plan`; statements are counted from nought again.
    pub fn begin(&self, plan: Plan) {
        self.journal.begin(plan);
    }

    /// How often each fault took effect, since the start of the proxy.
    pub fn counts(&self) -> Counts {
        self.journal.counts()
    }

    /// The faults that took effect since [`Proxy::begin`], in order.
    pub fn injected(&self) -> Vec<Injected> {
        self.journal.injected()
    }
}

async fn accept(
    listener: TcpListener,
    server: Arc<Server>,
    journal: Arc<Journal>,
    running: CancellationToken,
) {
    let mut connection = 0;
    while let Some(accepted) = running.run_until_cancelled(listener.accept()).await {
        let Ok((client, _)) = accepted else { continue };
        connection += 1;
        let (server, journal, running) = (Arc::clone(&server), Arc::clone(&journal), running.clone());
        tokio::spawn(async move {
            let session = session::run(client, &server, &journal, connection);
            if let Some(Err(error)) = running.run_until_cancelled(session).await {
                tracing::debug!(connection, "the connection ended: {error}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn its_url_is_the_servers_but_for_the_place() {
        let proxy = Proxy::start("postgres://me:secret@127.0.0.1:5432/truth?sslmode=require&options=-c")
            .await
            .unwrap();
        let expected = format!(
            "postgres://me:secret@{}/truth?options=-c&sslmode=disable",
            proxy.address
        );
        assert_eq!(proxy.url().unwrap(), expected);
    }
}
