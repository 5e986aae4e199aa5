//! `POST /v1alpha1/inventory`: rows with intent, written before what they speak of is made.

use axum::{Json, extract::State, routing};
use threeport_model::protocol::{
    inventory::{IntentRequest, IntentResponse},
    whoami::Role,
};

use crate::{
    app::App,
    body,
    problem::ApiError,
    router::{Access, Answer, Body, Route, schema},
    routes::claims::at_most,
};

const MAX_ROWS: usize = 10_000;

/// See the module.
pub const ROUTES: &[Route] = &[Route {
    method: "POST",
    path: "/v1alpha1/inventory",
    access: Access::Roles(&[Role::Controller]),
    query: &[],
    summary: "Writes inventory rows with intent: all of them, or none where another instance has one of the objects.",
    body: Body::Json(schema::<IntentRequest>),
    answer: Answer::Json(200, schema::<IntentResponse>),
    handler: || routing::post(intend),
}];

async fn intend(
    State(app): State<App>,
    body::Json(request): body::Json<IntentRequest>,
) -> Result<Json<IntentResponse>, ApiError> {
    at_most("rows", request.rows.len(), MAX_ROWS)?;
    Ok(Json(app.store.inventory_intent(&request).await?))
}
