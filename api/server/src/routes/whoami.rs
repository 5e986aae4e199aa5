//! `GET /whoami`, `GET /version`: the API about its caller and itself.

use axum::{Extension, Json, extract::State, routing};
use threeport_model::protocol::whoami::{Version, WhoAmI};

use crate::{
    app::App,
    authentication::Caller,
    router::{Access, Answer, Body, Route, schema},
};

/// See the module.
pub const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/whoami",
        access: Access::Authenticated,
        query: &[],
        summary: "Who the API takes the caller for, and which control plane answers.",
        body: Body::None,
        answer: Answer::Json(200, schema::<WhoAmI>),
        handler: || routing::get(whoami),
    },
    Route {
        method: "GET",
        path: "/version",
        access: Access::Authenticated,
        query: &[],
        summary: "What runs.",
        body: Body::None,
        answer: Answer::Json(200, schema::<Version>),
        handler: || routing::get(version),
    },
];

async fn whoami(State(app): State<App>, Extension(caller): Extension<Caller>) -> Json<WhoAmI> {
    Json(WhoAmI {
        actor: caller.actor,
        role: caller.role,
        control_plane_id: app.store.control_plane_id(),
        control_plane: app.control_plane.clone(),
        namespace: app.namespace.clone(),
    })
}

async fn version(State(app): State<App>) -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema_version: app.store.schema_version(),
        database: app.store.database().to_owned(),
    })
}
