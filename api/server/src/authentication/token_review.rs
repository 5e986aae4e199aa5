//! ServiceAccount tokens: the cluster says whose they are.
//!
//! An answer is kept for at most a minute by the token's digest, so that a heartbeat every two seconds costs the
//! API server of Kubernetes one review per minute and account. A refused token is remembered for a few seconds only.
//!
//! Who is not known must cost those who are nothing: what is not even a JSON Web Token is refused without asking, few
//! reviews run at once and few more wait, and refusals are remembered apart, so that no number of them drives out what
//! is known to be good. A token that was good a minute ago is reviewed at places of its own, which no stranger takes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest, Sha256};
use threeport_model::{explain, problem::Code};
use tokio::sync::Semaphore;

use super::wrong_token;
use crate::problem::ApiError;

/// What tokens must be meant for.
pub const AUDIENCE: &str = "threeport";
const KEPT: Duration = Duration::from_secs(60);
const REFUSAL_KEPT: Duration = Duration::from_secs(5);
/// Of good answers, and of refusals.
const MAX_KEPT: usize = 1024;
/// For waiting and for the review.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Reviews at once.
const RUNNING: usize = 8;
/// Requests whose token is being asked about or waits for that; more are answered 503.
const WAITING: usize = 64;

type Key = [u8; 32];

/// Asks the cluster, and remembers.
pub struct TokenReviewer {
    reviews: Api<TokenReview>,
    good: Answers<String>,
    refused: Answers<()>,
    /// For tokens that were good when they were reviewed last.
    returning: Places,
    /// For all others.
    strangers: Places,
}

/// Places for requests whose token is asked about.
struct Places {
    running: Semaphore,
    waiting: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            running: Semaphore::new(RUNNING),
            waiting: Semaphore::new(WAITING),
        }
    }
}

impl TokenReviewer {
    /// Asks through `client`, which needs the right to create tokenreviews.
    pub fn new(client: Client) -> Self {
        Self {
            reviews: Api::all(client),
            good: Answers::default(),
            refused: Answers::default(),
            returning: Places::default(),
            strangers: Places::default(),
        }
    }

    /// The user name of the token's owner; 401 where the cluster refuses it, 503 where it can't be asked.
    pub async fn user(&self, token: &str) -> Result<String, ApiError> {
        if !is_web_token(token) {
            return Err(wrong_token());
        }
        let key: Key = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.known(&key) {
            return known;
        }
        let places = if self.good.had(&key) {
            &self.returning
        } else {
            &self.strangers
        };
        let _waits = places
            .waiting
            .try_acquire()
            .map_err(|_| unavailable("too many tokens that nobody knows are being asked about"))?;
        let asked = tokio::time::timeout(TIMEOUT, async {
            let _runs = places.running.acquire().await;
            // Somebody with the same token may have been answered while this one waited.
            match self.known(&key) {
                Some(known) => known,
                None => self.ask(key, token).await,
            }
        });
        asked.await.unwrap_or_else(|_| Err(unavailable("timed out")))
    }

    fn known(&self, key: &Key) -> Option<Result<String, ApiError>> {
        let refused = || self.refused.get(key).map(|()| Err(wrong_token()));
        self.good.get(key).map(Ok).or_else(refused)
    }

    async fn ask(&self, key: Key, token: &str) -> Result<String, ApiError> {
        match self.review(token).await? {
            Some(user) => {
                self.good.keep(key, user.clone(), KEPT);
                Ok(user)
            }
            None => {
                self.good.forget(&key);
                self.refused.keep(key, (), REFUSAL_KEPT);
                Err(wrong_token())
            }
        }
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
        let asked = self.reviews.create(&PostParams::default(), &review).await;
        let answered = asked.map_err(|error| unavailable(&explain(&error)))?;
        let status = answered.status.unwrap_or_default();
        let ours = status
            .audiences
            .unwrap_or_default()
            .iter()
            .any(|audience| audience == AUDIENCE);
        let user = status.user.and_then(|user| user.username);
        Ok(user.filter(|_| status.authenticated == Some(true) && ours))
    }
}

