//! Observations on their way to the API: coalesced per object, in the order in which they were first seen, and the
//! marks that a kind's list was complete or impossible in their place among them. Pure.
//!
//! The API takes what a batch says of objects before what it says of kinds, and "can't be listed" makes all objects of a
//! kind unknown. So what was seen after it waits for the next batch.
//!
//! All that is said passes here, so here the NULs go that programs print and no database keeps.
//!
//! It is bounded by what is watched: one observation per object, one mark per kind.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use threeport_model::protocol::agent::{Observation, ObservationsRequest, Unlistable, WatchedKind};

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

/// What waits to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    order: VecDeque<Entry>,
    observations: HashMap<Key, Observation>,
    marks: HashMap<Arc<WatchedKind>, Mark>,
}

#[derive(Clone, Debug)]
enum Entry {
    Object(Key),
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
    observations: Vec<(Key, Observation)>,
    marks: Vec<(Arc<WatchedKind>, Mark)>,
}

impl Outbox {
    /// An object was seen. What was to be said of it before is no longer said; this takes its place, or the last one where
    /// its kind could not be listed meanwhile.
    pub fn observe(&mut self, key: Key, mut observation: Observation) {
        for image in &mut observation.images {
            for text in [&mut image.repository, &mut image.reference, &mut image.image_id] {
                without_nul(text);
            }
        }
        observation.other_managers.iter_mut().for_each(without_nul);
        without_nul(&mut observation.message);
        let is_new = self.observations.insert(key.clone(), observation).is_none();
        let is_outdated = !is_new && matches!(self.marks.get(&key.kind), Some(Mark::Unlistable(_)));
        if is_outdated {
            self.order
                .retain(|entry| !matches!(entry, Entry::Object(found) if *found == key));
        }
        if is_new || is_outdated {
            self.order.push_back(Entry::Object(key));
        }
    }

    /// The list of a kind ends here, and was complete.
    pub fn close(&mut self, kind: Arc<WatchedKind>) {
        self.mark(kind, Mark::Closed);
    }

    /// A kind can't be listed now.
    pub fn unlistable(&mut self, kind: Arc<WatchedKind>, mut message: String) {
        without_nul(&mut message);
        self.mark(kind, Mark::Unlistable(message));
    }

