//! Claims, inventory and events: what controllers use.

use reqwest::Method;
use threeport_model::{
    kinds::event::NewEvent,
    protocol::{
        claim::{
            ClaimRequest, ClaimResponse, CompleteRequest, CompleteResponse, RenewRequest, RenewResponse,
        },
        inventory::{IntentRequest, IntentResponse},
    },
};

use crate::{Client, Error};

impl Client {
    /// Takes work.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<ClaimResponse, Error> {
        self.request(Method::POST, "/v1alpha1/claims")?
            .json(request)
            .send()
            .await
    }

    /// Keeps claims.
    pub async fn claim_renew(&self, request: &RenewRequest) -> Result<RenewResponse, Error> {
        self.request(Method::POST, "/v1alpha1/claims/renew")?
            .json(request)
            .send()
            .await
    }

    /// Ends a run. Refused (PreconditionFailed) where the claim was lost.
    pub async fn claim_complete(&self, request: &CompleteRequest) -> Result<CompleteResponse, Error> {
        self.request(Method::POST, "/v1alpha1/claims/complete")?
            .json(request)
            .send()
            .await
    }

    /// Writes inventory rows with intent, before what they speak of is made.
    pub async fn inventory_intend(&self, request: &IntentRequest) -> Result<IntentResponse, Error> {
        self.request(Method::POST, "/v1alpha1/inventory")?
            .json(request)
            .send()
            .await
    }

    /// Reports what happened.
    pub async fn events_report(&self, events: &[NewEvent]) -> Result<(), Error> {
        self.request(Method::POST, "/v1alpha1/events")?
            .json(&events)
            .send_text()
            .await
            .map(drop)
    }
}
