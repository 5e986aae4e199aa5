//! Where claims come from: the API in a real process, a fake in tests.

use async_trait::async_trait;
use threeport_model::protocol::claim::{
    ClaimRequest, ClaimResponse, CompleteRequest, CompleteResponse, RenewRequest, RenewResponse,
};

/// Why the source did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The epoch is not the newest any more: somebody else has the claim.
    #[error("the claim is held by somebody else: {0}")]
    Fenced(String),
    /// It may work later: no answer, too many requests, a 5xx.
    #[error("the API does not answer: {0}")]
    Transient(String),
    /// It will not work however often it is tried.
    #[error("the API refused: {0}")]
    Permanent(String),
}

impl SourceError {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient(_))
    }
}

/// The three requests of [`threeport_model::protocol::claim`]. Calls must end by themselves within some seconds.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Takes claims.
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimResponse, SourceError>;
    /// Keeps claims.
    async fn renew(&self, request: &RenewRequest) -> Result<RenewResponse, SourceError>;
    /// Ends a run.
    async fn complete(&self, request: &CompleteRequest) -> Result<CompleteResponse, SourceError>;
}
