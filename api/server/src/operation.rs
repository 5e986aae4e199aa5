//! The outermost layer: an id for every request, its log line, its histogram, and the one form of every refusal.
//!
//! A client's mistake is logged at info level, what is ours to mend at error level. A panic in a handler is caught
//! here and becomes a problem like any other.

use std::{panic::AssertUnwindSafe, time::Instant};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use threeport_model::{explain, problem::Code};
use tracing::Instrument;
use uuid::Uuid;

use crate::{app::App, problem::ApiError};

/// Header of every answer: finds the request in operations and log.
pub const OPERATION_HEADER: HeaderName = HeaderName::from_static("threeport-operation-id");

/// In bytes. Those of routes are shorter.
const LONGEST_PATH: usize = 500;

/// The id of the request that is being served. A write's operation record has the same.
#[derive(Clone, Copy, Debug)]
pub struct OperationId(pub Uuid);

/// The layer.
pub async fn layer(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = Uuid::new_v4();
    request.extensions_mut().insert(OperationId(id));
    let method = request.method().clone();
    let path = shown(request.uri().path());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!("request", operation = %id, %method, route);
    let started = Instant::now();
    let answer = AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .instrument(span.clone())
        .await;
    let response = answer.unwrap_or_else(|_| {
        ApiError::new(
            Code::Internal,
            "the server met a condition that it does not handle",
        )
        .into_response()
    });
    let mut response = render(response, &method, &path, id);
    app.metrics().request(
        &route,
        method.as_str(),
        response.status().as_u16(),
        started.elapsed(),
    );
    response
        .headers_mut()
        .insert(OPERATION_HEADER, header_value(&id.to_string()));
    response
}

fn render(response: Response, method: &Method, path: &str, id: Uuid) -> Response {
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    if !is_refusal {
        return response;
    }
    let error = match response.extensions().get::<ApiError>() {
        Some(error) => error.clone(),
        None => unhandled(status, method, path),
    };
    if status.is_server_error() && error.code != Code::Unavailable {
        tracing::error!(operation = %id, %method, path, status = status.as_u16(), "{}", explain(&error));
    } else {
        tracing::info!(operation = %id, %method, path, status = status.as_u16(), "refused: {}", explain(&error));
    }
    let problem = error.problem(&id.to_string());
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    Response::from_parts(parts, Body::from(body))
}

/// What the framework answered by itself.
fn unhandled(status: StatusCode, method: &Method, path: &str) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::new(Code::NotFound, format!("there is no route {path}"))
            .next("GET /openapi.json lists the routes"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ApiError::new(Code::MethodNotAllowed, format!("{path} has no method {method}"))
        }
        status if status.is_client_error() => {
            ApiError::new(Code::Malformed, format!("the request was refused with {status}"))
        }
        status => ApiError::new(Code::Internal, format!("the request failed with {status}")),
    }
}

/// A path as it is logged and told: anybody may make one up, of tens of kilobytes, as often as he likes.
fn shown(path: &str) -> String {
    let end = path.floor_char_boundary(LONGEST_PATH);
    if end == path.len() {
        path.to_owned()
    } else {
        format!("{}…", &path[..end])
    }
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_as_far_as_one_of_a_route_may_go() {
        let route = format!("/v1alpha1/workloadinstances/{}/status", "a".repeat(253));
        assert_eq!(shown(&route), route);
        let made_up = format!("/{}", "ü".repeat(30_000));
        let told = shown(&made_up);
        assert!(told.len() < 510 && told.ends_with("ü…"), "{}", told.len());
    }
}
