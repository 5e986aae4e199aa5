//! The client of the API.

use anyhow::Context;
use threeport_client::{Client, Options, Token};

use crate::arguments::Serve;

/// A client of the control plane's API.
pub(crate) fn api(serve: &Serve, name: &str) -> anyhow::Result<Client> {
    let mut options = Options::new(&serve.api_url, format!("{name}/{}", env!("CARGO_PKG_VERSION")));
    options.ca_file.clone_from(&serve.api_ca);
    options.token = serve.token_file.as_ref().map(Token::file);
    Client::new(options).context("failed to configure the API client")
}
