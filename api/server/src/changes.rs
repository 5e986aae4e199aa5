//! One tailer per replica reads the database's changes and feeds all watchers of this replica.
//!
//! It is woken by commits of this replica and by what other replicas publish, and looks by itself every second.
//! Rows carry the time at which their transaction ran, not the one at which it committed, so a late commit may appear
//! behind the cursor. Looking back far each time would read the same rows over and over under load; so most looks
//! go back little, and one every few seconds goes back further than any transaction may last. What was seen is
//! remembered by version, so that watchers get it once.
//!
//! Where the database's clock was set back, what is written has times behind the cursor. So a cursor that is ahead of the
//! clock is set back, too.
//!
//! A database that is back may have lost its last commits (a failover), of which watchers heard, and that they are not there
//! any more is no change. So once it was away, all watches are ended: who keeps what he heard lists again.
//!
//! Delivery is at least once and nobody's correctness rests on it. A watcher that can't keep up is ended, and begins
//! again from its last token.

mod looks;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::body::Bytes;
use threeport_model::{ManagedBy, explain, protocol::watch::WatchEvent};
use threeport_store::{Change, Cursor, Error, Store};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::looks::Looks;

/// Longer than a transaction lives, and than replicas' round trips to the database differ.
pub const OVERLAP: Duration = Duration::from_secs(15);
const LOOK_BACK_EVERY: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const BATCH: u32 = 500;
/// For how long looks fail until the database was away. A server that only starts again loses nothing, and is quicker.
const AWAY: Duration = Duration::from_secs(5);
/// How many changes a slow watcher may be behind.
const BEHIND: usize = 1024;

/// A change as watchers get it, encoded once for all of them.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Which object.
    pub id: Uuid,
    /// The kind.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its owner.
    pub managed_by: ManagedBy,
    /// `changed` or `removed`.
    pub event: &'static str,
    /// The token to continue from.
    pub token: String,
    /// JSON. Nothing where the object is large, so that what is kept for slow watchers is not: it is read for each.
    pub data: Option<Bytes>,
}

/// Where watchers subscribe.
#[derive(Clone)]
pub struct Changes {
    sender: Arc<RwLock<broadcast::Sender<Arc<Encoded>>>>,
    cursor: Arc<watch::Sender<Option<Cursor>>>,
    /// Wakes the tailer.
    pub wake: Arc<Notify>,
}

impl Default for Changes {
    fn default() -> Self {
        let (sender, _) = broadcast::channel(BEHIND);
        Self {
            sender: Arc::new(RwLock::new(sender)),
            cursor: Arc::new(watch::channel(None).0),
            wake: Arc::new(Notify::new()),
        }
    }
}

