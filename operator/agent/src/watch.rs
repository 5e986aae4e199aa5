//! Lists and watches one kind for ever, by kube-runtime, and says what it saw.
//!
//! kube-runtime takes up a watch that breaks where it left off, and lists again where it can't. While the API server
//! can't be heard for longer than [`PATIENCE`], what was last seen is no longer the truth: the kind is then reported as
//! unlistable and listed anew.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, PartialObjectMeta},
    runtime::watcher::{self, watcher},
};
use serde::de::DeserializeOwned;
use threeport_model::protocol::agent::WatchedKind;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{control_plane::explain, discovery, pods, project, world::Event};

/// For how long a watch may be broken before what it saw counts as unknown.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between tries; the first, doubled up to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// The API server ends a watch after so many seconds; a connection that died unnoticed is found 5 s later.
const WATCH_SECONDS: u32 = 55;

/// What every watch needs.
#[derive(Clone)]
pub struct Watcher {
    /// The cluster.
    pub client: Client,
    /// The control plane's field manager.
    pub manager: Arc<str>,
    /// Selects the control plane's objects.
    pub selector: Arc<str>,
    /// Where what was seen goes. Bounded: a slow receiver slows the watches.
    pub events: mpsc::Sender<Event>,
}

impl Watcher {
    /// Watches our objects of a kind, until the receiver is gone.
    pub async fn kind(self, kind: Arc<WatchedKind>) {
        let mut reported = String::new();
        let mut delay = RETRY.0;
        while !self.events.is_closed() {
            let (message, listed) = match discovery::resolve(&self.client, &kind).await {
                Ok(resource) if discovery::metadata_is_enough(&kind) => {
                    let api: Api<PartialObjectMeta<DynamicObject>> =
                        Api::all_with(self.client.clone(), &resource);
                    let event = |event| metadata_event(event, &kind, &self.manager);
                    self.follow(api, Some(&self.selector), event).await
                }
                Ok(resource) => {
                    let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
                    let event = |event| object_event(event, &kind, &self.manager);
                    self.follow(api, Some(&self.selector), event).await
                }
                Err(message) => (message, false),
            };
            if listed {
                delay = RETRY.0;
                reported.clear();
            }
            if message != reported {
                tracing::warn!(
                    kind = kind.kind,
                    group = kind.group,
                    message,
                    "failed to watch a kind"
                );
                let event = Event::Unlistable(Arc::clone(&kind), message.clone());
                let _ = self.events.send(event).await;
                reported = message;
            }
            sleep(delay).await;
            delay = (delay * 2).min(RETRY.1);
        }
    }

    /// Watches all pods.
    pub async fn pods(self) {
        let api: Api<Pod> = Api::all(self.client.clone());
        self.for_reasons("pods", api, pod_event).await;
    }

    /// Watches the metadata of all ReplicaSets.
    pub async fn replica_sets(self) {
        let api: Api<PartialObjectMeta<ReplicaSet>> = Api::all(self.client.clone());
        self.for_reasons("replicasets", api, replica_set_event).await;
    }

    /// Without pods and ReplicaSets health is known all the same, only not why.
    async fn for_reasons<K>(
        &self,
        what: &str,
        api: Api<K>,
        event: impl Fn(watcher::Event<K>) -> Option<Event> + Copy,
    ) where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let mut reported = String::new();
        while !self.events.is_closed() {
            let (message, _) = self.follow(api.clone(), None, event).await;
            if message != reported {
                tracing::warn!(what, message, "failed to watch; reasons will be missing");
                reported = message;
            }
            sleep(RETRY.1).await;
        }
    }

    /// Follows a watch until it is broken for too long. The answer: why, and whether a list was complete.
    async fn follow<K>(
        &self,
        api: Api<K>,
        selector: Option<&str>,
        translate: impl Fn(watcher::Event<K>) -> Option<Event>,
    ) -> (String, bool)
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
        config.label_selector = selector.map(str::to_owned);
        let mut stream = std::pin::pin!(watcher(api, config));
        let mut listed = false;
        let mut broken_since: Option<Instant> = None;
        let mut delay = RETRY.0;
        while let Some(item) = stream.next().await {
            match item {
                Ok(event) => {
                    // A list that begins is not yet an answer.
                    if !matches!(event, watcher::Event::Init) {
                        broken_since = None;
                        delay = RETRY.0;
                    }
                    listed |= matches!(event, watcher::Event::InitDone);
                    if let Some(event) = translate(event)
                        && self.events.send(event).await.is_err()
                    {
                        return ("nobody listens".to_owned(), listed);
                    }
                }
                Err(error) => {
                    let since = *broken_since.get_or_insert_with(Instant::now);
                    if !listed || since.elapsed() >= PATIENCE {
                        return (explain(&error), listed);
                    }
                    sleep(delay).await;
                    delay = (delay * 2).min(RETRY.1);
                }
            }
        }
        ("the watch ended".to_owned(), listed)
    }
}

fn object_event(
    event: watcher::Event<DynamicObject>,
    kind: &Arc<WatchedKind>,
    manager: &str,
) -> Option<Event> {
    let seen = match event {
        watcher::Event::Init => return Some(Event::Listing(Arc::clone(kind))),
        watcher::Event::InitDone => return Some(Event::Listed(Arc::clone(kind))),
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
            project::existing(kind, &object.metadata, object.data, manager)
        }
        watcher::Event::Delete(object) => project::deleted(kind, &object.metadata, manager),
    };
    seen.map(|seen| Event::Object(Box::new(seen)))
}

fn metadata_event(
    event: watcher::Event<PartialObjectMeta<DynamicObject>>,
    kind: &Arc<WatchedKind>,
    manager: &str,
) -> Option<Event> {
    let seen = match event {
        watcher::Event::Init => return Some(Event::Listing(Arc::clone(kind))),
        watcher::Event::InitDone => return Some(Event::Listed(Arc::clone(kind))),
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
            project::existing(kind, &object.metadata, serde_json::Value::Null, manager)
        }
        watcher::Event::Delete(object) => project::deleted(kind, &object.metadata, manager),
    };
    seen.map(|seen| Event::Object(Box::new(seen)))
}

fn pod_event(event: watcher::Event<Pod>) -> Option<Event> {
    match event {
        watcher::Event::Init => Some(Event::ListingPods),
        watcher::Event::InitDone => Some(Event::ListedPods),
        watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => pods::pod(&pod).map(Event::Pod),
        watcher::Event::Delete(pod) => uid(&pod).map(Event::PodGone),
    }
}

fn replica_set_event(event: watcher::Event<PartialObjectMeta<ReplicaSet>>) -> Option<Event> {
    match event {
        watcher::Event::Init => Some(Event::ListingReplicaSets),
        watcher::Event::InitDone => Some(Event::ListedReplicaSets),
        watcher::Event::Apply(set) | watcher::Event::InitApply(set) => {
            pods::replica_set(&set.metadata).map(Event::ReplicaSet)
        }
        watcher::Event::Delete(set) => uid(&set).map(Event::ReplicaSetGone),
    }
}

fn uid(object: &impl ResourceExt) -> Option<Uuid> {
    Uuid::parse_str(object.uid()?.as_str()).ok()
}
