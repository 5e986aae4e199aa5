//! The API about itself.

use reqwest::Method;
use threeport_model::protocol::{
    readiness::Readiness,
    whoami::{Version, WhoAmI},
};

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

    /// Whether the API can serve, and what does not work all the same.
    pub async fn ready(&self) -> Result<Readiness, Error> {
        self.request(Method::GET, "/readiness")?.send().await
    }
}