fn unavailable(why: &str) -> ApiError {
    tracing::warn!("failed to review a token: {why}");
    ApiError::new(
        Code::Unavailable,
        "the Kubernetes API can't be asked whose the token is",
    )
}

/// Whether a token has the form of a JSON Web Token, as all tokens have that a cluster vouches for.
fn is_web_token(token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else {
        return false;
    };
    let is_base64 = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let header = BASE64_URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    is_base64(payload) && is_base64(signature) && header.is_some_and(|header| header["alg"].is_string())
}

/// Answers by the digest of the token, a bounded number of them.
struct Answers<T>(Mutex<HashMap<Key, (T, Instant)>>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Answers<T> {
    fn get(&self, key: &Key) -> Option<T> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, until) = answers.get(key)?;
        (*until > Instant::now()).then(|| answer.clone())
    }

    /// Whether there is an answer, or was one that is too old.
    fn had(&self, key: &Key) -> bool {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.contains_key(key)
    }

    fn forget(&self, key: &Key) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.remove(key);
    }

    /// Where there is no room, what would be forgotten first is forgotten now.
    fn keep(&self, key: Key, answer: T, kept: Duration) {
        let now = Instant::now();
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_KEPT {
            answers.retain(|_, (_, until)| *until > now);
        }
        if answers.len() >= MAX_KEPT {
            let first = answers.iter().min_by_key(|(_, (_, until))| *until);
            if let Some(first) = first.map(|(key, _)| *key) {
                answers.remove(&first);
            }
        }
        answers.insert(key, (answer, now + kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_tokens_are_asked_about() {
        assert!(is_web_token("eyJhbGciOiJSUzI1NiJ9.e30.c2ln"));
        for token in [
            "",
            "nonsense",
            "a.b.c",
            "eyJhbGciOiJSUzI1NiJ9.e30",
            "eyJhbGciOiJSUzI1NiJ9..x",
            "e30.e30.x",
            "eyJhbGciOiJSUzI1NiJ9.e30.x.y",
        ] {
            assert!(!is_web_token(token), "{token}");
        }
    }

    /// A cluster that vouches for whatever it is asked about.
    fn cluster() -> Client {
        let service = tower::service_fn(|_: axum::http::Request<kube::client::Body>| async {
            let review = serde_json::json!({
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "metadata": {},
                "spec": {},
                "status": {"authenticated": true, "audiences": [AUDIENCE], "user": {"username": "agent"}},
            });
            let body = axum::body::Body::from(review.to_string());
            Ok::<_, std::convert::Infallible>(axum::http::Response::new(body))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn who_was_known_is_reviewed_again_while_strangers_take_all_their_places() {
        let reviewer = TokenReviewer::new(cluster());
        let (known, stranger) = ("eyJhbGciOiJub25lIn0.agent.x", "eyJhbGciOiJub25lIn0.other.x");
        let key: Key = Sha256::digest(known.as_bytes()).into();
        // As it is a minute after its review.
        reviewer.good.keep(key, "agent".to_owned(), Duration::ZERO);
        let all = |places: usize| u32::try_from(places).unwrap();
        let strangers = &reviewer.strangers;
        let _waiting = strangers.waiting.try_acquire_many(all(WAITING)).unwrap();
        let _running = strangers.running.try_acquire_many(all(RUNNING)).unwrap();
        let refused = reviewer.user(stranger).await.unwrap_err();
        assert_eq!(refused.code, Code::Unavailable);
        assert_eq!(reviewer.user(known).await.unwrap(), "agent");
    }

    #[test]
    fn answers_are_bounded_and_the_newest_stay() {
        let answers = Answers::default();
        let key = |number: usize| <Key>::from(Sha256::digest(number.to_be_bytes()));
        for number in 0..2 * MAX_KEPT {
            answers.keep(key(number), number, KEPT);
        }
        assert_eq!(answers.0.lock().unwrap().len(), MAX_KEPT);
        assert_eq!(answers.get(&key(2 * MAX_KEPT - 1)), Some(2 * MAX_KEPT - 1));
        assert_eq!(answers.get(&key(0)), None);
    }
}
