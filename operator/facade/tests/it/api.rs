//! A control plane's API in memory: the routes that a facade uses, without a database.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::{get, put},
};
use futures::StreamExt;
use serde_json::{Value, json};
use threeport_client::{Client, Options};
use threeport_model::{
    Code, FieldError, ManagedBy, Object, Problem, find_kind,
    kinds::event::Event as Happened,
    object::{ObjectList, Source},
    protocol::{
        apply::{Applied, Outcome},
        source::SourceRequest,
        watch::WatchEvent,
    },
};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use uuid::Uuid;

type Place = (String, String);

/// See the module. A clone is the same API.
#[derive(Clone)]
pub(crate) struct Api {
    objects: Arc<Mutex<BTreeMap<Place, Object>>>,
    events: broadcast::Sender<WatchEvent>,
    /// Requests that changed something, as `PUT WorkloadInstance/web`.
    pub(crate) writes: Arc<Mutex<Vec<String>>>,
    /// While true, every request is refused as Unavailable.
    pub(crate) outage: Arc<AtomicBool>,
    /// Uids of the custom resources whose objects are gone.
    deleted: Arc<Mutex<BTreeSet<String>>>,
    /// What `/events` answers, for every object.
    pub(crate) happened: Arc<Mutex<Vec<Happened>>>,
    url: String,
}