impl Changes {
    /// All changes that the tailer sees from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Encoded>> {
        self.sender().subscribe()
    }

    fn sender(&self) -> broadcast::Sender<Arc<Encoded>> {
        self.sender.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends all that are subscribed.
    fn end(&self) {
        let (sender, _) = broadcast::channel(BEHIND);
        *self.sender.write().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// How far the tailer is; nothing before its first look.
    pub fn cursor(&self) -> Option<String> {
        self.cursor.borrow().as_ref().map(ToString::to_string)
    }

    /// Reads and sends until `shutdown`.
    pub async fn tail(&self, store: Store, shutdown: CancellationToken) {
        let mut tailer = Tailer::new(self, store);
        loop {
            let began = Instant::now();
            let looked = tailer.look().await;
            if let Err(error) = &looked {
                tracing::warn!("failed to read changes: {}", explain(error));
            }
            tailer.answered(looked.is_ok(), Instant::now());
            let pause = tailer.looks.pause(began.elapsed());
            let pause = async {
                tokio::time::sleep(pause).await;
                let _ = tokio::time::timeout(LOOK_EVERY, self.wake.notified()).await;
            };
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }
}

struct Tailer<'a> {
    changes: &'a Changes,
    store: Store,
    cursor: Option<Cursor>,
    /// Version and time of what was sent, as far as a look back may find it again.
    seen: HashMap<Uuid, ((i64, i64), i64)>,
    looked_back: Instant,
    looks: Looks,
    /// When the first of the looks failed that failed one after another.
    failing_since: Option<Instant>,
}

impl<'a> Tailer<'a> {
    fn new(changes: &'a Changes, store: Store) -> Self {
        Self {
            changes,
            store,
            cursor: None,
            seen: HashMap::new(),
            looked_back: Instant::now(),
            looks: Looks::default(),
            failing_since: None,
        }
    }

    /// Ends the watches once the database was away.
    fn answered(&mut self, is_answered: bool, now: Instant) {
        if !is_answered {
            self.failing_since.get_or_insert(now);
        } else if let Some(since) = self.failing_since.take()
            && now.saturating_duration_since(since) >= AWAY
        {
            tracing::warn!("the database was away: watches begin anew");
            self.begin_anew();
        }
    }

    /// What was sent may not be there any more, or be there once more under the same version.
    fn begin_anew(&mut self) {
        self.seen.clear();
        self.changes.end();
    }

    async fn look(&mut self) -> Result<(), Error> {
        let Some(mut cursor) = self.cursor else {
            self.advance(self.store.watch_start().await?);
            return Ok(());
        };
        let look_back = self.looked_back.elapsed() >= LOOK_BACK_EVERY;
        let mut overlap = if look_back { OVERLAP } else { self.looks.overlap() };
        loop {
            let is_news = |id, version| !self.has_seen(id, version);
            let read = self.store.watch_news(cursor, BATCH, overlap, is_news).await;
            let changes = match read {
                Err(Error::Gone) => {
                    // After a long pause of this process: watchers list again, the tailer begins anew.
                    self.begin_anew();
                    self.advance(self.store.watch_start().await?);
                    return Ok(());
                }
                other => other?,
            };
            let full = changes.more;
            for change in changes.items {
                self.send(&change);
            }
            for unreadable in changes.unreadable {
                let id = unreadable.cursor.id;
                if self.is_new(id, unreadable.version, unreadable.cursor.at) {
                    tracing::error!(
                        what = unreadable.what,
                        "watchers don't hear of what can't be read: {}",
                        unreadable.why
                    );
                }
            }
            cursor = changes.next;
            self.advance(changes.next);
            if !full {
                self.forget(cursor.at);
                if cursor.is_ahead(changes.now) {
                    tracing::warn!("the database's clock was set back; watches follow it");
                    self.advance(Cursor {
                        at: changes.now - i64::try_from(OVERLAP.as_micros()).unwrap_or_default(),
                        id: Uuid::nil(),
                        ..cursor
                    });
                }
                break;
            }
            // The next page follows this one; only the first looks back.
            overlap = Duration::ZERO;
        }
        if look_back {
            self.looked_back = Instant::now();
        }
        Ok(())
    }

    fn has_seen(&self, id: Uuid, version: (i64, i64)) -> bool {
        self.seen.get(&id).is_some_and(|(seen, _)| *seen == version)
    }

    /// Whether a change was not seen before; it is from now on.
    fn is_new(&mut self, id: Uuid, version: (i64, i64), at: i64) -> bool {
        let known = self.has_seen(id, version);
        if !known {
            self.seen.insert(id, (version, at));
        }
        !known
    }

    fn send(&mut self, change: &Change) {
        if !self.is_new(change.object.id(), change.version, change.cursor.at) {
            return;
        }
        let sender = self.changes.sender();
        if sender.receiver_count() == 0 {
            return;
        }
        if let Some(encoded) = encode(change) {
            // Nobody listening is no error.
            let _ = sender.send(Arc::new(encoded));
        }
    }

    fn advance(&mut self, cursor: Cursor) {
        self.changes.cursor.send_replace(Some(cursor));
        self.cursor = Some(cursor);
    }

    fn forget(&mut self, newest: i64) {
        let oldest = newest - 2 * i64::try_from(OVERLAP.as_micros()).unwrap_or(i64::MAX / 4);
        self.seen.retain(|_, (_, at)| *at >= oldest);
    }
}

/// A change as a watch event; nothing where it can't be encoded.
pub fn encode(change: &Change) -> Option<Encoded> {
    let object = &change.object;
    let (event, data) = if change.deleted {
        let removed = removed(object.id(), &object.kind, &object.metadata.name);
        ("removed", Some(removed))
    } else {
        let object = change.is_whole.then(|| Box::new(object.clone()));
        ("changed", object.map(|object| WatchEvent::Changed { object }))
    };
    let data = data.map(|data| serde_json::to_vec(&data)).transpose().ok()?;
    Some(Encoded {
        id: object.id(),
        kind: object.kind.clone(),
        name: object.metadata.name.clone(),
        labels: object.metadata.labels.clone(),
        managed_by: object.metadata.managed_by.unwrap_or_default(),
        event,
        token: change.cursor.to_string(),
        data: data.map(Bytes::from),
    })
}

/// That an object is gone, or none of the watcher's.
pub fn removed(id: Uuid, kind: &str, name: &str) -> WatchEvent {
    WatchEvent::Removed {
        id,
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::{Object, find_kind};
    use threeport_store::{Options, Request};
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    const KIND: &str = "KubernetesRuntimeDefinition";

    struct Bed {
        _folder: tempfile::TempDir,
        store: Store,
        changes: Changes,
    }

    impl Bed {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let options = Options::new(format!("sqlite://{}/threeport.db", folder.path().display()));
            Store::migrate(&options).await.unwrap();
            Self {
                _folder: folder,
                store: Store::open(options).await.unwrap(),
                changes: Changes::default(),
            }
        }

        /// One that has looked once.
        async fn tailer(&self) -> Tailer<'_> {
            let mut tailer = Tailer::new(&self.changes, self.store.clone());
            tailer.look().await.unwrap();
            tailer
        }

        async fn create(&self, name: &str) {
            let spec = (find_kind(KIND).unwrap().normalize)(&json!({})).unwrap();
            let request = Request::new(Uuid::new_v4(), "tester", "TEST");
            let object = Object::new(KIND, name, spec);
            self.store.object_create(&request, object).await.unwrap();
        }
    }

    #[tokio::test]
    async fn watchers_go_on_where_the_clock_was_set_back() {
        let bed = Bed::new().await;
        let mut heard = bed.changes.subscribe();
        let mut tailer = bed.tailer().await;
        let now = tailer.cursor.unwrap();
        // It followed the clock when that was an hour ahead.
        tailer.advance(Cursor {
            at: now.at + 3_600_000_000,
            ..now
        });
        bed.create("local").await;
        for _ in 0..3 {
            tailer.look().await.unwrap();
        }
        assert_eq!(heard.try_recv().unwrap().name, "local");
        assert!(heard.try_recv().is_err(), "it is told once");
        let cursor: Cursor = bed.changes.cursor().unwrap().parse().unwrap();
        assert!(
            !cursor.is_ahead(now.at),
            "who continues from a bookmark hears as well"
        );
        bed.store.close().await;
    }

    #[tokio::test]
    async fn watches_end_once_the_database_was_away_for_longer_than_a_restart() {
        let bed = Bed::new().await;
        let mut heard = bed.changes.subscribe();
        let mut tailer = bed.tailer().await;
        bed.create("local").await;
        tailer.look().await.unwrap();
        assert_eq!(heard.try_recv().unwrap().name, "local");
        let begun = Instant::now();
        for (second, is_answered, ends) in [
            (0, false, false),
            (4, true, false),
            (5, false, false),
            (7, false, false),
            (10, true, true),
        ] {
            tailer.answered(is_answered, begun + Duration::from_secs(second));
            let ended = matches!(heard.try_recv(), Err(TryRecvError::Closed));
            assert_eq!(ended, ends, "second {second}");
        }
        let mut anew = bed.changes.subscribe();
        tailer.looked_back = begun - LOOK_BACK_EVERY;
        tailer.look().await.unwrap();
        assert_eq!(anew.try_recv().unwrap().name, "local", "it may be another one");
        bed.store.close().await;
    }
}
