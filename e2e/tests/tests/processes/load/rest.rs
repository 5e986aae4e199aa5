//! REST as somebody speaks it who has read no client library: with idempotency keys, ETags and the operation's id, and a
//! clear view of what was answered and what was not.

use std::{
    fmt,
    sync::{PoisonError, RwLock},
};

use anyhow::{Context, Result};
use reqwest::{Method, header};
use serde_json::Value;
use threeport_model::{Code, Etag, Problem};
use uuid::Uuid;

use crate::api::{Installation, Process};

/// A client of an API that may come back elsewhere.
pub(crate) struct Rest {
    http: reqwest::Client,
    token: String,
    base: RwLock<String>,
}

/// A request that can be sent more than once.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Content type and text.
    pub(crate) body: Option<(&'static str, String)>,
    pub(crate) if_match: Option<Etag>,
    pub(crate) key: Option<String>,
}

/// What a request was answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// 2xx: it is so.
    Acknowledged { operation: Uuid, body: Value },
    /// 4xx: it is not so.
    Refused { operation: Uuid, code: Code },
    /// It may be so or not: no answer, or one that says that it isn't known.
    Unanswered(String),
    /// What an API never says, whatever its database does.
    Wrong(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acknowledged { operation, body } => {
                write!(f, "acknowledged as {operation}:")?;
                let results = body["results"].as_array();
                let results = results.into_iter().flatten().map(|result| &result["object"]);
                for object in results.chain(body.get("metadata").map(|_| body)) {
                    let metadata = &object["metadata"];
                    let [name, id, generation] = ["name", "id", "generation"].map(|field| &metadata[field]);
                    write!(f, " {}/{name} {id} at {generation}", object["kind"])?;
                }
                Ok(())
            }
            Self::Refused { operation, code } => write!(f, "refused as {operation}: {code:?}"),
            Self::Unanswered(text) => write!(f, "unanswered: {text}"),
            Self::Wrong(text) => write!(f, "wrong: {text}"),
        }
    }
}

impl Request {
    pub(crate) fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
            if_match: None,
            key: None,
        }
    }

    pub(crate) fn post(path: &str, body: &impl serde::Serialize) -> Result<Self> {
        Ok(Self {
            method: Method::POST,
            body: Some(("application/json", serde_json::to_string(body)?)),
            ..Self::get(path.to_owned())
        })
    }
}

impl Rest {
    /// A client of `process`, as the installation's administrator.
    pub(crate) fn new(installation: &Installation, process: &Process) -> Result<Self> {
        let authority = std::fs::read(installation.file("ca.crt"))?;
        let authority = reqwest::Certificate::from_pem_bundle(&authority)?;
        let token = std::fs::read_to_string(installation.file("admin-token"))?;
        Ok(Self {
            http: reqwest::Client::builder()
                .tls_certs_only(authority)
                .timeout(std::time::Duration::from_secs(40))
                .build()?,
            token: token.trim().to_owned(),
            base: RwLock::new(process.client.url().to_owned()),
        })
    }

    /// From now on the API is there.
    pub(crate) fn moved(&self, process: &Process) {
        process
            .client
            .url()
            .clone_into(&mut self.base.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) async fn send(&self, request: &Request) -> Answer {
        match self.try_send(request).await {
            Ok(answer) => answer,
            Err(error) => Answer::Unanswered(format!("{error:#}")),
        }
    }

    async fn try_send(&self, request: &Request) -> Result<Answer> {
        let base = self.base.read().unwrap_or_else(PoisonError::into_inner).clone();
        let url = format!("{base}{}", request.path);
        let mut builder = self
            .http
            .request(request.method.clone(), url)
            .bearer_auth(&self.token);
        if let Some((content_type, text)) = &request.body {
            builder = builder
                .header(header::CONTENT_TYPE, *content_type)
                .body(text.clone());
        }
        if let Some(etag) = request.if_match {
            builder = builder.header(header::IF_MATCH, etag.to_string());
        }
        if let Some(key) = &request.key {
            builder = builder.header("idempotency-key", key);
        }
        let response = builder.send().await?;
        let status = response.status();
        let operation = response.headers().get("threeport-operation-id").cloned();
        let bytes = response.bytes().await?;
        let operation = operation.context("an answer without an operation's id")?;
        let operation = operation.to_str()?.parse()?;
        if status.is_success() {
            let body = serde_json::from_slice(&bytes)?;
            return Ok(Answer::Acknowledged { operation, body });
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) if problem.code == Code::Unavailable => Answer::Unanswered(text),
            Ok(problem) if status.is_client_error() => Answer::Refused {
                operation,
                code: problem.code,
            },
            _ => Answer::Wrong(format!("{} {}: {status} {text}", request.method, request.path)),
        })
    }
}