impl Api {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let api = Self {
            objects: Arc::default(),
            events: broadcast::channel(10_000).0,
            writes: Arc::default(),
            outage: Arc::default(),
            deleted: Arc::default(),
            happened: Arc::default(),
            url,
        };
        let router = Router::new()
            .route("/v1alpha1/watch", get(watch))
            .route("/v1alpha1/sources/{uid}", put(source_put).delete(source_delete))
            .route("/v1alpha1/{plural}", get(list))
            .route("/v1alpha1/{plural}/{name}", get(read))
            .route("/v1alpha1/{plural}/{name}/events", get(events))
            .layer(axum::middleware::from_fn_with_state(api.clone(), outage))
            .with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        api
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(Options::new(&self.url, "test")).unwrap()
    }

    /// Stores an object as it is and tells watchers.
    pub(crate) fn set(&self, mut object: Object) {
        object.metadata.id.get_or_insert_with(Uuid::new_v4);
        let now = jiff::Timestamp::now();
        object.metadata.updated_at.get_or_insert(now);
        object.metadata.status_updated_at = Some(now);
        let place = (object.kind.clone(), object.metadata.name.clone());
        self.objects.lock().unwrap().insert(place, object.clone());
        let _ = self.events.send(WatchEvent::Changed {
            object: Box::new(object),
        });
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Object> {
        self.objects
            .lock()
            .unwrap()
            .get(&(kind.to_owned(), name.to_owned()))
            .cloned()
    }

    /// Changes an object that is there.
    pub(crate) fn change(&self, kind: &str, name: &str, change: impl FnOnce(&mut Object)) {
        let mut object = self.get(kind, name).unwrap();
        change(&mut object);
        self.set(object);
    }

    /// Makes a tombstone of it.
    pub(crate) fn remove(&self, kind: &str, name: &str) {
        let removed = self
            .objects
            .lock()
            .unwrap()
            .remove(&(kind.to_owned(), name.to_owned()))
            .unwrap();
        let uid = removed.metadata.source.as_ref().map(|source| source.uid.clone());
        self.deleted.lock().unwrap().extend(uid);
        let event = WatchEvent::Removed {
            id: removed.id(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let _ = self.events.send(event);
    }

    fn wrote(&self, what: String) {
        self.writes.lock().unwrap().push(what);
    }
}

/// An object that the API owns, at a generation, and observed there.
pub(crate) fn object(kind: &str, name: &str, generation: i64, spec: Value) -> Object {
    let mut object = Object::new(kind, name, spec);
    object.metadata.id = Some(Uuid::new_v4());
    object.metadata.generation = Some(generation);
    object.metadata.resource_version = Some(generation);
    object.metadata.managed_by = Some(ManagedBy::Api);
    object.status = ready(generation);
    object
}

/// A status that is Ready at a generation.
pub(crate) fn ready(generation: i64) -> Value {
    condition(generation, "True", "Healthy")
}

/// A status with a Ready condition.
pub(crate) fn condition(generation: i64, status: &str, reason: &str) -> Value {
    json!({"observedGeneration": generation, "conditions": [{"type": "Ready", "status": status, "reason": reason,
        "message": "", "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
}

fn refuse(
    status: StatusCode,
    code: Code,
    detail: &str,
    errors: Vec<FieldError>,
    referrers: Vec<String>,
) -> Response {
    let problem = Problem {
        kind: format!("https://threeport.io/problems/{code:?}"),
        title: format!("{code:?}"),
        status: status.as_u16(),
        detail: detail.to_owned(),
        code,
        errors,
        next: String::new(),
        operation_id: Uuid::new_v4().to_string(),
        referrers,
    };
    (status, Json(problem)).into_response()
}

fn not_found() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        Code::NotFound,
        "there is no such object",
        vec![],
        vec![],
    )
}

async fn outage(State(api): State<Api>, request: Request, next: Next) -> Response {
    if api.outage.load(Ordering::Relaxed) {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::Unavailable,
            "the database is away",
            vec![],
            vec![],
        );
    }
    next.run(request).await
}

async fn events(State(api): State<Api>) -> Json<Vec<Happened>> {
    Json(api.happened.lock().unwrap().clone())
}

async fn list(State(api): State<Api>, Path(plural): Path<String>) -> Json<ObjectList> {
    let kind = find_kind(&plural).unwrap().kind;
    let objects = api.objects.lock().unwrap();
    let items = objects
        .values()
        .filter(|object| object.kind == kind)
        .cloned()
        .collect();
    Json(ObjectList {
        items,
        continue_token: None,
        watch_token: Some("0".to_owned()),
    })
}

async fn read(State(api): State<Api>, Path((plural, name)): Path<(String, String)>) -> Response {
    match api.get(find_kind(&plural).unwrap().kind, &name) {
        Some(object) => Json(object).into_response(),
        None => not_found(),
    }
}

async fn watch(State(api): State<Api>) -> Response {
    // Whoever subscribes late may miss what changed since its list: told again, as the real one's overlap does.
    let now: Vec<Object> = api.objects.lock().unwrap().values().cloned().collect();
    let first = futures::stream::iter(now.into_iter().map(|object| WatchEvent::Changed {
        object: Box::new(object),
    }));
    let later = BroadcastStream::new(api.events.subscribe()).filter_map(|event| async { event.ok() });
    let events = first
        .chain(later)
        .map(|event| Ok::<_, Infallible>(Event::default().id("0").json_data(event).unwrap()));
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

async fn source_put(
    State(api): State<Api>,
    Path(uid): Path<String>,
    Json(request): Json<SourceRequest>,
) -> Response {
    api.wrote(format!("PUT {}/{}", request.kind, request.name));
    let kind = find_kind(&request.kind).unwrap();
    let spec = match (kind.normalize)(&request.spec) {
        Ok(spec) => spec,
        Err(errors) => {
            return refuse(
                StatusCode::UNPROCESSABLE_ENTITY,
                Code::Invalid,
                "it is invalid",
                errors,
                vec![],
            );
        }
    };
    for reference in (kind.references)(&spec) {
        if api.get(&reference.kind, &reference.name).is_none() {
            let error = FieldError::new(
                reference.field,
                format!("{}/{} does not exist", reference.kind, reference.name),
            );
            return refuse(
                StatusCode::CONFLICT,
                Code::ReferenceNotFound,
                "it refers to nothing",
                vec![error],
                vec![],
            );
        }
    }
    let found = api.get(&request.kind, &request.name);
    if found
        .as_ref()
        .is_some_and(|found| found.metadata.managed_by != Some(ManagedBy::Kubernetes))
    {
        return refuse(
            StatusCode::CONFLICT,
            Code::OwnedBy,
            "the API owns it",
            vec![],
            vec![],
        );
    }
    if found.is_none() && api.deleted.lock().unwrap().contains(&uid) {
        return refuse(StatusCode::GONE, Code::Gone, "it was deleted", vec![], vec![]);
    }
    let known = found.as_ref().and_then(|found| found.metadata.source.as_ref());
    let is_older = known.is_some_and(|known| known.uid == uid && known.generation > request.generation);
    if is_older && !request.regressed {
        let code = Code::PreconditionFailed;
        return refuse(
            StatusCode::PRECONDITION_FAILED,
            code,
            "it is older",
            vec![],
            vec![],
        );
    }
    if found.as_ref().is_some_and(Object::is_deleting) {
        return refuse(
            StatusCode::CONFLICT,
            Code::Conflict,
            "it is being deleted",
            vec![],
            vec![],
        );
    }
    let outcome = if found.is_some() {
        Outcome::Configured
    } else {
        Outcome::Created
    };
    let mut object = found.unwrap_or_else(|| {
        let mut object = object(&request.kind, &request.name, 0, Value::Null);
        object.status = condition(0, "False", "Progressing");
        object
    });
    if object.spec != spec {
        object.metadata.generation = Some(object.generation() + 1);
        object.spec = spec;
    }
    object.metadata.managed_by = Some(ManagedBy::Kubernetes);
    object.metadata.source = Some(Source {
        uid,
        generation: request.generation,
    });
    object.metadata.labels = request.labels;
    object.metadata.annotations = request.annotations;
    api.set(object.clone());
    Json(Applied { outcome, object }).into_response()
}

async fn source_delete(
    State(api): State<Api>,
    Path(uid): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let (kind, name) = (query["kind"].clone(), query["name"].clone());
    api.wrote(format!("DELETE {kind}/{name}"));
    let Some(mut object) = api.get(&kind, &name) else {
        return not_found();
    };
    if object
        .metadata
        .source
        .as_ref()
        .is_none_or(|source| source.uid != uid)
    {
        return refuse(
            StatusCode::CONFLICT,
            Code::OwnedBy,
            "it is another's",
            vec![],
            vec![],
        );
    }
    let all: Vec<Object> = api.objects.lock().unwrap().values().cloned().collect();
    let refers = |other: &&Object| {
        let references = (find_kind(&other.kind).unwrap().references)(&other.spec);
        references
            .iter()
            .any(|reference| reference.kind == kind && reference.name == name)
    };
    let referrers: Vec<String> = all.iter().filter(refers).map(Object::reference).collect();
    if !referrers.is_empty() {
        let detail = format!("{} refers to it", referrers.join(", "));
        return refuse(StatusCode::CONFLICT, Code::Referenced, &detail, vec![], referrers);
    }
    object.metadata.deletion_requested_at = Some(jiff::Timestamp::now());
    object.metadata.generation = Some(object.generation() + 1);
    if kind.ends_with("Definition") {
        api.remove(&kind, &name);
    } else {
        api.set(object.clone());
    }
    (StatusCode::ACCEPTED, Json(object)).into_response()
}
