//! The running system that a story is told on.

use std::{env, path::PathBuf};

use anyhow::{Context, Result};
use threeport_client::{Client, Options, Token};

/// Where everything is. Made from the environment that `testbed exec` sets.
pub struct World {
    /// The API, as its administrator.
    pub api: Client,
    /// The cluster, as system:masters.
    pub cluster: kube::Client,
    /// The namespace of the control plane.
    pub namespace: String,
    /// The apiserver's audit log.
    pub audit_log: PathBuf,
}

impl World {
    /// Connects to the running system, or says which variable is missing.
    pub async fn connect() -> Result<Self> {
        threeport_telemetry::init();
        let mut options = Options::new(variable("THREEPORT_SERVER")?, "threeport-e2e");
        options.ca_file = Some(variable("THREEPORT_CA_FILE")?.into());
        options.token = Some(Token::file(variable("THREEPORT_TOKEN_FILE")?));
        let cluster = kube::Client::try_default()
            .await
            .context("failed to read KUBECONFIG")?;
        Ok(Self {
            api: Client::new(options)?,
            cluster,
            namespace: variable("THREEPORT_NAMESPACE")?,
            audit_log: variable("THREEPORT_AUDIT_LOG")?.into(),
        })
    }
}

/// A variable that the testbed sets.
pub fn variable(name: &str) -> Result<String> {
    env::var(name)
        .with_context(|| format!("{name} is not set: run stories by `make test` or `make test STORY=n`"))
}
