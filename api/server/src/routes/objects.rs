//! `/v1alpha1/{plural}[/{name}]`: create, read, replace, patch, delete, take over. Generic over kinds.

use std::time::Duration;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing,
};
use serde::Deserialize;
use serde_json::Value;
use threeport_model::{
    Etag, Object,
    object::ObjectList,
    problem::Code,
    protocol::{apply::Outcome, whoami::Role},
};
use threeport_store::{ListQuery, Written};

use crate::{
    app::App,
    body::{self, MAX_BODY, MediaType, object},
    extract::{IfMatch, KindPath, ObjectPath, Query, Writer},
    problem::ApiError,
    router::{Access, Answer, Body, HasRoom, Parameter, Route},
    validate,
};

/// Controllers get with their claims what they need to know, and nothing else.
const FACADES: Access = Access::Roles(&[Role::Facade]);
const COLLECTION: &str = "/v1alpha1/{plural}";
const ITEM: &str = "/v1alpha1/{plural}/{name}";
const MAX_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 100;
/// How often a patch without If-Match is tried on an object that others change.
const PATCH_TRIES: u32 = 5;
/// The longest pause after the first of them; after the second twice as long, and so on.
const PATCH_PAUSE: Duration = Duration::from_millis(10);

/// Header of an answer that was kept for its idempotency key: nothing was written now.
const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotency-replayed");

/// See the module.
pub const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: COLLECTION,
        access: FACADES,
        query: &[
            Parameter {
                name: "limit",
                description: "the most objects in one page, at most 500; a page has fewer where they are large",
            },
            Parameter {
                name: "continue",
                description: "the token of the page before",
            },
            Parameter {
                name: "labelSelector",
                description: "as in Kubernetes: app=web,tier!=test",
            },
            Parameter {
                name: "fieldSelector",
                description: "metadata.name= or metadata.managedBy=",
            },
        ],
        summary: "Lists objects, in the order of their names.",
        body: Body::None,
        answer: Answer::List,
        handler: || routing::get(list),
    },
    Route {
        method: "POST",
        path: COLLECTION,
        access: FACADES,
        query: &[],
        summary: "Creates an object.",
        body: Body::Object,
        answer: Answer::Object(201),
        handler: || routing::post(create),
    },
    Route {
        method: "GET",
        path: ITEM,
        access: FACADES,
        query: &[],
        summary: "Reads an object.",
        body: Body::None,
        answer: Answer::Object(200),
        handler: || routing::get(get),
    },
    Route {
        method: "PUT",
        path: ITEM,
        access: FACADES,
        query: &[],
        summary: "Replaces an object's specification, labels and annotations.",
        body: Body::Object,
        answer: Answer::Object(200),
        handler: || routing::put(replace),
    },
    Route {
        method: "PATCH",
        path: ITEM,
        access: FACADES,
        query: &[],
        summary: "Changes an object by a JSON merge patch (RFC 7396).",
        body: Body::MergePatch,
        answer: Answer::Object(200),
        handler: || routing::patch(patch),
    },
    Route {
        method: "DELETE",
        path: ITEM,
        access: FACADES,
        query: &[Parameter {
            name: "propagation",
            description: "cascade: what refers to it is deleted, too",
        }],
        summary: "Asks for an object's deletion; it lives until what it made is gone.",
        body: Body::None,
        answer: Answer::Object(202),
        handler: || routing::delete(delete),
    },
    Route {
        method: "POST",
        path: "/v1alpha1/{plural}/{name}/takeover",
        access: FACADES,
        query: &[],
        summary: "Makes the API the owner of an object that Kubernetes managed.",
        body: Body::None,
        answer: Answer::Object(200),
        handler: || routing::post(take_over),
    },
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListParameters {
    limit: Option<u32>,
    #[serde(rename = "continue")]
    after: Option<String>,
    label_selector: Option<String>,
    field_selector: Option<String>,
}

