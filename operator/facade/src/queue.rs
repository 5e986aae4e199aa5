//! The work queue: one entry per key however often it is woken, one run per key at a time, delays and backoff.
//!
//! What has no resource yet, or one that says nothing (of what was edited since), goes first: half of the places are its
//! own, and all but one may be. So under a load that nobody can follow an object is seen at once, and brought up to date
//! when there is time; and whoever edits a resource is answered.
//!
//! What is shown must not take the API server's time away from what is done, and the slower that answers, the more it has
//! to do. So runs are followed by a [pause](pause): as long as they took, and far longer where so many wait that they can't
//! be shown soon anyway and the API server is slow already. A flood is thus shown when it is over, at once where the API
//! server has time. What brings a new desired state to the API is not held back, and neither is the first that is shown of
//! an object while few wait: after a moment's halt, places that stand empty for half of the time hardly make up for what
//! goes on to come in.
//!
//! kube-runtime's scheduler merges and delays. What it lacks is an order of those that are due and find no place (it holds
//! them in a set, where under load some wait for ever), and the run itself for keys that have no object yet, which
//! `kube::runtime::Controller` can't do (it reconciles only what its cache has).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use threeport_model::KindDescriptor;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_LAST: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(7);
/// The longest pause.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause while many wait.
const FLOOD_PAUSE: Duration = Duration::from_secs(1);
/// From how many on they are many. More than what comes in some seconds of ten new instances each: a load that can be
/// followed must not be taken for a flood after a moment's halt, for a flood is followed so slowly that it would stay one.
const FLOOD: usize = 200;
/// How long a run takes where the API server has time.
const QUICK: Duration = Duration::from_millis(5);

/// One object, on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// [`KindDescriptor::kind`].
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(kind: &'static KindDescriptor, name: impl Into<String>) -> Self {
        Self {
            kind: kind.kind,
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.name)
    }
}

/// What comes after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, until somebody wakes the key.
    Done,
    /// Again with growing delays, at most this long.
    Retry(Duration),
}

impl Next {
    /// Something failed and may mend itself.
    pub(crate) const FAILED: Self = Self::Retry(BACKOFF_LAST);
}

/// Wakes keys.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    sender: mpsc::Sender<ScheduleRequest<Key>>,
    attempts: Arc<Mutex<HashMap<Key, u32>>>,
}

/// What [`run`] reads.
pub(crate) type Requests = mpsc::Receiver<ScheduleRequest<Key>>;

/// A queue. The channel is only a hand-over: its reader merges what it reads at once.
pub(crate) fn channel() -> (Queue, Requests) {
    let (sender, receiver) = mpsc::channel(1024);
    (
        Queue {
            sender,
            attempts: Arc::default(),
        },
        receiver,
    )
}

impl Queue {
    /// Runs `key` as soon as there is room.
    pub(crate) async fn wake(&self, key: Key) {
        self.after(key, Duration::ZERO).await;
    }

    /// Runs `key` in a while, or earlier where it is woken before.
    pub(crate) async fn after(&self, key: Key, delay: Duration) {
        let request = ScheduleRequest {
            message: key,
            run_at: Instant::now() + delay,
        };
        // Closed only while the process ends.
        let _ = self.sender.send(request).await;
    }

    /// The delay before the next run, if there is to be one.
    fn delay(&self, key: &Key, next: Next) -> Option<Duration> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        match next {
            Next::Done => {
                attempts.remove(key);
                None
            }
            Next::Retry(longest) => {
                let attempt = attempts.entry(key.clone()).or_default();
                let delay = BACKOFF_FIRST.saturating_mul(1_u32 << (*attempt).min(16));
                *attempt += 1;
                Some(delay.min(longest))
            }
        }
    }
}

/// What a key is to be run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    /// There is no resource yet, or one that says nothing of what is wanted now.
    pub(crate) new: bool,
    /// To bring a desired state to the API. Otherwise to show what the API has.
    pub(crate) brings: bool,
}

