//! `POST /v1alpha1/apply`: any number of objects in one transaction, in any order.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing,
};
use serde::Deserialize;
use threeport_model::protocol::apply::ApplyResponse;

use crate::{
    app::App,
    body::{self, MAX_APPLY, MediaType, object},
    extract::{Query, Writer},
    problem::ApiError,
    router::{Access, Answer, Body, Parameter, Route, schema},
    routes::objects::replayed,
    validate,
};

/// See the module.
pub const ROUTES: &[Route] = &[Route {
    method: "POST",
    path: "/v1alpha1/apply",
    access: Access::Roles(&[]),
    query: &[Parameter {
        name: "dryRun",
        description: "true: the same answer, and nothing is stored",
    }],
    summary: "Creates and changes any number of objects in one transaction, in any order; never deletes.",
    body: Body::Objects,
    answer: Answer::Json(200, schema::<ApplyResponse>),
    handler: || routing::post(apply),
}];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    #[serde(default)]
    dry_run: bool,
}

async fn apply(
    State(app): State<App>,
    Query(parameters): Query<Parameters>,
    writer: Writer,
    body: Request,
) -> Result<Response, ApiError> {
    let media = body::media_type(&body, &[MediaType::Json, MediaType::Yaml])?;
    let bytes = body::read(body, MAX_APPLY).await?;
    let request = writer.request(&bytes);
    let submitted = object::several(body::documents(&bytes, media)?, &app.namespace)?;
    let objects = validate::objects(submitted, &app.control_plane)?;
    let mut written = app
        .store
        .object_apply(&request, objects, parameters.dry_run)
        .await?;
    if !parameters.dry_run {
        app.committed(&request, &mut written);
    }
    let operation_id = written.operation_id;
    let replayed = replayed(&request, &written);
    let response = ApplyResponse {
        operation_id,
        dry_run: parameters.dry_run,
        results: written.results,
    };
    Ok((replayed, Json(response)).into_response())
}
