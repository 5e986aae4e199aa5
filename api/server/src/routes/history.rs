//! `/history`, `/resources`, `/events` of an object: what it was, what it made, what happened to it. The token for the next
//! page of a history is in the header `threeport-continue`.

use axum::{Json, extract::State, response::Response, routing};
use threeport_model::{
    kinds::{event::Event, operation::Revision},
    protocol::{inventory::InventoryRow, whoami::Role},
};

use crate::{
    app::App,
    extract::{ObjectPath, Query},
    problem::ApiError,
    router::{Access, Answer, Body, Parameter, Route, schema},
    routes::{
        objects::page_limit,
        operations::{PageParameters, page},
    },
};

const READERS: Access = Access::Roles(&[Role::Facade]);

/// See the module.
pub const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/v1alpha1/{plural}/{name}/history",
        access: READERS,
        query: &[
            Parameter {
                name: "limit",
                description: "the most desired states in one page, at most 100; a page has fewer where they are large",
            },
            Parameter {
                name: "continue",
                description: "the token of the page before",
            },
        ],
        summary: "The desired states that an object had, newest first.",
        body: Body::None,
        answer: Answer::Json(200, schema::<Vec<Revision>>),
        handler: || routing::get(history),
    },
    Route {
        method: "GET",
        path: "/v1alpha1/{plural}/{name}/resources",
        access: READERS,
        query: &[],
        summary: "The live objects of an instance.",
        body: Body::None,
        answer: Answer::Json(200, schema::<Vec<InventoryRow>>),
        handler: || routing::get(resources),
    },
    Route {
        method: "GET",
        path: "/v1alpha1/{plural}/{name}/events",
        access: READERS,
        query: &[],
        summary: "What happened to an object, newest first.",
        body: Body::None,
        answer: Answer::Json(200, schema::<Vec<Event>>),
        handler: || routing::get(events),
    },
];

async fn history(
    State(app): State<App>,
    path: ObjectPath,
    Query(parameters): Query<PageParameters>,
) -> Result<Response, ApiError> {
    let limit = page_limit(parameters.limit, 100, 100)?;
    let (revisions, next) = app
        .store
        .object_history(path.kind.kind, &path.name, limit, parameters.after.as_deref())
        .await?;
    Ok(page(revisions, next))
}

async fn resources(State(app): State<App>, path: ObjectPath) -> Result<Json<Vec<InventoryRow>>, ApiError> {
    Ok(Json(
        app.store.object_resources(path.kind.kind, &path.name).await?,
    ))
}

async fn events(State(app): State<App>, path: ObjectPath) -> Result<Json<Vec<Event>>, ApiError> {
    Ok(Json(app.store.object_events(path.kind.kind, &path.name).await?))
}