async fn list(
    State(app): State<App>,
    KindPath(kind): KindPath,
    Query(parameters): Query<ListParameters>,
) -> Result<Json<ObjectList>, ApiError> {
    let limit = page_limit(parameters.limit, DEFAULT_PAGE, MAX_PAGE)?;
    let labels = parameters.label_selector.unwrap_or_default().parse();
    let fields = parameters.field_selector.unwrap_or_default().parse();
    let query = ListQuery {
        kind: kind.kind.to_owned(),
        limit,
        after: parameters.after,
        labels: labels.map_err(|error: String| ApiError::field("labelSelector", error))?,
        fields: fields.map_err(|error: String| ApiError::field("fieldSelector", error))?,
    };
    Ok(Json(app.store.object_list(&query).await?))
}

/// A page's size within its bounds.
pub fn page_limit(asked: Option<u32>, default: u32, most: u32) -> Result<u32, ApiError> {
    match asked {
        None => Ok(default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => Err(ApiError::field("limit", format!("must be between 1 and {most}"))),
    }
}

async fn get(State(app): State<App>, path: ObjectPath) -> Result<Response, ApiError> {
    let object = app.store.object_get(path.kind.kind, &path.name).await?;
    Ok(answer(StatusCode::OK, object))
}

async fn create(
    State(app): State<App>,
    KindPath(kind): KindPath,
    writer: Writer,
    body: Request,
) -> Result<Response, ApiError> {
    let media = body::media_type(&body, &[MediaType::Json, MediaType::Yaml])?;
    let bytes = body::read(body, MAX_BODY).await?;
    let request = writer.request(&bytes);
    if let Some(replayed) = app.store.idempotency_find(&request).await? {
        return first(&request, replayed, StatusCode::CREATED);
    }
    let submitted = object::single(body::documents(&bytes, media)?, &app.namespace)?;
    validate::is_of_kind(&submitted, kind)?;
    let mut written = app
        .store
        .object_create(&request, validate::object(submitted, &app.control_plane)?)
        .await?;
    app.committed(&request, &mut written);
    first(&request, written, StatusCode::CREATED)
}

async fn replace(
    State(app): State<App>,
    path: ObjectPath,
    writer: Writer,
    IfMatch(if_match): IfMatch,
    body: Request,
) -> Result<Response, ApiError> {
    let media = body::media_type(&body, &[MediaType::Json, MediaType::Yaml])?;
    let bytes = body::read(body, MAX_BODY).await?;
    let request = writer.request(&bytes);
    if let Some(replayed) = app.store.idempotency_find(&request).await? {
        return first(&request, replayed, StatusCode::OK);
    }
    let submitted = object::single(body::documents(&bytes, media)?, &app.namespace)?;
    validate::is_named(&submitted, path.kind, &path.name)?;
    let object = validate::object(submitted, &app.control_plane)?;
    let mut written = app.store.object_update(&request, object, if_match).await?;
    app.committed(&request, &mut written);
    first(&request, written, StatusCode::OK)
}

async fn patch(
    State(app): State<App>,
    path: ObjectPath,
    writer: Writer,
    IfMatch(if_match): IfMatch,
    body: Request,
) -> Result<Response, ApiError> {
    body::media_type(&body, &[MediaType::MergePatch])?;
    let has_room = body.extensions().get::<HasRoom>().is_some();
    let bytes = body::read(body, MAX_BODY).await?;
    let request = writer.request(&bytes);
    if let Some(replayed) = app.store.idempotency_find(&request).await? {
        return first(&request, replayed, StatusCode::OK);
    }
    let patch = body::json::parse(&bytes)?;
    if !patch.is_object() {
        return Err(ApiError::field(
            "",
            "a merge patch of an object must be an object",
        ));
    }
    // A small patch of a large object takes what that takes.
    let _room = if has_room {
        None
    } else {
        let stored = app.store.object_bytes(path.kind.kind, &path.name).await?;
        app.admission.room(stored).await
    };
    for tried in 1..=PATCH_TRIES {
        let current = app.store.object_get(path.kind.kind, &path.name).await?;
        let read = if_match.unwrap_or_else(|| Etag::of(&current));
        let object = patched(&app, current, &patch, &path)?;
        match app.store.object_update(&request, object, Some(read)).await {
            Ok(mut written) => {
                app.committed(&request, &mut written);
                return first(&request, written, StatusCode::OK);
            }
            Err(error) if if_match.is_none() && error.code() == Code::PreconditionFailed => {}
            Err(error) => return Err(error.into()),
        }
        if tried < PATCH_TRIES {
            // Patches that lost to each other do not meet again.
            let pause = PATCH_PAUSE.saturating_mul(tried);
            tokio::time::sleep(pause.mul_f64(rand::random::<f64>())).await;
        }
    }
    let (kind, name) = (path.kind.kind, path.name);
    Err(ApiError::new(
        Code::Conflict,
        format!("{kind}/{name} is being changed by others all the time: {PATCH_TRIES} tries came too late"),
    )
    .next("send it again in a moment; GET /v1alpha1/operations shows who changes it"))
}

/// What was read, patched.
fn patched(app: &App, current: Object, patch: &Value, path: &ObjectPath) -> Result<Object, ApiError> {
    let mut value =
        serde_json::to_value(current).map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    json_patch::merge(&mut value, patch);
    let submitted = object::submitted(value, &app.namespace).map_err(ApiError::invalid)?;
    validate::is_named(&submitted, path.kind, &path.name)?;
    validate::object(submitted, &app.control_plane)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteParameters {
    propagation: Option<String>,
}

async fn delete(
    State(app): State<App>,
    path: ObjectPath,
    Query(parameters): Query<DeleteParameters>,
    writer: Writer,
    IfMatch(if_match): IfMatch,
) -> Result<Response, ApiError> {
    let cascade = match parameters.propagation.as_deref() {
        None => false,
        Some("cascade") => true,
        Some(_) => return Err(ApiError::field("propagation", "must be cascade or absent")),
    };
    let request = writer.request(b"");
    let mut written = app
        .store
        .object_delete(&request, path.kind.kind, &path.name, if_match, cascade)
        .await?;
    app.committed(&request, &mut written);
    first(&request, written, StatusCode::ACCEPTED)
}

async fn take_over(State(app): State<App>, path: ObjectPath, writer: Writer) -> Result<Response, ApiError> {
    let request = writer.request(b"");
    let mut written = app
        .store
        .object_take_over(&request, path.kind.kind, &path.name)
        .await?;
    app.committed(&request, &mut written);
    first(&request, written, StatusCode::OK)
}

/// The first object of a write; `created` is 201 only where it was.
fn first(
    request: &threeport_store::Request,
    written: Written,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let replayed = replayed(request, &written);
    let applied = written.results.into_iter().next();
    let applied =
        applied.ok_or_else(|| ApiError::new(Code::Internal, "a write answered without an object"))?;
    let status = if status == StatusCode::CREATED && applied.outcome != Outcome::Created {
        StatusCode::OK
    } else {
        status
    };
    Ok((replayed, answer(status, applied.object)).into_response())
}

/// The header of an answer that an earlier request with the same idempotency key had. What this very request did before
/// its connection to the database was lost is no such answer.
pub fn replayed(
    request: &threeport_store::Request,
    written: &Written,
) -> Option<[(HeaderName, HeaderValue); 1]> {
    let is_earlier = written.replayed && written.operation_id != request.operation_id;
    is_earlier.then(|| [(REPLAYED_HEADER, HeaderValue::from_static("true"))])
}

/// An object with its ETag.
pub fn answer(status: StatusCode, object: Object) -> Response {
    let etag = Etag::of(&object).to_string();
    let location = (status == StatusCode::CREATED)
        .then(|| threeport_model::find_kind(&object.kind))
        .flatten()
        .map(|kind| format!("/v1alpha1/{}/{}", kind.plural, object.metadata.name));
    let mut response = (status, Json(object)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    if let Some(Ok(location)) = location.map(|location| HeaderValue::from_str(&location)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
