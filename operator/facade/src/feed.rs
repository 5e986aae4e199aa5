//! What wakes keys: the custom resources' watches, the API's watch and its full list, the namespace's end. All say
//! only which object to look at.

use std::{
    collections::BTreeSet,
    future::{Future, pending},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt};
use kube::{
    ResourceExt,
    core::DynamicObject,
    runtime::{
        WatchStreamExt,
        reflector::{Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use threeport_client::{Error, ListQuery, WatchItem, WatchStream};
use threeport_crds::CustomResource;
use threeport_model::{Code, KindDescriptor, explain, protocol::watch::WatchEvent};
use tokio_util::sync::CancellationToken;

use crate::{context::Context, crd_install, kept::Kept, queue::Key, reconcile, resource};

const RETRY: Duration = Duration::from_secs(1);
/// How long a name stays free after its resource is gone, before it is made anew: `kubectl delete` looks twice, and where
/// there is another of the name at its second look it waits for that one's end.
const FREE: Duration = Duration::from_secs(1);

/// Keeps the cache of one kind's custom resources and wakes the keys of those that changed.
pub(crate) async fn resources(
    context: Arc<Context>,
    kind: &'static KindDescriptor,
    mut writer: Writer<Kept>,
    shutdown: CancellationToken,
) {
    let stream = watcher(context.api(kind), threeport_cluster::watch_config()).default_backoff();
    let mut events = std::pin::pin!(stream.take_until(shutdown.cancelled_owned()));
    let mut before = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let event = content(event).modify(resource::trim);
                if matches!(event, Event::Init) {
                    before = names(&writer);
                }
                writer.apply_watcher_event(&kept(&event));
                if is_echo(&context, kind, &event) {
                    continue;
                }
                let delay = match event {
                    Event::Delete(_) => FREE,
                    _ => Duration::ZERO,
                };
                for name in woken(&event, &mut before, &writer) {
                    context.queue.after(Key::new(kind, name), delay).await;
                }
            }
            Err(error) => {
                tracing::warn!(error = %explain(&error), kind = kind.kind, "failed to watch custom resources, trying again");
                if is_missing(&error)
                    && let Err(error) = crd_install::install(&context.options.kube).await
                {
                    tracing::warn!("failed to make the definitions anew: {error:#}");
                }
            }
        }
    }
}

/// Read at any depth, it is an object like any other from here on.
fn content(event: Event<CustomResource>) -> Event<DynamicObject> {
    match event {
        Event::Apply(resource) => Event::Apply(resource.0),
        Event::Delete(resource) => Event::Delete(resource.0),
        Event::Init => Event::Init,
        Event::InitApply(resource) => Event::InitApply(resource.0),
        Event::InitDone => Event::InitDone,
    }
}

/// As the cache has it.
fn kept(event: &Event<DynamicObject>) -> Event<Kept> {
    match event {
        Event::Apply(resource) => Event::Apply(Kept::of(resource)),
        Event::Delete(resource) => Event::Delete(Kept::of(resource)),
        Event::Init => Event::Init,
        Event::InitApply(resource) => Event::InitApply(Kept::of(resource)),
        Event::InitDone => Event::InitDone,
    }
}

fn is_echo(context: &Context, kind: &'static KindDescriptor, event: &Event<DynamicObject>) -> bool {
    match event {
        Event::Apply(resource) => context
            .echoes
            .heard(&Key::new(kind, resource.name_any()), resource),
        Event::Delete(resource) => {
            context.echoes.forget(&Key::new(kind, resource.name_any()));
            false
        }
        _ => false,
    }
}

/// The names whose resource this event changed. What a new list lacks changed too.
fn woken(
    event: &Event<DynamicObject>,
    before: &mut BTreeSet<String>,
    writer: &Writer<Kept>,
) -> BTreeSet<String> {
    match event {
        Event::Apply(resource) | Event::Delete(resource) => BTreeSet::from([resource.name_any()]),
        Event::Init | Event::InitApply(_) => BTreeSet::new(),
        Event::InitDone => {
            let mut all = std::mem::take(before);
            all.append(&mut names(writer));
            all
        }
    }
}

