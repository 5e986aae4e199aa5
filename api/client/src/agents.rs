//! What an agent says and asks.

use reqwest::Method;
use threeport_model::protocol::agent::{
    HeartbeatRequest, HeartbeatResponse, ObservationsRequest, ObservationsResponse, RegisterRequest,
    RegisterResponse, Watches,
};
use uuid::Uuid;

use crate::{Client, Error};

impl Client {
    /// Registers an agent; it gets a new epoch.
    pub async fn agent_register(&self, request: &RegisterRequest) -> Result<RegisterResponse, Error> {
        self.request(Method::POST, "/v1alpha1/agents")?
            .json(request)
            .send()
            .await
    }

    /// Says that the agent is there. Conflict: there is a newer epoch.
    pub async fn agent_heartbeat(
        &self,
        runtime: Uuid,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatResponse, Error> {
        self.request(Method::POST, &format!("/v1alpha1/agents/{runtime}/heartbeat"))?
            .json(request)
            .send()
            .await
    }

    /// Says what the agent saw. Conflict: there is a newer epoch.
    pub async fn agent_observe(
        &self,
        runtime: Uuid,
        request: &ObservationsRequest,
    ) -> Result<ObservationsResponse, Error> {
        self.request(Method::POST, &format!("/v1alpha1/agents/{runtime}/observations"))?
            .json(request)
            .send()
            .await
    }

    /// What to watch.
    pub async fn agent_watches(&self, runtime: Uuid) -> Result<Watches, Error> {
        self.request(Method::GET, &format!("/v1alpha1/agents/{runtime}/watches"))?
            .send()
            .await
    }
}
