//! `PUT /v1alpha1/{plural}/{name}/status`. Controllers name the epoch of their claim in the header `if-epoch`; mostly
//! they write status with `claims/complete` instead.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
    routing,
};
use threeport_model::protocol::{claim::StatusUpdate, whoami::Role};
use threeport_store::StatusFence;

use crate::{
    app::App,
    body,
    extract::{ObjectPath, Writer},
    problem::ApiError,
    router::{Access, Answer, Body, Route, schema},
    routes::objects::answer,
};

/// See the module.
pub const ROUTES: &[Route] = &[Route {
    method: "PUT",
    path: "/v1alpha1/{plural}/{name}/status",
    access: Access::Roles(&[Role::Facade, Role::Controller]),
    query: &[],
    summary: "Writes an object's status. A generation in the future or an epoch that is not the newest is refused.",
    body: Body::Json(schema::<StatusUpdate>),
    answer: Answer::Object(200),
    handler: || routing::put(put),
}];

async fn put(
    State(app): State<App>,
    path: ObjectPath,
    writer: Writer,
    headers: HeaderMap,
    body::Json(update): body::Json<StatusUpdate>,
) -> Result<Response, ApiError> {
    let epoch = match headers.get("if-epoch") {
        None if writer.caller().role == Role::Controller => {
            return Err(ApiError::field(
                "if-epoch",
                "is required of controllers: the epoch of the claim",
            ));
        }
        None => None,
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.parse().ok());
            Some(number.ok_or_else(|| ApiError::field("if-epoch", "must be an integer"))?)
        }
    };
    if !update.status.is_object() {
        return Err(ApiError::field("status", "must be an object"));
    }
    let notices = app
        .store
        .status_put(path.kind.kind, &path.name, &update, StatusFence::epoch(epoch))
        .await?;
    app.notifier.committed(writer.operation_id(), notices);
    let object = app.store.object_get(path.kind.kind, &path.name).await?;
    Ok(answer(StatusCode::OK, object))
}
