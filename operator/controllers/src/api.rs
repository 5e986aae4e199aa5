//! What controllers ask of the API beyond claims: the real client, or a fake in tests.

use async_trait::async_trait;
use threeport_client::{Client, Error};
use threeport_engine::{Source, SourceError};
use threeport_model::{
    Code,
    protocol::{
        claim::{
            ClaimRequest, ClaimResponse, CompleteRequest, CompleteResponse, RenewRequest, RenewResponse,
        },
        inventory::{IntentRequest, IntentResponse},
        whoami::Version,
    },
};

/// See the module.
#[async_trait]
pub trait Api: Send + Sync + 'static {
    /// Writes inventory rows with intent, before what they speak of is made. Fenced by the claim's epoch.
    async fn intend(&self, request: &IntentRequest) -> Result<IntentResponse, SourceError>;
    /// What runs.
    async fn version(&self) -> Result<Version, SourceError>;
}

/// The real API, as the engine's source and the controllers' [`Api`].
#[derive(Clone, Debug)]
pub struct ApiClient(pub Client);

#[async_trait]
impl Api for ApiClient {
    async fn intend(&self, request: &IntentRequest) -> Result<IntentResponse, SourceError> {
        self.0
            .inventory_intend(request)
            .await
            .map_err(|error| of_client(&error))
    }

    async fn version(&self) -> Result<Version, SourceError> {
        self.0.version().await.map_err(|error| of_client(&error))
    }
}

#[async_trait]
impl Source for ApiClient {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimResponse, SourceError> {
        self.0.claim(request).await.map_err(|error| of_client(&error))
    }

    async fn renew(&self, request: &RenewRequest) -> Result<RenewResponse, SourceError> {
        self.0
            .claim_renew(request)
            .await
            .map_err(|error| of_client(&error))
    }

    async fn complete(&self, request: &CompleteRequest) -> Result<CompleteResponse, SourceError> {
        self.0
            .claim_complete(request)
            .await
            .map_err(|error| of_client(&error))
    }
}

fn of_client(error: &Error) -> SourceError {
    let source = std::error::Error::source(error)
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    let text = format!("{error}{source}");
    match error.code() {
        Some(Code::PreconditionFailed) => SourceError::Fenced(text),
        _ if error.is_transient() => SourceError::Transient(text),
        _ => SourceError::Permanent(text),
    }
}