    /// A kind is no longer watched: nothing more is said of it.
    pub fn forget(&mut self, kind: &WatchedKind) {
        self.observations.retain(|key, _| *key.kind != *kind);
        self.marks.retain(|marked, _| **marked != *kind);
        self.order.retain(|entry| match entry {
            Entry::Object(key) => *key.kind != *kind,
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
            if let Entry::Object(key) = entry
                && key.kind == *old
                && let Some(observation) = self.observations.remove(key)
            {
                *key = key.clone().of_kind(new);
                self.observations.insert(key.clone(), observation);
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
                Entry::Object(key) if batch.is_unlistable(&key.kind) => {
                    self.order.push_front(Entry::Object(key));
                    break;
                }
                Entry::Object(key) => {
                    if let Some(observation) = self.observations.remove(&key) {
                        batch.observations.push((key, observation));
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
        for (key, observation) in batch.observations.into_iter().rev() {
            if !self.observations.contains_key(&key) {
                self.observations.insert(key.clone(), observation);
                self.order.push_front(Entry::Object(key));
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
mod tests {
    use threeport_model::kinds::workload_instance::Health;
    use uuid::Uuid;

    use super::*;

    fn kind(name: &str) -> Arc<WatchedKind> {
        Arc::new(WatchedKind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: name.to_owned(),
        })
    }

    fn key(kind_name: &str, name: &str) -> Key {
        Key {
            kind: kind(kind_name),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    fn observation(name: &str, version: u32) -> Observation {
        Observation {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: String::new(),
            instance_id: Uuid::nil(),
            resource_version: version.to_string(),
            ownership_digest: None,
            other_managers: Vec::new(),
            health: Health::Current,
            message: String::new(),
            images: Vec::new(),
            completed: None,
        }
    }

    fn seen(outbox: &mut Outbox, name: &str, version: u32) {
        outbox.observe(key("ConfigMap", name), observation(name, version));
    }

    fn sent(batch: &Batch) -> Vec<String> {
        let request = batch.to_request(1, 1);
        request
            .observations
            .iter()
            .map(|it| format!("{}@{}", it.name, it.resource_version))
            .collect()
    }

    #[test]
    fn what_was_seen_twice_is_sent_once_in_its_first_place() {
        let mut outbox = Outbox::default();
        seen(&mut outbox, "a", 1);
        seen(&mut outbox, "b", 2);
        seen(&mut outbox, "a", 3);
        assert_eq!(sent(&outbox.take(10)), ["a@3", "b@2"]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_list_is_closed_only_after_what_was_in_it() {
        let mut outbox = Outbox::default();
        for number in 0..5 {
            seen(&mut outbox, &format!("m{number}"), 1);
        }
        outbox.close(kind("ConfigMap"));
        seen(&mut outbox, "m0", 2);
        assert!(outbox.take(3).to_request(1, 1).closed.is_empty());
        let last = outbox.take(3);
        assert_eq!(
            last.to_request(1, 2).closed,
            [WatchedKind::clone(&kind("ConfigMap"))]
        );
        assert_eq!(sent(&last), ["m3@1", "m4@1"]);
    }

    #[test]
    fn what_comes_back_goes_first_but_never_over_what_is_newer() {
        let mut outbox = Outbox::default();
        seen(&mut outbox, "a", 1);
        seen(&mut outbox, "b", 1);
        outbox.close(kind("ConfigMap"));
        let failed = outbox.take(10);
        seen(&mut outbox, "c", 2);
        seen(&mut outbox, "a", 2);
        outbox.unlistable(kind("ConfigMap"), "forbidden".to_owned());
        outbox.put_back(failed);
        let batch = outbox.take(10);
        assert_eq!(sent(&batch), ["b@1", "c@2", "a@2"]);
        let request = batch.to_request(1, 1);
        assert!(request.closed.is_empty());
        assert_eq!(request.unlistable.len(), 1);
    }

    #[test]
    fn of_a_kind_the_last_mark_counts() {
        let mut outbox = Outbox::default();
        outbox.unlistable(kind("A"), "no".to_owned());
        outbox.close(kind("A"));
        let request = outbox.take(10).to_request(1, 1);
        assert_eq!((request.closed.len(), request.unlistable.len()), (1, 0));
    }

    fn unlistable(batch: &Batch) -> Vec<String> {
        let request = batch.to_request(1, 1);
        request.unlistable.into_iter().map(|it| it.kind.kind).collect()
    }

    #[test]
    fn what_is_seen_after_a_kind_could_not_be_listed_is_sent_after_that() {
        let mut outbox = Outbox::default();
        outbox.unlistable(kind("ConfigMap"), "broken".to_owned());
        outbox.unlistable(kind("Service"), "broken".to_owned());
        seen(&mut outbox, "a", 1);
        seen(&mut outbox, "b", 1);
        let first = outbox.take(10);
        assert_eq!(unlistable(&first), ["ConfigMap", "Service"]);
        assert!(first.is_empty());
        outbox.put_back(first);
        let first = outbox.take(10);
        assert_eq!(unlistable(&first), ["ConfigMap", "Service"]);
        assert!(first.is_empty(), "nor when it is sent again");
        let second = outbox.take(10);
        assert_eq!(sent(&second), ["a@1", "b@1"]);
        assert!(unlistable(&second).is_empty() && outbox.is_empty());
    }

    #[test]
    fn what_is_seen_again_after_a_kind_could_not_be_listed_is_sent_after_that() {
        let mut outbox = Outbox::default();
        seen(&mut outbox, "a", 1);
        seen(&mut outbox, "b", 1);
        outbox.unlistable(kind("ConfigMap"), "broken".to_owned());
        seen(&mut outbox, "a", 2);
        assert_eq!(outbox.len(), 3);
        let first = outbox.take(10);
        assert_eq!(
            (sent(&first), unlistable(&first)),
            (vec!["b@1".to_owned()], vec!["ConfigMap".to_owned()])
        );
        let second = outbox.take(10);
        assert_eq!(sent(&second), ["a@2"]);
        assert!(unlistable(&second).is_empty() && outbox.is_empty());
    }

    #[test]
    fn what_is_sent_holds_no_nul() {
        let mut outbox = Outbox::default();
        let mut said = observation("a", 1);
        "exited\0 with\0\0 1".clone_into(&mut said.message);
        said.other_managers = vec!["some\0body".to_owned()];
        outbox.observe(key("ConfigMap", "a"), said);
        outbox.unlistable(kind("A"), "no\0".to_owned());
        let request = outbox.take(10).to_request(1, 1);
        assert_eq!(request.observations[0].message, "exited with 1");
        assert_eq!(request.observations[0].other_managers, ["somebody"]);
        assert_eq!(request.unlistable[0].message, "no");
    }

    #[test]
    fn nothing_is_said_of_a_kind_that_is_no_longer_watched() {
        let mut outbox = Outbox::default();
        seen(&mut outbox, "a", 1);
        outbox.close(kind("ConfigMap"));
        outbox.close(kind("Service"));
        outbox.forget(&kind("ConfigMap"));
        let request = outbox.take(10).to_request(1, 1);
        assert!(request.observations.is_empty());
        assert_eq!(request.closed, [WatchedKind::clone(&kind("Service"))]);
    }
}
