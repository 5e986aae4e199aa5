//! What handlers take from a request besides the body.

use axum::{
    extract::{FromRequestParts, Path, Query as AxumQuery},
    http::{HeaderMap, header, request::Parts},
};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use threeport_model::{
    Etag, KindDescriptor, ManagedBy, find_kind, name, problem::Code, protocol::whoami::Role,
};
use threeport_store::{Idempotency, Request};

use crate::{authentication::Caller, operation::OperationId, problem::ApiError};

/// The longest idempotency key.
const MAX_KEY: usize = 256;

/// The kind in the path; 404 for any other word.
pub struct KindPath(pub &'static KindDescriptor);

/// Kind and name in the path.
pub struct ObjectPath {
    /// The kind.
    pub kind: &'static KindDescriptor,
    /// An RFC 1123 label.
    pub name: String,
}

#[derive(serde::Deserialize)]
struct PathParameters {
    plural: String,
    name: Option<String>,
}

async fn path_parameters(parts: &mut Parts) -> Result<(&'static KindDescriptor, Option<String>), ApiError> {
    let Path(PathParameters { plural, name }) = Path::from_request_parts(parts, &())
        .await
        .map_err(|_| ApiError::new(Code::NotFound, "the path can't be read"))?;
    let kind = find_kind(&plural)
        .filter(|kind| kind.plural == plural)
        .ok_or_else(|| {
            let plurals: Vec<_> = threeport_model::kinds::ALL
                .iter()
                .map(|kind| kind.plural)
                .collect();
            ApiError::new(Code::NotFound, format!("there is no kind {plural:?}"))
                .next(format!("the kinds are {}", plurals.join(", ")))
        })?;
    let role = parts
        .extensions
        .get::<Caller>()
        .map_or(Role::None, |caller| caller.role);
    if role == Role::Facade && !kind.custom_resource {
        return Err(ApiError::new(
            Code::Forbidden,
            format!("a facade may not use {plural}: they are not mirrored"),
        ));
    }
    Ok((kind, name))
}

impl<S: Send + Sync> FromRequestParts<S> for KindPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        path_parameters(parts).await.map(|(kind, _)| Self(kind))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ObjectPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let (kind, name) = path_parameters(parts).await?;
        let name = name.unwrap_or_default();
        match name::problem(&name) {
            Some(problem) => Err(ApiError::field("name", problem)),
            None => Ok(Self { kind, name }),
        }
    }
}

/// Query parameters as a type. Unknown ones were refused before.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match AxumQuery::try_from_uri(&parts.uri) {
            Ok(AxumQuery(query)) => Ok(Self(query)),
            Err(error) => {
                let text =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                let (field, message) = text.split_once(": ").unwrap_or(("query", &text));
                Err(ApiError::field(field, message))
            }
        }
    }
}

/// Who writes, under which operation, where.
pub struct Writer {
    caller: Caller,
    operation: OperationId,
    route: String,
    key: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Writer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let missing = || ApiError::new(Code::Internal, "a route without caller or operation");
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(missing)?;
        let operation = parts
            .extensions
            .get::<OperationId>()
            .copied()
            .ok_or_else(missing)?;
        let target = parts
            .uri
            .path_and_query()
            .map_or_else(|| parts.uri.path(), |path| path.as_str());
        let route = format!("{} {target}", parts.method);
        Ok(Self {
            caller,
            operation,
            route,
            key: idempotency_key(&parts.headers)?,
        })
    }
}

impl Writer {
    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The request's operation.
    pub fn operation_id(&self) -> uuid::Uuid {
        self.operation.0
    }

    /// What the store records of a write with this body.
    pub fn request(&self, body: &[u8]) -> Request {
        let mut request = Request::new(self.operation.0, self.caller.actor.clone(), self.route.clone());
        request.on_behalf_of.clone_from(&self.caller.on_behalf_of);
        request.idempotency = self.key.clone().map(|key| {
            let body_digest = hex::encode(Sha256::digest(body));
            Idempotency { key, body_digest }
        });
        request
    }

    /// The same, for what Kubernetes manages.
    pub fn kubernetes_request(&self, body: &[u8]) -> Request {
        Request {
            writer: ManagedBy::Kubernetes,
            ..self.request(body)
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY => Ok(Some(key.to_owned())),
        _ => Err(ApiError::field(
            "idempotency-key",
            format!("must be 1 to {MAX_KEY} visible ASCII characters"),
        )),
    }
}

/// The ETag in `If-Match`; nothing where it is absent or `*`.
pub struct IfMatch(pub Option<Etag>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Self(None));
        }
        match Etag::from_header(text) {
            Some(etag) => Ok(Self(Some(etag))),
            None => Err(ApiError::field(
                "if-match",
                "must be one ETag as it was answered, quotes included",
            )),
        }
    }
}
