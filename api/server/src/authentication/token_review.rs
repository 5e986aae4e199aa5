//! ServiceAccount tokens: the cluster says whose they are.
//!
//! An answer is kept for at most a minute by the token's digest, so that a heartbeat every two seconds costs the
//! API server of Kubernetes one review per minute and account. A refused token is remembered for a few seconds only.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest, Sha256};
use threeport_model::problem::Code;

use super::wrong_token;
use crate::problem::ApiError;

/// What tokens must be meant for.
pub const AUDIENCE: &str = "threeport";
const KEPT: Duration = Duration::from_secs(60);
const REFUSAL_KEPT: Duration = Duration::from_secs(5);
const MAX_KEPT: usize = 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

type Answer = (Option<String>, Instant);

/// Asks the cluster, and remembers.
pub struct TokenReviewer {
    reviews: Api<TokenReview>,
    answers: Mutex<HashMap<[u8; 32], Answer>>,
}

impl TokenReviewer {
    /// Asks through `client`, which needs the right to create tokenreviews.
    pub fn new(client: Client) -> Self {
        Self {
            reviews: Api::all(client),
            answers: Mutex::default(),
        }
    }

    /// The user name of the token's owner; 401 where the cluster refuses it, 503 where it can't be asked.
    pub async fn user(&self, token: &str) -> Result<String, ApiError> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(answer) = self.kept(&key) {
            return answer.ok_or_else(wrong_token);
        }
        let answer = self.review(token).await?;
        self.keep(key, answer.clone());
        answer.ok_or_else(wrong_token)
    }

    async fn review(&self, token: &str) -> Result<Option<String>, ApiError> {
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![AUDIENCE.to_owned()]),
        };
        let review = TokenReview {
            spec,
            ..TokenReview::default()
        };
        let parameters = PostParams::default();
        let asked = tokio::time::timeout(TIMEOUT, self.reviews.create(&parameters, &review)).await;
        let unavailable = |why: String| {
            tracing::warn!("failed to review a token: {why}");
            ApiError::new(
                Code::Unavailable,
                "the Kubernetes API can't be asked whose the token is",
            )
        };
        let answered = match asked {
            Ok(Ok(review)) => review,
            Ok(Err(error)) => return Err(unavailable(error.to_string())),
            Err(_) => return Err(unavailable("timed out".to_owned())),
        };
        let status = answered.status.unwrap_or_default();
        let ours = status
            .audiences
            .unwrap_or_default()
            .iter()
            .any(|audience| audience == AUDIENCE);
        let user = status.user.and_then(|user| user.username);
        Ok(user.filter(|_| status.authenticated == Some(true) && ours))
    }

    fn kept(&self, key: &[u8; 32]) -> Option<Option<String>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, until) = answers.get(key)?;
        (*until > Instant::now()).then(|| answer.clone())
    }

    fn keep(&self, key: [u8; 32], answer: Option<String>) {
        let now = Instant::now();
        let kept = if answer.is_some() { KEPT } else { REFUSAL_KEPT };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_KEPT {
            answers.retain(|_, (_, until)| *until > now);
        }
        if answers.len() >= MAX_KEPT {
            answers.clear();
        }
        answers.insert(key, (answer, now + kept));
    }
}
