//! Lists and watches one kind for ever, by kube-runtime, and says what it saw.
//!
//! kube-runtime takes up a watch that breaks where it left off, and lists again where it can't. While the API server
//! can't be heard for longer than [`PATIENCE`], what was last seen is no longer the truth: the kind is then reported as
//! unlistable and listed anew. A list that breaks off is no list: it says nothing of the kind's objects, and does not count
//! as an answer of the API server.
//!
//! Nothing is waited for without end: a page of a list has [`PAGE`], and a watch is idle no longer than the API server says
//! ([`threeport_cluster::watch_config`]).

mod lists;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, PartialObjectMeta},
    runtime::watcher::{self, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use threeport_model::{explain, protocol::agent::WatchedKind};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use self::lists::WholeLists;
use crate::{
    discovery::{self, Unresolved},
    outbox::Key,
    pods, project,
    world::Event,
};

/// For how long a watch may be broken before what it saw counts as unknown.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between tries; the first, doubled up to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// A kind that was not served for so long is looked for that seldom: it may never come again.
const ABSENT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(30));
/// The longest that a page of a list, or what is asked before it, may take.
const PAGE: Duration = Duration::from_secs(15);

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
        let mut absent_since: Option<Instant> = None;
        while !self.events.is_closed() {
            let found = timeout(PAGE, discovery::resolve(&self.client, &kind)).await;
            let found = found.unwrap_or_else(|_| Err(Unresolved::Unknown(no_answer())));
            let is_absent = matches!(found, Err(Unresolved::Absent(_)));
            absent_since = is_absent.then(|| absent_since.unwrap_or_else(Instant::now));
            let mut lists = WholeLists::default();
            let (message, listed) = match found {
                Ok(resource) if discovery::metadata_is_enough(&kind) => {
                    let api: Api<PartialObjectMeta<DynamicObject>> =
                        Api::all_with(self.client.clone(), &resource);
                    let parts = |object: PartialObjectMeta<DynamicObject>| (object.metadata, Value::Null);
                    let event = |event| lists.pass(kind_event(event, &kind, &self.manager, parts));
                    self.follow(api, Some(&self.selector), event).await
                }
                Ok(resource) => {
                    let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
                    let parts = |object: DynamicObject| (object.metadata, object.data);
                    let event = |event| lists.pass(kind_event(event, &kind, &self.manager, parts));
                    self.follow(api, Some(&self.selector), event).await
                }
                Err(Unresolved::Absent(message) | Unresolved::Unknown(message)) => (message, false),
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
            let long_absent = absent_since.is_some_and(|since| since.elapsed() >= ABSENT.0);
            delay = (delay * 2).min(if long_absent { ABSENT.1 } else { RETRY.1 });
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

    /// Without pods and ReplicaSets health is known all the same, only not why. Their lists are the whole cluster's: what they
    /// show is told at once, and never held.
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
    async fn follow<K, E>(
        &self,
        api: Api<K>,
        selector: Option<&str>,
        mut translate: impl FnMut(watcher::Event<K>) -> E,
    ) -> (String, bool)
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
        E: IntoIterator<Item = Event>,
    {
        let mut config = threeport_cluster::watch_config();
        config.label_selector = selector.map(str::to_owned);
        let mut stream = std::pin::pin!(watcher(api, config));
        let mut listed = false;
        let mut listing = true;
        let mut broken_since: Option<Instant> = None;
        let mut delay = RETRY.0;
        loop {
            let next = stream.next();
            let item = if listing {
                match timeout(PAGE, next).await {
                    Ok(item) => item,
                    Err(_) => return (no_answer(), listed),
                }
            } else {
                next.await
            };
            match item {
                None => return ("the watch ended".to_owned(), listed),
                Some(Ok(event)) => {
                    match event {
                        watcher::Event::Init => listing = true,
                        watcher::Event::InitDone => (listing, listed) = (false, true),
                        _ => {}
                    }
                    // A list is an answer at its end: its first pages may come again and again, and the next never.
                    if !listing {
                        broken_since = None;
                        delay = RETRY.0;
                    }
                    for event in translate(event) {
                        if self.events.send(event).await.is_err() {
                            return ("nobody listens".to_owned(), listed);
                        }
                    }
                }
                Some(Err(error)) => {
                    let since = *broken_since.get_or_insert_with(Instant::now);
                    if !listed || since.elapsed() >= PATIENCE {
                        return (explain(&error), listed);
                    }
                    sleep(delay).await;
                    delay = (delay * 2).min(RETRY.1);
                }
            }
        }
    }
}

fn no_answer() -> String {
    format!("no answer within {} s", PAGE.as_secs())
}

/// What is told of an object of a kind; `parts` takes its metadata, and its other keys where they were asked for. One that
/// reads as no instance's is told too: it may have been ours until now, and nothing else will say that it is not any more.
fn kind_event<K>(
    event: watcher::Event<K>,
    kind: &Arc<WatchedKind>,
    manager: &str,
    parts: impl Fn(K) -> (ObjectMeta, Value),
) -> Event {
    let (object, is_gone) = match event {
        watcher::Event::Init => return Event::Listing(Arc::clone(kind)),
        watcher::Event::InitDone => return Event::Listed(Arc::clone(kind)),
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => (object, false),
        watcher::Event::Delete(object) => (object, true),
    };
    let (metadata, data) = parts(object);
    let seen = if is_gone {
        project::deleted(kind, &metadata, &data, manager)
    } else {
        project::existing(kind, &metadata, data, manager)
    };
    match seen {
        Some(seen) => Event::Object(Box::new(seen)),
        None => Event::NotOurs(Key {
            kind: Arc::clone(kind),
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
        }),
    }
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

#[cfg(test)]
mod tests;
