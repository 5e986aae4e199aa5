//! Errors as their callers see them: every refusal is an [`ApiError`], and every answer that is not 2xx leaves as
//! RFC 9457 problem+json.
//!
//! Handlers and middleware return `ApiError`; the outermost layer ([`crate::operation`]) renders it, because only
//! there the operation id is known and only there answers that no handler made (405, 404, a panic) pass by. The
//! table from code to HTTP status is here and nowhere else.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use threeport_model::{FieldError, Problem, explain, problem::Code};

/// The most wrong fields that one answer names.
const MAX_ERRORS: usize = 20;

/// Why a request was refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code:?}: {detail}")]
pub struct ApiError {
    /// Stable, for programs.
    pub code: Code,
    /// What failed, on what, why. Never a secret.
    pub detail: String,
    /// Each wrong field.
    pub errors: Vec<FieldError>,
    /// What to do next.
    pub next: String,
    /// `Kind/name` of what stands against it.
    pub referrers: Vec<String>,
}

impl ApiError {
    /// A refusal with the usual next step of its code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            next: next_step(code).to_owned(),
            referrers: Vec::new(),
        }
    }

    /// Wrong fields; the first is in the detail as well, for readers of one line. Of very many the first are kept.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [] => "the request is not valid".to_owned(),
            [first] => format!("{}: {}", first.field, first.message),
            [first, rest @ ..] => format!("{}: {} (and {} more)", first.field, first.message, rest.len()),
        };
        Self {
            errors: first(errors),
            ..Self::new(Code::Invalid, detail)
        }
    }

    /// One wrong field, parameter or header.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, message)])
    }

    /// Another next step than the usual one of the code.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    /// With a wrong field.
    #[must_use]
    pub fn with(mut self, error: FieldError) -> Self {
        self.errors.push(error);
        self
    }

    /// The problem as its caller reads it.
    pub fn problem(&self, operation_id: &str) -> Problem {
        Problem {
            kind: format!("https://threeport.io/problems/{:?}", self.code),
            title: words(self.code),
            status: status(self.code).as_u16(),
            detail: self.detail.clone(),
            code: self.code,
            errors: self.errors.clone(),
            next: self.next.clone(),
            operation_id: operation_id.to_owned(),
            referrers: self.referrers.clone(),
        }
    }
}

impl From<threeport_store::Error> for ApiError {
    fn from(error: threeport_store::Error) -> Self {
        let code = error.code();
        if matches!(code, Code::Internal | Code::Unavailable) {
            // What the database said may show SQL and values: it is for the log, not for the caller.
            tracing::warn!("the store failed: {}", explain(&error));
        }
        let mut refused = Self::new(code, error.to_string());
        refused.errors = first(error.field_errors());
        if let [first, ..] = refused.errors.as_slice() {
            refused.detail = format!("{error}: {}: {}", first.field, first.message);
        }
        refused.referrers = error.referrers();
        let next = error.next();
        if next.is_empty() {
            refused
        } else {
            refused.next(next)
        }
    }
}

/// The first of very many errors, and how many more there are.
fn first(mut errors: Vec<FieldError>) -> Vec<FieldError> {
    if errors.len() > MAX_ERRORS {
        let more = errors.len() - MAX_ERRORS;
        errors.truncate(MAX_ERRORS);
        errors.push(FieldError::new("", format!("and {more} more")));
    }
    errors
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = status(self.code).into_response();
        let header = match self.code {
            Code::TooManyRequests | Code::Unavailable => Some((header::RETRY_AFTER, "1")),
            Code::Unauthenticated => Some((header::WWW_AUTHENTICATE, "Bearer")),
            _ => None,
        };
        if let Some((name, value)) = header {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The HTTP status of a code.
pub fn status(code: Code) -> StatusCode {
    match code {
        Code::Malformed => StatusCode::BAD_REQUEST,
        Code::Invalid | Code::NotSupported | Code::ReferenceNotFound | Code::IdempotencyMismatch => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::AlreadyExists | Code::Conflict | Code::OwnedBy | Code::Referenced | Code::ReferenceDeleting => {
            StatusCode::CONFLICT
        }
        Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        Code::Gone => StatusCode::GONE,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn next_step(code: Code) -> &'static str {
    match code {
        Code::Malformed => "mend the body at the place that is named and send it again",
        Code::Invalid => "mend the fields that are named and send it again",
        Code::NotSupported => "use what this version serves; GET /openapi.json lists it",
        Code::TooLarge => "send less in one request",
        Code::UnsupportedMediaType => "send application/json or application/yaml",
        Code::NotFound => "check kind and name; GET /v1alpha1/{plural} lists what there is",
        Code::MethodNotAllowed => "use one of the methods in the header `allow`",
        Code::AlreadyExists => {
            "choose another name, or change what is there with PUT or POST /v1alpha1/apply"
        }
        Code::Conflict => "read the object again and decide anew",
        Code::OwnedBy => "change it where its owner keeps it, or take it over with POST .../takeover",
        Code::Referenced => "delete the referrers first, or delete with ?propagation=cascade",
        Code::ReferenceNotFound => "create what is referred to first, or apply both in one request",
        Code::ReferenceDeleting => "wait until what is referred to is gone, then create it anew",
        Code::PreconditionFailed => "read the newest state and send the request again with it",
        Code::IdempotencyMismatch => "use a new Idempotency-Key for another request",
        Code::Unauthenticated => "send a valid token in the header `authorization: Bearer ...`",
        Code::Forbidden => "ask an administrator of the control plane; GET /whoami shows who you are",
        Code::TooManyRequests => "wait as long as the header `retry-after` says",
        Code::Gone => "list again, and watch from the token of the new list",
        Code::Unavailable => "try again; GET /readyz says what is missing",
        Code::Internal => "search the API's log for the operation id",
    }
}

/// `ReferenceNotFound` as `Reference not found`.
fn words(code: Code) -> String {
    let mut words = String::new();
    for (index, letter) in format!("{code:?}").chars().enumerate() {
        if index > 0 && letter.is_ascii_uppercase() {
            words.push(' ');
            words.push(letter.to_ascii_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}
