//! `GET /healthz`, `/readyz`, `/readiness`, `/metrics`. Ready means database and schema; what is degraded is said, not
//! refused: in words by `/readyz`, which is for probes and people, and with its reasons by `/readiness`.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing,
};
use threeport_model::{problem::Code, protocol::readiness::Readiness};

use crate::{
    app::App,
    problem::ApiError,
    router::{Access, Answer, Body, Route, schema},
};

/// The media type that Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// See the module.
pub const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/healthz",
        access: Access::Public,
        query: &[],
        summary: "The process runs.",
        body: Body::None,
        answer: Answer::Other(200, "text/plain"),
        handler: || routing::get(async || "ok"),
    },
    Route {
        method: "GET",
        path: "/readyz",
        access: Access::Public,
        query: &[],
        summary: "The process can serve; what is degraded is in the text.",
        body: Body::None,
        answer: Answer::Other(200, "text/plain"),
        handler: || routing::get(ready),
    },
    Route {
        method: "GET",
        path: "/readiness",
        access: Access::Public,
        query: &[],
        summary: "The process can serve; what is degraded is there with its reason.",
        body: Body::None,
        answer: Answer::Json(200, schema::<Readiness>),
        handler: || routing::get(readiness),
    },
    Route {
        method: "GET",
        path: "/metrics",
        access: Access::Roles(&[]),
        query: &[],
        summary: "Metrics in the OpenMetrics text form.",
        body: Body::None,
        answer: Answer::Other(200, OPEN_METRICS),
        handler: || routing::get(metrics),
    },
];

async fn ready(State(app): State<App>) -> Result<(StatusCode, String), ApiError> {
    let Readiness { degraded } = how(&app)?;
    let text = if degraded.is_empty() {
        "ok".to_owned()
    } else {
        let messages: Vec<_> = degraded.iter().map(|one| one.message.as_str()).collect();
        format!("ok, degraded: {}", messages.join("; "))
    };
    Ok((StatusCode::OK, text))
}

async fn readiness(State(app): State<App>) -> Result<Json<Readiness>, ApiError> {
    how(&app).map(Json)
}

fn how(app: &App) -> Result<Readiness, ApiError> {
    let ready = app.health.ready();
    ready.map_err(|reason| ApiError::new(Code::Unavailable, reason))?;
    let degraded = app.health.degraded();
    Ok(Readiness { degraded })
}

async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let text = threeport_telemetry::render(&app.metrics().registry())
        .map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
