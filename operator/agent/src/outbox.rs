//! Observations on their way to the API: coalesced per object and instance, in the order in which they were first seen, and
//! the marks that a kind's list was complete or impossible in their place among them. Pure.
//!
//! The API takes what a batch says of objects before what it says of kinds, and "can't be listed" makes all objects of a
//! kind unknown. So what was seen after it waits for the next batch.
//!
//! All that is said passes here, so here the NULs go that programs print and no database keeps, and the rest of messages that
//! are longer than anybody reads: a custom resource's condition may have a megabyte, which would be part of each claim and
//! status of its instance.
//!
//! It is bounded by what is watched: one observation per object and instance that has or had it, one mark per kind.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use threeport_model::protocol::agent::{Observation, ObservationsRequest, Unlistable, WatchedKind};
use uuid::Uuid;

/// The longest message that is said, in bytes.
const LONGEST: usize = 2048;

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its kind.
    pub kind: Arc<WatchedKind>,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The same object, of its kind in another version.
    pub fn of_kind(self, kind: &Arc<WatchedKind>) -> Self {
        Self {
            kind: Arc::clone(kind),
            ..self
        }
    }
}

/// What an observation is of. Where an object becomes another instance's, the one that had it is told as well as the one that
/// has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subject {
    key: Key,
    instance: Uuid,
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    order: VecDeque<Entry>,
    observations: HashMap<Subject, Observation>,
    marks: HashMap<Arc<WatchedKind>, Mark>,
}

#[derive(Clone, Debug)]
enum Entry {
    Object(Subject),
    Kind(Arc<WatchedKind>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    Closed,
    Unlistable(String),
}

/// What is being sent: can be put back.
#[derive(Debug, Default)]
pub struct Batch {
    observations: Vec<(Subject, Observation)>,
    marks: Vec<(Arc<WatchedKind>, Mark)>,
}

impl Outbox {
    /// An object was seen. What was to be said of it to that instance before is no longer said; this takes its place, or the
    /// last one where its kind could not be listed meanwhile.
    pub fn observe(&mut self, key: Key, mut observation: Observation) {
        for image in &mut observation.images {
            for text in [&mut image.repository, &mut image.reference, &mut image.image_id] {
                without_nul(text);
            }
        }
        observation.other_managers.iter_mut().for_each(without_nul);
        shorten(&mut observation.message);
        let is_unlistable = matches!(self.marks.get(&key.kind), Some(Mark::Unlistable(_)));
        let instance = observation.instance_id;
        let subject = Subject { key, instance };
        let is_new = self.observations.insert(subject.clone(), observation).is_none();
        let is_outdated = !is_new && is_unlistable;
        if is_outdated {
            self.order
                .retain(|entry| !matches!(entry, Entry::Object(found) if *found == subject));
        }
        if is_new || is_outdated {
            self.order.push_back(Entry::Object(subject));
        }
    }

    /// The list of a kind ends here, and was complete.
    pub fn close(&mut self, kind: Arc<WatchedKind>) {
        self.mark(kind, Mark::Closed);
    }

    /// A kind can't be listed now.
    pub fn unlistable(&mut self, kind: Arc<WatchedKind>, mut message: String) {
        shorten(&mut message);
        self.mark(kind, Mark::Unlistable(message));
    }

    /// A kind is no longer watched: nothing more is said of it.
    pub fn forget(&mut self, kind: &WatchedKind) {
        self.observations.retain(|subject, _| *subject.key.kind != *kind);
        self.marks.retain(|marked, _| **marked != *kind);
        self.order.retain(|entry| match entry {
            Entry::Object(subject) => *subject.key.kind != *kind,
            Entry::Kind(marked) => **marked != *kind,
        });
    }

