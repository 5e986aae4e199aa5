//! What controllers ask of the API beyond claims: the real client, or a fake in tests.

use async_trait::async_trait;
use threeport_client::{Client, Error};
use threeport_engine::{Source, SourceError};
use threeport_model::{
    Code, explain,
    protocol::{
        claim::{
            ClaimRequest, ClaimResponse, CompleteRequest, CompleteResponse, RenewRequest, RenewResponse,
        },
        inventory::{IntentRequest, IntentResponse},
        whoami::Version,
    },
};
use uuid::Uuid;

use crate::one_control_plane::Identified;

/// See the module.
#[async_trait]
pub trait Api: Send + Sync + 'static {
    /// Writes inventory rows with intent, before what they speak of is made. Fenced by the claim's epoch.
    async fn intend(&self, request: &IntentRequest) -> Result<IntentResponse, SourceError>;
    /// What runs.
    async fn version(&self) -> Result<Version, SourceError>;
    /// Where it is asked: a URL.
    fn endpoint(&self) -> &str;
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

    fn endpoint(&self) -> &str {
        self.0.url()
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

#[async_trait]
impl Identified for ApiClient {
    async fn control_plane(&self) -> Result<Uuid, SourceError> {
        let who = self.0.whoami().await.map_err(|error| of_client(&error))?;
        Ok(who.control_plane_id)
    }
}

fn of_client(error: &Error) -> SourceError {
    let text = explain(error);
    match error.code() {
        Some(Code::PreconditionFailed) => SourceError::Fenced(text),
        // A token that is being renewed, an account whose role is not bound yet, a proxy that answers for the API: none of
        // them is about what was asked.
        Some(Code::Unauthenticated | Code::Forbidden) => SourceError::Transient(text),
        _ if error.is_transient() || matches!(error, Error::Decode { .. }) => SourceError::Transient(text),
        _ => SourceError::Permanent(text),
    }
}

#[cfg(test)]
mod tests {
    use threeport_model::Problem;

    use super::*;

    #[test]
    fn only_what_is_about_the_request_itself_is_final() {
        let refused = |code: Code| {
            let problem = serde_json::json!({"type": "", "title": "", "status": 400, "detail": "", "code": code,
                "next": "", "operationId": ""});
            let problem: Problem = serde_json::from_value(problem).unwrap();
            of_client(&Error::Refused(Box::new(problem)))
        };
        for code in [
            Code::Unauthenticated,
            Code::Forbidden,
            Code::Unavailable,
            Code::Internal,
        ] {
            assert!(refused(code).is_transient(), "{code:?}");
        }
        assert!(matches!(
            refused(Code::PreconditionFailed),
            SourceError::Fenced(_)
        ));
        for code in [Code::Invalid, Code::NotFound, Code::Conflict] {
            assert!(matches!(refused(code), SourceError::Permanent(_)), "{code:?}");
        }
        let truncated = Error::Decode {
            request: "POST /v1alpha1/claims".to_owned(),
            source: serde_json::from_str::<u8>("{").unwrap_err(),
        };
        assert!(of_client(&truncated).is_transient());
    }

    #[test]
    fn what_failed_is_told_to_its_last_cause() {
        #[derive(Debug, thiserror::Error)]
        #[error("the volume is away")]
        struct Away(#[source] std::io::Error);
        let away = Away(std::io::Error::other("no such device"));
        let error = Error::ReadFile {
            path: "token".into(),
            source: std::io::Error::other(away),
        };
        let told = "failed to read token: the volume is away: no such device".to_owned();
        assert_eq!(of_client(&error), SourceError::Transient(told));
    }
}
