//! What the agent says to the API and asks it; a trait, so that tests can be the API.

use async_trait::async_trait;
use threeport_client::{Client, Error};
use threeport_model::{
    Code,
    protocol::agent::{
        HeartbeatRequest, HeartbeatResponse, ObservationsRequest, ObservationsResponse, RegisterRequest,
        RegisterResponse, Watches,
    },
};
use uuid::Uuid;

/// The API, as an agent sees it.
#[async_trait]
pub trait ControlPlane: Send + Sync + 'static {
    /// Registers; a new epoch begins.
    async fn register(&self, request: &RegisterRequest) -> Result<RegisterResponse, Error>;
    /// Says that the agent is there.
    async fn heartbeat(&self, runtime: Uuid, request: &HeartbeatRequest) -> Result<HeartbeatResponse, Error>;
    /// Asks what to watch.
    async fn watches(&self, runtime: Uuid) -> Result<Watches, Error>;
    /// Says what was seen.
    async fn observe(
        &self,
        runtime: Uuid,
        request: &ObservationsRequest,
    ) -> Result<ObservationsResponse, Error>;
}

#[async_trait]
impl ControlPlane for Client {
    async fn register(&self, request: &RegisterRequest) -> Result<RegisterResponse, Error> {
        self.agent_register(request).await
    }

    async fn heartbeat(&self, runtime: Uuid, request: &HeartbeatRequest) -> Result<HeartbeatResponse, Error> {
        self.agent_heartbeat(runtime, request).await
    }

    async fn watches(&self, runtime: Uuid) -> Result<Watches, Error> {
        self.agent_watches(runtime).await
    }

    async fn observe(
        &self,
        runtime: Uuid,
        request: &ObservationsRequest,
    ) -> Result<ObservationsResponse, Error> {
        self.agent_observe(runtime, request).await
    }
}

/// Whether the epoch is over: a newer one was issued, or the API no longer knows the runtime that it was for.
pub fn epoch_is_over(error: &Error) -> bool {
    matches!(error.code(), Some(Code::Conflict | Code::NotFound))
}
