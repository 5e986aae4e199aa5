//! TLS is always on: nobody is served without it, and a client that knows its authority trusts no other.

use anyhow::{Result, ensure};
use threeport_client::{Client, Options, Token};

use crate::api::Installation;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_served_without_tls_or_trusts_another_authority() -> Result<()> {
    let (installation, another) = (Installation::new().await?, Installation::new().await?);
    let process = installation.start().await?;
    let url = process.client.url().to_owned();
    ensure!(url.starts_with("https://"), "{url}");
    process.client.ready().await?;

    let mut plain = Options::new(url.replacen("https:", "http:", 1), "threeport-e2e");
    plain.token = Some(Token::file(installation.file("admin-token")));
    let mut strange = Options::new(url, "threeport-e2e");
    strange.token.clone_from(&plain.token);
    strange.ca_file = Some(another.file("ca.crt"));
    for options in [plain, strange] {
        let what = format!("{options:?}");
        // A client may refuse such options before it connects.
        let answered = match Client::new(options) {
            Ok(client) => client.ready().await.is_ok(),
            Err(_) => false,
        };
        ensure!(!answered, "somebody was served: {what}");
    }
    let port = process
        .client
        .url()
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .trim_end_matches('/')
        .to_owned();
    let spoken = reqwest::Client::new()
        .get(format!("http://localhost:{port}/readyz"))
        .send()
        .await;
    ensure!(spoken.is_err(), "plain HTTP was answered: {spoken:?}");
    Ok(())
}
