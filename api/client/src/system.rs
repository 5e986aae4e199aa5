//! The API about itself.

use reqwest::Method;
use threeport_model::protocol::whoami::{Version, WhoAmI};

use crate::{Client, Error};

impl Client {
    /// Who the API takes the caller for.
    pub async fn whoami(&self) -> Result<WhoAmI, Error> {
        self.request(Method::GET, "/whoami")?.send().await
    }

    /// What runs.
    pub async fn version(&self) -> Result<Version, Error> {
        self.request(Method::GET, "/version")?.send().await
    }

    /// Whether the API can serve; the text says how it is, degradations included.
    pub async fn ready(&self) -> Result<String, Error> {
        let text = self.request(Method::GET, "/readyz")?.send_text().await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
