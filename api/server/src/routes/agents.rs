//! `/v1alpha1/agents`: registration, heartbeat, observations, what to watch. An epoch that is not the newest is 409.

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::request::Parts,
    routing,
};
use threeport_model::{
    problem::Code,
    protocol::{
        agent::{
            HeartbeatRequest, HeartbeatResponse, MAX_OBSERVATIONS, ObservationsRequest, ObservationsResponse,
            RegisterRequest, RegisterResponse, Watches,
        },
        whoami::Role,
    },
};
use uuid::Uuid;

use crate::{
    app::App,
    body,
    extract::Writer,
    problem::ApiError,
    router::{Access, Answer, Body, Route, schema},
    routes::claims::at_most,
};

const AGENTS: Access = Access::Roles(&[Role::Agent]);

/// See the module.
pub const ROUTES: &[Route] = &[
    Route {
        method: "POST",
        path: "/v1alpha1/agents",
        access: AGENTS,
        query: &[],
        summary: "Registers an agent; it gets a new epoch.",
        body: Body::Json(schema::<RegisterRequest>),
        answer: Answer::Json(200, schema::<RegisterResponse>),
        handler: || routing::post(register),
    },
    Route {
        method: "POST",
        path: "/v1alpha1/agents/{runtimeId}/heartbeat",
        access: AGENTS,
        query: &[],
        summary: "Says that an agent is there.",
        body: Body::Json(schema::<HeartbeatRequest>),
        answer: Answer::Json(200, schema::<HeartbeatResponse>),
        handler: || routing::post(heartbeat),
    },
    Route {
        method: "POST",
        path: "/v1alpha1/agents/{runtimeId}/observations",
        access: AGENTS,
        query: &[],
        summary: "Says what an agent saw.",
        body: Body::Json(schema::<ObservationsRequest>),
        answer: Answer::Json(200, schema::<ObservationsResponse>),
        handler: || routing::post(observe),
    },
    Route {
        method: "GET",
        path: "/v1alpha1/agents/{runtimeId}/watches",
        access: AGENTS,
        query: &[],
        summary: "The kinds that an agent should watch.",
        body: Body::None,
        answer: Answer::Json(200, schema::<Watches>),
        handler: || routing::get(watches),
    },
];

/// The runtime in the path.
struct Runtime(Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Runtime {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, &())
            .await
            .map_err(|_| ApiError::new(Code::NotFound, "the path can't be read"))?;
        text.parse()
            .map(Self)
            .map_err(|_| ApiError::field("runtimeId", "must be the UUID of a runtime"))
    }
}

async fn register(
    State(app): State<App>,
    writer: Writer,
    body::Json(request): body::Json<RegisterRequest>,
) -> Result<Json<RegisterResponse>, ApiError> {
    let (response, notices) = app.store.agent_register(&request).await?;
    app.notifier.committed(writer.operation_id(), notices);
    Ok(Json(response))
}

async fn heartbeat(
    State(app): State<App>,
    Runtime(runtime): Runtime,
    body::Json(request): body::Json<HeartbeatRequest>,
) -> Result<Json<HeartbeatResponse>, ApiError> {
    Ok(Json(app.store.agent_heartbeat(runtime, &request).await?))
}

async fn observe(
    State(app): State<App>,
    Runtime(runtime): Runtime,
    writer: Writer,
    body::Json(request): body::Json<ObservationsRequest>,
) -> Result<Json<ObservationsResponse>, ApiError> {
    at_most("observations", request.observations.len(), MAX_OBSERVATIONS)?;
    let (response, notices) = app.store.agent_observe(runtime, &request).await?;
    app.notifier.committed(writer.operation_id(), notices);
    Ok(Json(response))
}

async fn watches(State(app): State<App>, Runtime(runtime): Runtime) -> Result<Json<Watches>, ApiError> {
    Ok(Json(app.store.agent_watches(runtime).await?))
}
