//! `GET /v1alpha1/watch`: server-sent events, first what happened since the token, then what happens.
//!
//! With a selector, a change of an object that is not selected is sent as `removed`: the watcher may know it from its
//! list or from before, and nobody keeps who was told what. Who doesn't know it has nothing to remove.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing,
};
use serde::Deserialize;
use threeport_model::{
    explain, find_kind, kinds,
    problem::Code,
    protocol::{watch::WatchEvent, whoami::Role},
};
use threeport_store::{Cursor, Error, FieldSelector, LabelSelector};
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    app::App,
    authentication::Caller,
    changes::{Encoded, OVERLAP, encode, removed},
    extract::Query,
    problem::ApiError,
    router::{Access, Answer, Body, Parameter, Route, WATCH_PATH},
};

/// A bookmark at least so often.
const BOOKMARK: Duration = Duration::from_secs(10);
/// Watches end from time to time, so that rights and replicas are looked at anew.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// A client that takes nothing for so long is gone or too slow.
const SLOW: Duration = Duration::from_secs(20);
const PAGE: u32 = 200;

/// See the module.
pub const ROUTES: &[Route] = &[Route {
    method: "GET",
    path: WATCH_PATH,
    access: Access::Roles(&[Role::Facade]),
    query: &[
        Parameter {
            name: "since",
            description: "a token of a list or of a watch; now where absent",
        },
        Parameter {
            name: "kinds",
            description: "kinds, separated by commas; all where absent",
        },
        Parameter {
            name: "labelSelector",
            description: "as in Kubernetes: app=web,tier!=test; what is not selected is sent as removed",
        },
        Parameter {
            name: "fieldSelector",
            description: "metadata.name= or metadata.managedBy=; what is not selected is sent as removed",
        },
    ],
    summary: "Changes as server-sent events; 410 where the token is too old: list again.",
    body: Body::None,
    answer: Answer::Other(200, "text/event-stream"),
    handler: || routing::get(watch),
}];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    since: Option<String>,
    kinds: Option<String>,
    label_selector: Option<String>,
    field_selector: Option<String>,
}

type Kinds = BTreeSet<&'static str>;

/// What a watcher wants to hear of.
struct Selection {
    kinds: Kinds,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    fn selects(&self, change: &Encoded) -> bool {
        self.labels.matches(&change.labels) && self.fields.matches(&change.name, change.managed_by)
    }
}
type Sender = mpsc::Sender<Result<Event, std::convert::Infallible>>;

