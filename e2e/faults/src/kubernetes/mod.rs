//! A proxy for a cluster's API server: HTTPS in, HTTPS out, watches included.
//!
//! It ends TLS, so clients prove who they are by bearer token: a client certificate does not get through. It speaks
//! HTTP/1.1 to its clients, where a lost connection is a lost connection and not one stream of many.
//!
//! Without a plan it passes everything on. Under a [`Plan`] it injects every kind of [`Fault`], and counts each. It never
//! makes anything up that the API server would not say: no 404, no empty list, no object that is not there. What it says
//! is *unknown*, which no part of ours may take for *absent*.

mod body;
mod fault;
mod plan;
mod request;
mod serve;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use fault::Fault;
pub use plan::Plan;
pub use request::Kind;

/// A proxy that runs; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    certificate: String,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

/// What the connections share.
#[derive(Debug)]
struct Shared {
    upstream: String,
    client: reqwest::Client,
    counts: fault::Counts,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    plan: Option<Arc<Plan>>,
    /// How often each request was made under the plan.
    occurrences: BTreeMap<String, u64>,
    /// Continuations of short pages, and how they fail.
    continuations: BTreeMap<String, u16>,
    /// Ends the watches that were begun meanwhile.
    watches: CancellationToken,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Starts one on a free port of the loopback, before the API server at `upstream` whose certificate
    /// `upstream_authority` (PEM) vouches for.
    pub async fn start(upstream: &str, upstream_authority: &str) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(upstream_authority.as_bytes())
            .context("failed to read the API server's authority")?;
        let client = reqwest::Client::builder()
            .tls_certs_only([authority])
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("failed to make a client of the API server")?;
        let (acceptor, certificate) = serve::acceptor()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("failed to listen")?;
        let address = listener.local_addr().context("failed to listen")?;
        let shared = Arc::new(Shared {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client,
            counts: fault::Counts::default(),
            state: Mutex::default(),
        });
        let task = tokio::spawn(serve::accept(listener, acceptor, Arc::clone(&shared)));
        Ok(Self {
            address,
            certificate,
            shared,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate of the authority that its clients must trust, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// From now on requests fail by this plan. Watches that are open are lost, as with a network that begins to fail.
    pub fn disturb(&self, plan: Plan) {
        let begun = State {
            plan: Some(Arc::new(plan)),
            ..State::default()
        };
        let ended = std::mem::replace(&mut *self.shared.state(), begun);
        ended.watches.cancel();
    }

    /// From now on everything is passed on. What is being held still is, for as long as the plan said; watches go on.
    pub fn calm(&self) {
        let mut state = self.shared.state();
        let watches = state.watches.clone();
        *state = State {
            watches,
            ..State::default()
        };
    }

    /// How often each fault was injected since the start.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Fault, u64> {
        self.shared.counts.all()
    }
}
