//! Who writes, and what a write answers.

use std::time::{Duration, Instant};

use threeport_model::{ManagedBy, Object, protocol::apply::Applied};
use uuid::Uuid;

/// Who writes, on which route: it becomes the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Made by the caller, one per request: the answer and the logs carry it.
    pub operation_id: Uuid,
    /// As authenticated.
    pub actor: String,
    /// On whose behalf, where the actor is a facade and the cluster could tell.
    pub on_behalf_of: Option<String>,
    /// As in `POST /v1alpha1/apply`.
    pub route: String,
    /// As which owner the caller writes: objects of another one are refused.
    pub writer: ManagedBy,
    /// Where the same request must happen only once.
    pub idempotency: Option<Idempotency>,
    /// When it was taken.
    pub begun: Instant,
}

/// An idempotency key, scoped to actor and route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// As the caller sent it.
    pub key: String,
    /// Of the body (and whatever else makes the request): the same key with another one is refused.
    pub body_digest: String,
}

impl Request {
    /// A request of somebody who writes through the API.
    pub fn new(operation_id: Uuid, actor: impl Into<String>, route: impl Into<String>) -> Self {
        Self {
            operation_id,
            actor: actor.into(),
            on_behalf_of: None,
            route: route.into(),
            writer: ManagedBy::Api,
            idempotency: None,
            begun: Instant::now(),
        }
    }
}

/// What a write did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// The operation that did it: the request's own, or the one that did it first.
    pub operation_id: Uuid,
    /// One per object that was sent.
    pub results: Vec<Applied>,
    /// What became pending.
    pub notices: Vec<Notice>,
    /// Nothing was done now: the same request had been done before.
    pub replayed: bool,
}

impl Written {
    /// The first object.
    pub fn object(&self) -> Option<&Object> {
        self.results.first().map(|result| &result.object)
    }
}

/// An object that became pending: what is published after the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The object.
    pub id: Uuid,
    /// Its kind.
    pub kind: String,
    /// Of its pending row.
    pub token: String,
    /// In how long it is due. Nothing: publish it now.
    pub delay: Duration,
}
