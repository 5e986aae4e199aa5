//! Claims, inventory and events: what controllers use.
//!
//! All that is said about a claim is given up after [`Options::claim_timeout`](crate::Options::claim_timeout), the answer's
//! body included: a claim lasts 10 s, and whoever waits for an answer that hangs can neither keep it nor take others.

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
            .within(self.inner.claim_timeout)
            .json(request)
            .send()
            .await
    }

    /// Keeps claims.
    pub async fn claim_renew(&self, request: &RenewRequest) -> Result<RenewResponse, Error> {
        self.request(Method::POST, "/v1alpha1/claims/renew")?
            .within(self.inner.claim_timeout)
            .json(request)
            .send()
            .await
    }

    /// Ends a run. Refused (PreconditionFailed) where the claim was lost.
    pub async fn claim_complete(&self, request: &CompleteRequest) -> Result<CompleteResponse, Error> {
        self.request(Method::POST, "/v1alpha1/claims/complete")?
            .within(self.inner.claim_timeout)
            .json(request)
            .send()
            .await
    }

    /// Writes inventory rows with intent, before what they speak of is made.
    pub async fn inventory_intend(&self, request: &IntentRequest) -> Result<IntentResponse, Error> {
        self.request(Method::POST, "/v1alpha1/inventory")?
            .within(self.inner.claim_timeout)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Client, Options, scripted};

    /// An API that begins to answer and never ends.
    fn hanging() -> String {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
        scripted::api(head, |_| {})
    }

    #[tokio::test]
    async fn an_answer_about_claims_that_hangs_is_given_up() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut options = Options::new(hanging(), "test");
        options.claim_timeout = Duration::from_millis(200);
        let client = Client::new(options).unwrap();
        let request = serde_json::from_value(
            serde_json::json!({"holder": "h", "kinds": [], "limit": 1, "ttlSeconds": 10}),
        )
        .unwrap();
        let claim = client.claim(&request);
        let answer = tokio::time::timeout(Duration::from_secs(10), claim)
            .await
            .expect("it is given up");
        assert!(answer.unwrap_err().is_transient());
    }
}
