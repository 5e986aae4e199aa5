//! The typed client of the Threeport API: what the operator, the agent, the CLI and tests use, so that no route,
//! header or error form is written twice.
//!
//! TLS is checked against the control plane's own CA. The token may be a file and is then read again when it
//! changes (ServiceAccount tokens are renewed by the kubelet). A request that fails to reach the API is not tried
//! again in here: who calls knows whether that is safe; [`Error::is_transient`] tells whether it can help.

mod agents;
mod claims;
mod error;
mod objects;
mod options;
mod refusal;
mod request;
#[cfg(test)]
mod scripted;
mod system;
mod token;
mod watch;

use std::{sync::Arc, time::Duration};

pub use error::Error;
pub use objects::{ApplyBody, ListQuery, Propagation};
pub use options::Options;
pub use token::Token;
pub use watch::{WatchItem, WatchStream};

/// A client of one control plane. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    base: String,
    token: Option<Token>,
    claim_timeout: Duration,
}
