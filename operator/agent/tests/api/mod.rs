//! An API that takes notes: epochs, kinds to watch, what was said last of each object.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use async_trait::async_trait;
use threeport_agent::control_plane::ControlPlane;
use threeport_client::Error;
use threeport_model::{
    Code, Problem,
    protocol::agent::{
        HeartbeatRequest, HeartbeatResponse, Observation, ObservationsRequest, ObservationsResponse,
        RegisterRequest, RegisterResponse, WatchedKind, Watches,
    },
};
use tokio::{sync::Notify, time::timeout};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(40);
/// How much later the agent is heard with each observation. With a heartbeat it is a second: some of them are not taken for one.
const OBSERVED: i64 = 10;

pub(crate) struct Api {
    control_plane: Uuid,
    notes: Mutex<Notes>,
    changed: Notify,
}

#[derive(Default)]
struct Notes {
    epoch: i64,
    available: bool,
    kinds: Vec<WatchedKind>,
    heartbeats: u64,
    /// When the agent was heard, in seconds; it has to say so with the next heartbeat.
    seen: Option<i64>,
    /// The same, by the last observation.
    observed: Option<i64>,
    /// Heartbeats since.
    since: u64,
    said: BTreeMap<String, Observation>,
    /// The same, to each instance.
    told: BTreeMap<(String, Uuid), Observation>,
    closed: BTreeSet<WatchedKind>,
    unlistable: BTreeMap<WatchedKind, String>,
    sequences: Vec<(i64, i64)>,
}

pub(crate) fn kind(group: &str, version: &str, kind: &str) -> WatchedKind {
    WatchedKind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
    }
}

fn kinds(list: &[(&str, &str, &str)]) -> Vec<WatchedKind> {
    list.iter()
        .map(|(group, version, name)| kind(group, version, name))
        .collect()
}

fn refused(code: Code) -> Error {
    Error::Refused(Box::new(Problem {
        kind: String::new(),
        title: String::new(),
        status: 0,
        detail: String::new(),
        code,
        errors: Vec::new(),
        next: String::new(),
        operation_id: String::new(),
        referrers: Vec::new(),
    }))
}

impl Notes {
    fn watches(&self) -> Watches {
        Watches {
            revision: format!("{:?}", self.kinds),
            kinds: self.kinds.clone(),
        }
    }

    fn heard(&self) -> Option<jiff::Timestamp> {
        let seconds = self.seen?;
        jiff::Timestamp::from_second(seconds).ok()
    }

    fn check(&self, epoch: i64) -> Result<(), Error> {
        if !self.available {
            return Err(refused(Code::Unavailable));
        }
        if epoch == self.epoch {
            Ok(())
        } else {
            Err(refused(Code::Conflict))
        }
    }
}

impl Api {
    pub(crate) fn new(control_plane: Uuid, watched: &[(&str, &str, &str)]) -> Self {
        let notes = Notes {
            available: true,
            kinds: kinds(watched),
            ..Notes::default()
        };
        Self {
            control_plane,
            notes: Mutex::new(notes),
            changed: Notify::new(),
        }
    }

    fn note<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> T {
        let answer = change(&mut self.notes.lock().unwrap());
        self.changed.notify_waiters();
        answer
    }

    fn read<T>(&self, ask: impl FnOnce(&Notes) -> T) -> T {
        ask(&self.notes.lock().unwrap())
    }

    pub(crate) fn set_kinds(&self, watched: &[(&str, &str, &str)]) {
        self.note(|notes| notes.kinds = kinds(watched));
    }

    pub(crate) fn set_available(&self, available: bool) {
        self.note(|notes| notes.available = available);
    }

    /// As if another agent had registered.
    pub(crate) fn begin_epoch(&self) {
        self.note(|notes| notes.epoch += 1);
    }

    /// As a database that was restored from before the last heartbeats, with the epoch that it was in.
    pub(crate) fn forget_heartbeats(&self) {
        self.note(|notes| notes.seen = notes.observed);
    }