fn names(writer: &Writer<Kept>) -> BTreeSet<String> {
    names_of(&writer.as_reader())
}

fn names_of(store: &Store<Kept>) -> BTreeSet<String> {
    let all = store.state();
    all.iter().map(|kept| kept.name().to_owned()).collect()
}

fn is_missing(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
            resource::is_not_found(error)
        }
        watcher::Error::WatchError(status) => status.code == 404,
        _ => false,
    }
}

/// Follows the API: a full list, then its watch until that ends, and again; at least once in a list interval.
pub(crate) async fn objects(context: Arc<Context>, shutdown: CancellationToken) {
    let mut watched = None;
    loop {
        tokio::select! {
            () = round(&context, &mut watched) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// `watched`: the watch of the round before, for as long as it lasts. A list of many takes seconds, in which what changes
/// must not wait.
async fn round(context: &Context, watched: &mut Option<WatchStream>) {
    let listed = meanwhile(list(context), watched, |item| heard(context, item)).await;
    // The next begins before the list did.
    *watched = None;
    match listed {
        Ok(since) => *watched = follow(context, since).await,
        Err(error) => {
            tracing::warn!(error = %explain(&error), "failed to list the API's objects, trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Does `work`, and takes what a stream says until that is done.
async fn meanwhile<T, I, F: Future<Output = ()>>(
    work: impl Future<Output = T>,
    watched: &mut Option<impl Stream<Item = I> + Unpin>,
    mut take: impl FnMut(I) -> F,
) -> T {
    let mut work = pin!(work);
    loop {
        let next = async {
            match watched.as_mut() {
                Some(stream) => stream.next().await,
                None => pending().await,
            }
        };
        tokio::select! {
            done = &mut work => return done,
            item = next => match item {
                Some(item) => take(item).await,
                None => *watched = None,
            },
        }
    }
}

/// Wakes the keys of all that differs between the two sides, and gives the token to watch from.
async fn list(context: &Context) -> Result<Option<String>, Error> {
    context.news.clear();
    let mut since = None;
    for kind in context.kinds() {
        let mut query = ListQuery {
            limit: Some(200),
            ..ListQuery::default()
        };
        let mut unseen = names_of(&kind.store);
        loop {
            let page = context.options.api.object_list(kind.descriptor, &query).await?;
            since = since.or(page.watch_token);
            for object in &page.items {
                unseen.remove(&object.metadata.name);
                if !reconcile::is_settled(context, kind.descriptor, object) {
                    context
                        .queue
                        .wake(Key::new(kind.descriptor, &object.metadata.name))
                        .await;
                }
            }
            match page.continue_token {
                Some(next) => query.continue_token = Some(next),
                None => break,
            }
        }
        for name in unseen {
            context.queue.wake(Key::new(kind.descriptor, name)).await;
        }
    }
    Ok(since)
}

/// Watches from `since` on; comes back where a new list is due, with the watch, or needed: the token is too old, or the API
/// was away. It may be back with a restored database, and of what a restore changed no watch tells.
async fn follow(context: &Context, since: Option<String>) -> Option<WatchStream> {
    let kinds: Vec<&str> = context.kinds().map(|kind| kind.descriptor.kind).collect();
    let mut away = false;
    loop {
        match context.options.api.watch(&kinds, since.as_deref()).await {
            Ok(mut stream) if !away => {
                let end = tokio::time::sleep(context.options.list_interval);
                tokio::select! {
                    () = end => return Some(stream),
                    () = listen(context, &mut stream) => {}
                }
                tokio::time::sleep(RETRY).await;
                return None;
            }
            Ok(_) => return None,
            Err(error) if error.code() == Some(Code::Gone) => return None,
            Err(error) if is_no_place(&error) => {
                tracing::warn!(error = %explain(&error), "failed to watch the API from where the list ended, listing again");
                tokio::time::sleep(RETRY).await;
                return None;
            }
            Err(error) => tracing::warn!(error = %explain(&error), "failed to watch the API, trying again"),
        }
        away = true;
        tokio::time::sleep(RETRY).await;
    }
}

/// Whether the API does not take the token, and never will: an older one may not read what a later one made.
fn is_no_place(error: &Error) -> bool {
    error.problem().is_some() && !error.is_transient()
}

async fn listen(context: &Context, stream: &mut WatchStream) {
    while let Some(item) = stream.next().await {
        match item {
            Ok(item) => take(context, item, true).await,
            Err(error) => {
                return tracing::info!(error = %explain(&error), "the API's watch broke off, listing again");
            }
        }
    }
}

/// What is said while all is listed. It may be older than what the list says of the same object, and the watch ends with
/// the list: so it is not kept, and the object is read.
async fn heard(context: &Context, item: Result<WatchItem, Error>) {
    if let Ok(item) = item {
        take(context, item, false).await;
    }
}

async fn take(context: &Context, item: WatchItem, is_kept: bool) {
    let (kind, name, object) = match item.event {
        WatchEvent::Changed { object } => (object.kind.clone(), object.metadata.name.clone(), Some(object)),
        WatchEvent::Removed { kind, name, .. } => (kind, name, None),
        WatchEvent::Bookmark => return,
    };
    if let Some(kind) = context.kind(&kind) {
        let key = Key::new(kind.descriptor, name);
        match object.filter(|_| is_kept) {
            Some(object) => context.news.heard(&key, *object),
            None => context.news.forget(&key),
        }
        context.wake_waiters(&key).await;
        context.queue.wake(key).await;
    }
}

/// When the namespace begins or ceases to go, everything in it is looked at.
pub(crate) async fn closing(context: Arc<Context>, shutdown: CancellationToken) {
    let mut closing = context.closing.clone();
    loop {
        tokio::select! {
            changed = closing.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
        for kind in context.kinds() {
            for name in names_of(&kind.store) {
                context.queue.wake(Key::new(kind.descriptor, name)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::ready};

    use serde_json::json;
    use tokio::{sync::mpsc, time::Instant};
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    #[test]
    fn who_may_not_watch_from_where_the_list_ended_lists_again() {
        for (code, again) in [
            (Code::Invalid, true),
            (Code::Unavailable, false),
            (Code::TooManyRequests, false),
        ] {
            let problem = json!({"type": "", "title": "", "status": 0, "detail": "no", "code": code});
            let refused = Error::Refused(Box::new(serde_json::from_value(problem).unwrap()));
            assert_eq!(is_no_place(&refused), again, "{code:?}");
        }
        let unreachable = Error::UnexpectedAnswer {
            request: String::new(),
            status: 502,
            body: String::new(),
        };
        assert!(!is_no_place(&unreachable));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_while_all_is_listed_is_heard_at_once() {
        let (sender, receiver) = mpsc::channel(1);
        let mut watched = Some(ReceiverStream::new(receiver));
        let (begun, heard) = (Instant::now(), RefCell::new(Vec::new()));
        let second = || tokio::time::sleep(Duration::from_secs(1));
        tokio::spawn(async move {
            for name in ["web", "shop"] {
                second().await;
                sender.send(name).await.unwrap();
            }
        });
        let list = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            "listed"
        };
        let done = meanwhile(list, &mut watched, |name| {
            heard.borrow_mut().push((name, begun.elapsed().as_secs()));
            ready(())
        });
        assert_eq!((done.await, begun.elapsed().as_secs()), ("listed", 9));
        assert_eq!(*heard.borrow(), [("web", 1), ("shop", 2)]);
        assert!(watched.is_none(), "it ended meanwhile");
    }
}
