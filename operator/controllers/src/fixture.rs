//! What the tests of several domains share.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use threeport_engine::{Found, Lease, Run, SourceError};
use threeport_model::protocol::{
    claim::Claim,
    inventory::{IntentRequest, IntentResponse},
    whoami::Version,
};
use tokio::time::Instant;

use crate::{Identity, api::Api};

/// Says what runs, and nothing else.
pub(crate) struct FakeApi;

#[async_trait]
impl Api for FakeApi {
    async fn intend(&self, _: &IntentRequest) -> Result<IntentResponse, SourceError> {
        Err(SourceError::Permanent("not told what is intended".to_owned()))
    }

    async fn version(&self) -> Result<Version, SourceError> {
        Ok(version())
    }

    fn endpoint(&self) -> &'static str {
        "https://threeport-api.threeport-system.svc"
    }
}

pub(crate) fn version() -> Version {
    Version {
        version: "0.1.0".to_owned(),
        schema_version: 1,
        database: "sqlite".to_owned(),
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        control_plane: uuid::Uuid::from_u128(1),
        name: "threeport".to_owned(),
        namespace: "threeport-system".to_owned(),
    }
}

/// A cluster that does not answer.
pub(crate) fn nowhere() -> kube::Config {
    let _ = rustls::crypto::ring::default_provider().install_default();
    kube::Config::new("http://127.0.0.1:1".parse().unwrap())
}

/// With ten seconds to go.
pub(crate) fn run_of(claim: Claim) -> Run {
    Run {
        claim,
        found: Found::Signal,
        lease: Arc::new(Lease::until(Instant::now() + Duration::from_secs(10))),
    }
}