    /// A kind is watched in another version: what was seen of its objects is still to be said, and what was said of its
    /// list is not.
    pub fn reversion(&mut self, old: &Arc<WatchedKind>, new: &Arc<WatchedKind>) {
        self.marks.remove(old);
        self.order
            .retain(|entry| !matches!(entry, Entry::Kind(marked) if marked == old));
        for entry in &mut self.order {
            if let Entry::Object(subject) = entry
                && subject.key.kind == *old
                && let Some(observation) = self.observations.remove(subject)
            {
                subject.key.kind = Arc::clone(new);
                self.observations.insert(subject.clone(), observation);
            }
        }
    }

    /// How much waits.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The oldest entries, at most `limit` of them, up to the first object of a kind that they say can't be listed.
    pub fn take(&mut self, limit: usize) -> Batch {
        let mut batch = Batch::default();
        while batch.entries() < limit
            && let Some(entry) = self.order.pop_front()
        {
            match entry {
                Entry::Object(subject) if batch.is_unlistable(&subject.key.kind) => {
                    self.order.push_front(Entry::Object(subject));
                    break;
                }
                Entry::Object(subject) => {
                    if let Some(observation) = self.observations.remove(&subject) {
                        batch.observations.push((subject, observation));
                    }
                }
                Entry::Kind(kind) => {
                    if let Some(mark) = self.marks.remove(&kind) {
                        batch.marks.push((kind, mark));
                    }
                }
            }
        }
        batch
    }

    /// A batch that could not be sent, before everything else; but what was seen meanwhile is newer.
    pub fn put_back(&mut self, batch: Batch) {
        for (kind, mark) in batch.marks.into_iter().rev() {
            if !self.marks.contains_key(&kind) {
                self.marks.insert(Arc::clone(&kind), mark);
                self.order.push_front(Entry::Kind(kind));
            }
        }
        for (subject, observation) in batch.observations.into_iter().rev() {
            if !self.observations.contains_key(&subject) {
                self.observations.insert(subject.clone(), observation);
                self.order.push_front(Entry::Object(subject));
            }
        }
    }

    /// A newer mark takes the last place, so that it comes after all that was seen before it.
    fn mark(&mut self, kind: Arc<WatchedKind>, mark: Mark) {
        if self.marks.insert(Arc::clone(&kind), mark).is_some() {
            self.order
                .retain(|entry| !matches!(entry, Entry::Kind(marked) if *marked == kind));
        }
        self.order.push_back(Entry::Kind(kind));
    }
}

fn without_nul(text: &mut String) {
    text.retain(|character| character != '\0');
}

/// Takes from a message what is not said, and its memory with it: many may wait.
pub(crate) fn shorten(message: &mut String) {
    without_nul(message);
    if message.len() > LONGEST {
        let end = message.floor_char_boundary(LONGEST);
        message.truncate(end);
        message.push('…');
        message.shrink_to_fit();
    }
}

impl Batch {
    /// The batch as the API takes it.
    pub fn to_request(&self, epoch: i64, sequence: i64) -> ObservationsRequest {
        let mut request = ObservationsRequest {
            epoch,
            sequence,
            observations: self
                .observations
                .iter()
                .map(|(_, observation)| observation.clone())
                .collect(),
            ..ObservationsRequest::default()
        };
        for (kind, mark) in &self.marks {
            let kind = WatchedKind::clone(kind);
            match mark {
                Mark::Closed => request.closed.push(kind),
                Mark::Unlistable(message) => {
                    request.unlistable.push(Unlistable {
                        kind,
                        message: message.clone(),
                    });
                }
            }
        }
        request
    }

    fn is_unlistable(&self, kind: &Arc<WatchedKind>) -> bool {
        let mut marks = self.marks.iter();
        marks.any(|(marked, mark)| marked == kind && matches!(mark, Mark::Unlistable(_)))
    }

    /// How many observations it has.
    pub fn len(&self) -> usize {
        self.observations.len()
    }

    /// Whether it has no observation.
    pub fn is_empty(&self) -> bool {
        self.observations.is_empty()
    }

    /// How much it says: observations and marks.
    pub fn entries(&self) -> usize {
        self.observations.len() + self.marks.len()
    }
}

#[cfg(test)]
mod tests;
