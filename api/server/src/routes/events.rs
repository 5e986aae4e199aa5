//! `POST /v1alpha1/events`: what happened, as controllers report it.

use axum::{extract::State, http::StatusCode, routing};
use threeport_model::{kinds::event::NewEvent, protocol::whoami::Role};

use crate::{
    app::App,
    body,
    problem::ApiError,
    router::{Access, Answer, Body, Route, schema},
    routes::claims::at_most,
};

const MAX_EVENTS: usize = 500;

/// See the module.
pub const ROUTES: &[Route] = &[Route {
    method: "POST",
    path: "/v1alpha1/events",
    access: Access::Roles(&[Role::Controller, Role::Facade]),
    query: &[],
    summary: "Records events; equal ones are counted.",
    body: Body::Json(schema::<Vec<NewEvent>>),
    answer: Answer::Other(204, ""),
    handler: || routing::post(record),
}];

async fn record(
    State(app): State<App>,
    body::Json(events): body::Json<Vec<NewEvent>>,
) -> Result<StatusCode, ApiError> {
    at_most("events", events.len(), MAX_EVENTS)?;
    app.store.event_record(&events).await?;
    Ok(StatusCode::NO_CONTENT)
}