async fn watch(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, ApiError> {
    let place = app.admission.watch()?;
    let labels = parameters.label_selector.unwrap_or_default().parse();
    let fields = parameters.field_selector.unwrap_or_default().parse();
    let selection = Selection {
        kinds: wanted(parameters.kinds.as_deref(), caller.role)?,
        labels: labels.map_err(|error: String| ApiError::field("labelSelector", error))?,
        fields: fields.map_err(|error: String| ApiError::field("fieldSelector", error))?,
    };
    // Subscribed before the past is read: nothing falls between the two.
    let live = app.changes.subscribe();
    let since = match parameters.since {
        Some(token) => token
            .parse()
            .map_err(|_| ApiError::field("since", "is not a watch token"))?,
        None => app.store.watch_start().await?,
    };
    // The first page here, so that an old token is a plain 410 and not a stream that breaks off.
    let first = app.store.watch_changes(since, PAGE, OVERLAP).await?;
    let (sender, receiver) = mpsc::channel(16);
    app.metrics().watch_started();
    tokio::spawn(async move {
        let watcher = Watcher {
            app: app.clone(),
            selection,
            sender,
            _place: place,
        };
        let lifetime = tokio::time::timeout(MAX_LIFETIME, watcher.run(first, live));
        let ended = app.shutdown.run_until_cancelled(lifetime).await;
        let slow = matches!(ended, Some(Ok(Err(Ended::Slow))));
        app.metrics().watch_ended(slow);
    });
    let keep_alive = KeepAlive::new().interval(BOOKMARK);
    Ok(Sse::new(ReceiverStream::new(receiver))
        .keep_alive(keep_alive)
        .into_response())
}

fn wanted(words: Option<&str>, role: Role) -> Result<Kinds, ApiError> {
    let allowed = |custom_resource: bool| role != Role::Facade || custom_resource;
    let Some(words) = words else {
        return Ok(kinds::ALL
            .iter()
            .filter(|kind| allowed(kind.custom_resource))
            .map(|kind| kind.kind)
            .collect());
    };
    words
        .split(',')
        .map(|word| match find_kind(word) {
            Some(kind) if allowed(kind.custom_resource) => Ok(kind.kind),
            Some(_) => Err(ApiError::new(
                Code::Forbidden,
                format!("a facade may not watch {word}"),
            )),
            None => Err(ApiError::field("kinds", format!("{word:?} is not a kind"))),
        })
        .collect()
}

enum Ended {
    Gone,
    Slow,
}

struct Watcher {
    app: App,
    selection: Selection,
    sender: Sender,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// The past page by page, then the present.
    async fn run(
        &self,
        first: threeport_store::Changes,
        mut live: broadcast::Receiver<Arc<Encoded>>,
    ) -> Result<(), Ended> {
        let mut page = first;
        let mut token: String;
        loop {
            for change in &page.items {
                if let Some(encoded) = encode(change) {
                    self.send(&encoded).await?;
                }
            }
            token = page.next.to_string();
            if !page.more {
                break;
            }
            page = self.page(page.next).await?;
        }
        self.bookmark(&token).await?;
        let mut bookmarked = Instant::now();
        loop {
            match tokio::time::timeout_at(bookmarked + BOOKMARK, live.recv()).await {
                Ok(Ok(encoded)) => self.send(&encoded).await?,
                Ok(Err(RecvError::Lagged(_))) => return Err(Ended::Slow),
                Ok(Err(RecvError::Closed)) => return Err(Ended::Gone),
                Err(_) => {
                    token = self.app.changes.cursor().unwrap_or(token);
                    self.bookmark(&token).await?;
                    bookmarked = Instant::now();
                }
            }
        }
    }

    async fn page(&self, since: Cursor) -> Result<threeport_store::Changes, Ended> {
        self.app
            .store
            .watch_changes(since, PAGE, Duration::ZERO)
            .await
            .map_err(|_| Ended::Gone)
    }

    async fn send(&self, encoded: &Encoded) -> Result<(), Ended> {
        if !self.selection.kinds.contains(encoded.kind.as_str()) {
            return Ok(());
        }
        let event = Event::default().id(&encoded.token);
        if !self.selection.selects(encoded) {
            let removed = removed(encoded.id, &encoded.kind, &encoded.name);
            return self.put(event.event("removed").data(text(&removed)), 1).await;
        }
        let event = event.event(encoded.event);
        if let Some(data) = &encoded.data {
            return self.put(event.data(String::from_utf8_lossy(data)), 1).await;
        }
        match self.app.store.object_get_by_id(encoded.id).await {
            Ok(object) => {
                let object = Box::new(object);
                let event = event.data(text(&WatchEvent::Changed { object }));
                // Once all before it was taken: what waits for one watcher is one large object at most.
                self.put(event, self.sender.max_capacity()).await
            }
            // Its removal is a change of its own.
            Err(error) if error.is_not_found() => Ok(()),
            // Else it would end every watch of its kind, again and again.
            Err(error @ Error::Decode { .. }) => {
                let Encoded { kind, name, .. } = encoded;
                tracing::warn!(
                    kind,
                    name,
                    "a watcher does not hear of what can't be read: {}",
                    explain(&error)
                );
                Ok(())
            }
            Err(_) => Err(Ended::Gone),
        }
    }

    async fn bookmark(&self, token: &str) -> Result<(), Ended> {
        let bookmark = Event::default().event("bookmark").id(token);
        self.put(bookmark.data(text(&WatchEvent::Bookmark)), 1).await
    }

    /// Sends once so many places are free.
    async fn put(&self, event: Event, free: usize) -> Result<(), Ended> {
        match tokio::time::timeout(SLOW, self.sender.reserve_many(free)).await {
            Ok(Ok(mut places)) => {
                if let Some(place) = places.next() {
                    place.send(Ok(event));
                }
                Ok(())
            }
            Ok(Err(_)) => Err(Ended::Gone),
            Err(_) => Err(Ended::Slow),
        }
    }
}

fn text(event: &WatchEvent) -> String {
    serde_json::to_string(event).unwrap_or_default()
}
