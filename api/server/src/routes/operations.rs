//! `GET /v1alpha1/operations[/{id}]`: who did what. The next page's token is in the header `threeport-continue`.

use axum::{
    Json,
    extract::{Path, State},
    http::HeaderValue,
    response::{IntoResponse, Response},
    routing,
};
use serde::{Deserialize, Serialize};
use threeport_model::kinds::operation::Operation;
use uuid::Uuid;

use crate::{
    app::App,
    extract::Query,
    problem::ApiError,
    router::{Access, Answer, Body, Parameter, Route, schema},
    routes::objects::page_limit,
};

/// See the module.
pub const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/v1alpha1/operations",
        access: Access::Roles(&[]),
        query: &[
            Parameter {
                name: "limit",
                description: "the most operations in one page, at most 500",
            },
            Parameter {
                name: "continue",
                description: "the token of the page before",
            },
        ],
        summary: "Who did what, newest first.",
        body: Body::None,
        answer: Answer::Json(200, schema::<Vec<Operation>>),
        handler: || routing::get(list),
    },
    Route {
        method: "GET",
        path: "/v1alpha1/operations/{id}",
        access: Access::Roles(&[]),
        query: &[],
        summary: "One operation.",
        body: Body::None,
        answer: Answer::Json(200, schema::<Operation>),
        handler: || routing::get(get),
    },
];

/// Which page of a list whose next token is in a header: see [`page`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageParameters {
    /// The most items.
    pub limit: Option<u32>,
    /// The token of the page before.
    #[serde(rename = "continue")]
    pub after: Option<String>,
}

async fn list(
    State(app): State<App>,
    Query(parameters): Query<PageParameters>,
) -> Result<Response, ApiError> {
    let limit = page_limit(parameters.limit, 100, 500)?;
    let (operations, next) = app
        .store
        .operation_list(limit, parameters.after.as_deref())
        .await?;
    Ok(page(operations, next))
}

/// A page, and the token for the next one in its header.
pub fn page(items: impl Serialize, next: Option<String>) -> Response {
    let mut response = Json(items).into_response();
    if let Some(Ok(token)) = next.map(|token| HeaderValue::from_str(&token)) {
        response.headers_mut().insert("threeport-continue", token);
    }
    response
}

async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Operation>, ApiError> {
    let id: Uuid = id.parse().map_err(|_| ApiError::field("id", "must be a UUID"))?;
    Ok(Json(app.store.operation_get(id).await?))
}