/// How long a place is left empty after a run that took so long.
fn pause(purpose: Purpose, took: Duration, waiting: usize) -> Duration {
    match purpose {
        Purpose { brings: false, .. } if waiting >= FLOOD => {
            took.mul_f64(took.div_duration_f64(QUICK)).min(FLOOD_PAUSE)
        }
        Purpose { new: true, .. } => Duration::ZERO,
        Purpose { new: false, .. } => took.min(PAUSE),
    }
}

/// Keys that are due, each once and in their order, and those that run.
struct Waiting {
    new: VecDeque<Key>,
    others: VecDeque<Key>,
    known: HashSet<Key>,
    /// Whether each is in one of the places for what is new.
    running: HashMap<Key, bool>,
    places: usize,
}

impl Waiting {
    fn new(places: usize) -> Self {
        Self {
            new: VecDeque::new(),
            others: VecDeque::new(),
            known: HashSet::new(),
            running: HashMap::new(),
            places: places.max(1),
        }
    }

    /// What becomes new while it waits with the others leaves them.
    fn add(&mut self, key: Key, new: bool) {
        if !self.known.insert(key.clone()) {
            let among_others = || self.others.iter().position(|waiting| *waiting == key);
            let Some(place) = new.then(among_others).flatten() else {
                return;
            };
            self.others.remove(place);
        }
        if new { &mut self.new } else { &mut self.others }.push_back(key);
    }

    /// The next that there is a place for. It runs from now on.
    fn start(&mut self) -> Option<Key> {
        if self.running.len() >= self.places {
            return None;
        }
        let others = self.running.values().filter(|new| !**new).count();
        let new = self.running.len() - others;
        let mut found = None;
        if new < (self.places - 1).max(1) {
            found = first(&mut self.new, &self.running).map(|key| (key, true));
        }
        if found.is_none() && others < self.places.div_ceil(2) {
            found = first(&mut self.others, &self.running).map(|key| (key, false));
        }
        let (key, new) = found?;
        self.known.remove(&key);
        self.running.insert(key.clone(), new);
        Some(key)
    }

    fn len(&self) -> usize {
        self.new.len() + self.others.len()
    }

    fn ended(&mut self, key: &Key) {
        self.running.remove(key);
    }
}

/// Takes the first that does not run already.
fn first(keys: &mut VecDeque<Key>, running: &HashMap<Key, bool>) -> Option<Key> {
    let place = keys.iter().position(|key| !running.contains_key(key))?;
    keys.remove(place)
}

/// Runs keys until `shutdown`, then lets those that run end. `purpose` says what a key is run for.
pub(crate) async fn run<F, R>(
    requests: Requests,
    queue: &Queue,
    concurrency: usize,
    shutdown: CancellationToken,
    purpose: impl Fn(&Key) -> Purpose,
    mut reconcile: R,
) where
    F: Future<Output = Next> + Send + 'static,
    R: FnMut(Key) -> F,
{
    let mut due = pin!(scheduler(ReceiverStream::new(requests)));
    let mut waiting = Waiting::new(concurrency);
    let mut tasks = JoinSet::new();
    let mut keys = HashMap::new();
    loop {
        while let Some(key) = waiting.start() {
            let (purpose, behind) = (purpose(&key), waiting.len());
            let (queue, work, again) = (queue.clone(), reconcile(key.clone()), key.clone());
            let handle = tasks.spawn(async move {
                let begun = Instant::now();
                let next = work.await;
                let took = begun.elapsed();
                if let Some(delay) = queue.delay(&again, next) {
                    queue.after(again, delay).await;
                }
                tokio::time::sleep(pause(purpose, took, behind)).await;
            });
            keys.insert(handle.id(), key);
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                if let Some(key) = keys.remove(&id) {
                    waiting.ended(&key);
                }
            }
            Some(key) = due.next() => {
                let new = purpose(&key).new;
                waiting.add(key, new);
            }
        }
    }
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("left custom resources in the middle of their work at shutdown");
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