    /// As a database that lost the last observation, and no heartbeat.
    pub(crate) fn forget_observation(&self) {
        self.note(|notes| notes.seen = notes.seen.map(|seen| seen - OBSERVED));
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.read(|notes| notes.epoch)
    }

    pub(crate) fn heartbeats(&self) -> u64 {
        self.read(|notes| notes.heartbeats)
    }

    /// How many there were since the last observation.
    pub(crate) fn heartbeats_since(&self) -> u64 {
        self.read(|notes| notes.since)
    }

    pub(crate) fn last(&self, name: &str) -> Option<Observation> {
        self.read(|notes| notes.said.get(name).cloned())
    }

    /// The last that an instance was told of an object.
    pub(crate) fn last_of(&self, name: &str, instance: Uuid) -> Option<Observation> {
        self.read(|notes| notes.told.get(&(name.to_owned(), instance)).cloned())
    }

    pub(crate) fn closed(&self, kind: &WatchedKind) -> bool {
        self.read(|notes| notes.closed.contains(kind))
    }

    pub(crate) fn unlistable(&self, kind: &WatchedKind) -> Option<String> {
        self.read(|notes| notes.unlistable.get(kind).cloned())
    }

    pub(crate) fn sequences_are_monotone(&self) -> bool {
        self.read(|notes| notes.sequences.is_sorted() && !notes.sequences.is_empty())
    }

    /// Waits until `found` finds something.
    pub(crate) async fn wait<T>(&self, what: &str, found: impl Fn() -> Option<T>) -> T {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if let Some(value) = found() {
                    return value;
                }
                changed.await;
            }
        };
        timeout(DEADLINE, waiting).await.unwrap_or_else(|_| {
            let said = self.read(|notes| format!("{:#?}", notes.said));
            panic!("waited for {DEADLINE:?} in vain: {what}; said so far: {said}")
        })
    }
}

#[async_trait]
impl ControlPlane for Api {
    async fn register(&self, _: &RegisterRequest) -> Result<RegisterResponse, Error> {
        self.note(|notes| {
            if !notes.available {
                return Err(refused(Code::Unavailable));
            }
            notes.epoch += 1;
            notes.said.clear();
            notes.told.clear();
            notes.closed.clear();
            notes.unlistable.clear();
            Ok(RegisterResponse {
                control_plane_id: self.control_plane,
                runtime_id: Uuid::nil(),
                epoch: notes.epoch,
                watches: notes.watches(),
            })
        })
    }

    async fn heartbeat(&self, _: Uuid, request: &HeartbeatRequest) -> Result<HeartbeatResponse, Error> {
        self.note(|notes| {
            notes.check(request.epoch)?;
            if request.seen.map(jiff::Timestamp::as_second) > notes.seen {
                return Err(refused(Code::Conflict));
            }
            notes.heartbeats += 1;
            notes.since += 1;
            notes.seen = Some(notes.seen.unwrap_or_default() + 1);
            Ok(HeartbeatResponse {
                watches_revision: notes.watches().revision,
                seen: notes.heard(),
            })
        })
    }

    async fn watches(&self, _: Uuid) -> Result<Watches, Error> {
        Ok(self.read(Notes::watches))
    }

    async fn observe(&self, _: Uuid, request: &ObservationsRequest) -> Result<ObservationsResponse, Error> {
        self.note(|notes| {
            notes.check(request.epoch)?;
            notes.sequences.push((request.epoch, request.sequence));
            for observation in &request.observations {
                let (name, instance) = (observation.name.clone(), observation.instance_id);
                notes.told.insert((name.clone(), instance), observation.clone());
                notes.said.insert(name, observation.clone());
            }
            for kind in &request.closed {
                notes.unlistable.remove(kind);
                notes.closed.insert(kind.clone());
            }
            for unlistable in &request.unlistable {
                notes
                    .unlistable
                    .insert(unlistable.kind.clone(), unlistable.message.clone());
            }
            notes.seen = Some(notes.seen.unwrap_or_default() + OBSERVED);
            (notes.observed, notes.since) = (notes.seen, 0);
            Ok(ObservationsResponse {
                seen: notes.heard(),
                ..ObservationsResponse::default()
            })
        })
    }
}
