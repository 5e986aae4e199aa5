//! `PUT|DELETE /v1alpha1/sources/{uid}`: how the facade brings custom resources that Kubernetes manages.

use axum::{
    Json,
    extract::{FromRequestParts, Path, Request, State},
    http::{StatusCode, request::Parts},
    response::Response,
    routing,
};
use serde::Deserialize;
use threeport_model::{
    API_VERSION, Object, find_kind, name,
    problem::Code,
    protocol::{apply::Applied, source::SourceRequest, whoami::Role},
};

use crate::{
    app::App,
    body::{self, MAX_BODY, MediaType, object},
    extract::{Query, Writer},
    problem::ApiError,
    router::{Access, Answer, Body, Parameter, Route, schema},
    routes::objects::answer,
    validate,
};

const FACADE: Access = Access::Roles(&[Role::Facade]);
const PATH: &str = "/v1alpha1/sources/{uid}";
const MAX_UID: usize = 128;

/// See the module.
pub const ROUTES: &[Route] = &[
    Route {
        method: "PUT",
        path: PATH,
        access: FACADE,
        query: &[],
        summary: "Brings a custom resource; an older generation of the same uid is refused.",
        body: Body::Source(schema::<SourceRequest>),
        answer: Answer::Json(200, schema::<Applied>),
        handler: || routing::put(put),
    },
    Route {
        method: "DELETE",
        path: PATH,
        access: FACADE,
        query: &[
            Parameter {
                name: "kind",
                description: "the custom resource's kind",
            },
            Parameter {
                name: "name",
                description: "its name",
            },
            Parameter {
                name: "generation",
                description: "its generation",
            },
            Parameter {
                name: "regressed",
                description: "true where the resource itself was seen to be behind what was taken from it",
            },
        ],
        summary: "Says that a custom resource's deletion is meant; 404 once its object is gone.",
        body: Body::None,
        answer: Answer::Json(202, schema::<Object>),
        handler: || routing::delete(delete),
    },
];

/// The uid in the path.
struct Uid(String);

impl<S: Send + Sync> FromRequestParts<S> for Uid {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Path(uid) = Path::<String>::from_request_parts(parts, &())
            .await
            .map_err(|_| ApiError::new(Code::NotFound, "the path can't be read"))?;
        if uid.len() <= MAX_UID && uid.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(uid))
        } else {
            let message =
                format!("must be the uid of a resource: at most {MAX_UID} visible ASCII characters");
            Err(ApiError::field("uid", message))
        }
    }
}

async fn put(
    State(app): State<App>,
    Uid(uid): Uid,
    writer: Writer,
    body: Request,
) -> Result<Json<Applied>, ApiError> {
    body::media_type(&body, &[MediaType::Json])?;
    let bytes = body::read(body, MAX_BODY).await?;
    let mut source: SourceRequest = body::typed(&body::json::parse(&bytes)?)?;
    // The same rules as for any other object, so that kubectl's user reads the same refusals.
    let envelope = serde_json::json!({
        "apiVersion": API_VERSION,
        "kind": source.kind,
        "metadata": {"name": source.name, "labels": source.labels, "annotations": source.annotations},
        "spec": source.spec,
    });
    let submitted = object::submitted(envelope, &app.namespace).map_err(ApiError::invalid)?;
    let checked = validate::object(submitted, &app.control_plane)?;
    source.labels = checked.metadata.labels;
    source.annotations = checked.metadata.annotations;
    source.spec = checked.spec;
    let mut request = writer.kubernetes_request(&bytes);
    if source.on_behalf_of.is_some() {
        request.on_behalf_of.clone_from(&source.on_behalf_of);
    }
    let mut written = app.store.source_put(&request, &uid, &source).await?;
    app.committed(&request, &mut written);
    let applied = written.results.into_iter().next();
    applied
        .map(Json)
        .ok_or_else(|| ApiError::new(Code::Internal, "a write answered without an object"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteParameters {
    kind: String,
    name: String,
    generation: i64,
    #[serde(default)]
    regressed: bool,
}

async fn delete(
    State(app): State<App>,
    Uid(uid): Uid,
    Query(parameters): Query<DeleteParameters>,
    writer: Writer,
) -> Result<Response, ApiError> {
    let DeleteParameters {
        kind,
        name,
        generation,
        regressed,
    } = parameters;
    let kind = find_kind(&kind).filter(|found| found.kind == kind);
    let kind = kind
        .ok_or_else(|| ApiError::field("kind", format!("is not a kind of {API_VERSION}")))?
        .kind;
    if let Some(problem) = name::problem(&name) {
        return Err(ApiError::field("name", problem));
    }
    let request = writer.kubernetes_request(b"");
    let gone = || {
        ApiError::new(
            Code::NotFound,
            format!("{kind}/{name} of source {uid} does not exist"),
        )
    };
    let mut written = app
        .store
        .source_delete(&request, &uid, kind, &name, generation, regressed)
        .await?
        .ok_or_else(gone)?;
    app.committed(&request, &mut written);
    let object = written
        .results
        .into_iter()
        .next()
        .map(|applied| applied.object)
        .ok_or_else(gone)?;
    Ok(answer(StatusCode::ACCEPTED, object))
}
