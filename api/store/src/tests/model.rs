//! What the store does to definitions and instances, said again in the simplest way: maps, and no database.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use threeport_model::{Code, ManagedBy, Object, object::Source};

pub(super) const DEFINITION: &str = "WorkloadDefinition";
pub(super) const INSTANCE: &str = "WorkloadInstance";

/// Kind and name.
pub(super) type Key = (String, String);

/// A living object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) spec: Value,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) generation: i64,
    pub(super) resource_version: i64,
    pub(super) owner: ManagedBy,
    pub(super) source: Option<Source>,
    former: Vec<String>,
    pub(super) deleting: bool,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) objects: BTreeMap<Key, Entry>,
    /// What must be pending. More may be.
    pub(super) due: BTreeSet<Key>,
    /// Uids of the custom resources that objects were taken from which are gone.
    deleted: BTreeSet<(Key, String)>,
}

/// What the store must answer: success, or one of these codes.
pub(super) type Answer = Result<(), Vec<Code>>;

pub(super) fn key(object: &Object) -> Key {
    (object.kind.clone(), object.metadata.name.clone())
}

/// What an object refers to.
pub(super) fn target(spec: &Value) -> Option<Key> {
    let name = spec.get("definition")?.as_str()?;
    Some((DEFINITION.to_owned(), name.to_owned()))
}

fn new(object: &Object, owner: ManagedBy, source: Option<Source>) -> Entry {
    Entry {
        spec: object.spec.clone(),
        labels: object.metadata.labels.clone(),
        generation: 1,
        resource_version: 1,
        owner,
        source,
        former: Vec::new(),
        deleting: false,
    }
}

fn refuse(code: Code) -> Answer {
    Err(vec![code])
}

impl Model {
    pub(super) fn create(&mut self, object: &Object) -> Answer {
        let entry = new(object, ManagedBy::Api, None);
        // Nobody looks whether there is one: references are checked as those of a new object, then the index speaks.
        if let Some(to) = target(&entry.spec) {
            self.check_reference(&to, None).map_or(Ok(()), refuse)?;
        }
        if self.objects.contains_key(&key(object)) {
            return refuse(Code::AlreadyExists);
        }
        self.write(vec![(key(object), entry)])
    }

    pub(super) fn update(&mut self, object: &Object) -> Answer {
        let Some(old) = self.objects.get(&key(object)) else {
            return refuse(Code::NotFound);
        };
        let mut entry = old.clone();
        entry.spec = object.spec.clone();
        entry.labels.clone_from(&object.metadata.labels);
        if entry != *old && old.owner != ManagedBy::Api {
            return refuse(Code::OwnedBy);
        }
        self.write(vec![(key(object), entry)])
    }

    pub(super) fn apply(&mut self, objects: &[Object]) -> Answer {
        let mut batch = Vec::new();
        for object in objects {
            let entry = match self.objects.get(&key(object)) {
                None => new(object, ManagedBy::Api, None),
                Some(old) if old.deleting => return refuse(Code::Conflict),
                Some(old) => {
                    let mut entry = old.clone();
                    entry.spec = object.spec.clone();
                    entry.labels.extend(object.metadata.labels.clone());
                    entry
                }
            };
            batch.push((key(object), entry));
        }
        let foreign = |(key, entry): &(Key, Entry)| {
            let old = self.objects.get(key);
            old.is_some_and(|old| old != entry && old.owner != ManagedBy::Api)
        };
        if batch.iter().any(foreign) {
            return refuse(Code::OwnedBy);
        }
        self.write(batch)
    }

    pub(super) fn source_put(&mut self, object: &Object, source: &Source) -> Answer {
        let mut entry = new(object, ManagedBy::Kubernetes, Some(source.clone()));
        let is_its_own = self.objects.get(&key(object)).is_some_and(|old| {
            let stored = old.source.as_ref();
            old.owner == ManagedBy::Kubernetes && stored.is_some_and(|stored| stored.uid == source.uid)
        });
        if !is_its_own && self.deleted.contains(&(key(object), source.uid.clone())) {
            return refuse(Code::Gone);
        }
        if let Some(old) = self.objects.get(&key(object)) {
            let stored = old.source.as_ref();
            if old.owner != ManagedBy::Kubernetes {
                return refuse(Code::OwnedBy);
            }
            if old.deleting {
                return refuse(Code::Conflict);
            }
            let newer = |stored: &Source| stored.uid == source.uid && stored.generation > source.generation;
            if old.former.contains(&source.uid) || stored.is_some_and(newer) {
                return refuse(Code::PreconditionFailed);
            }
            entry.generation = old.generation;
            entry.resource_version = old.resource_version;
            entry.former.clone_from(&old.former);
            entry.former.extend(
                stored
                    .filter(|stored| stored.uid != source.uid)
                    .map(|old| old.uid.clone()),
            );
        }
        self.write(vec![(key(object), entry)])
    }

    pub(super) fn source_delete(&mut self, key: &Key, source: &Source) -> Answer {
        let stored = self.objects.get(key).and_then(|old| old.source.as_ref());
        match stored.filter(|stored| stored.uid == source.uid) {
            None => Ok(()),
            Some(stored) if stored.generation > source.generation => refuse(Code::PreconditionFailed),
            Some(_) => self.delete(key, ManagedBy::Kubernetes, false),
        }
    }

    pub(super) fn delete(&mut self, key: &Key, writer: ManagedBy, cascade: bool) -> Answer {
        if !self.objects.contains_key(key) {
            return refuse(Code::NotFound);
        }
        let referrers = self.referrers(key);
        if !cascade && referrers.iter().any(|referrer| !self.objects[referrer].deleting) {
            return refuse(Code::Referenced);
        }
        let mut fresh: Vec<Key> = referrers;
        fresh.push(key.clone());
        fresh.retain(|key| !self.objects[key].deleting);
        if fresh.iter().any(|key| self.objects[key].owner != writer) {
            return refuse(Code::OwnedBy);
        }
        for key in fresh {
            if let Some(entry) = self.objects.get_mut(&key) {
                entry.deleting = true;
                entry.generation += 1;
                entry.resource_version += 1;
            }
            self.due.insert(key);
        }
        self.settle();
        Ok(())
    }

    /// The controller of an instance says that everything is gone.
    pub(super) fn finalize(&mut self, key: &Key) {
        self.bury(key);
        self.settle();
    }

    fn bury(&mut self, key: &Key) {
        self.due.remove(key);
        if let Some(gone) = self.objects.remove(key) {
            let uids = gone
                .former
                .into_iter()
                .chain(gone.source.map(|source| source.uid));
            self.deleted.extend(uids.map(|uid| (key.clone(), uid)));
        }
    }

    /// Definitions that are being deleted go with their last instance.
    fn settle(&mut self) {
        let gone: Vec<Key> = self
            .objects
            .iter()
            .filter(|(key, entry)| key.0 == DEFINITION && entry.deleting && self.referrers(key).is_empty())
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.bury(&key);
        }
    }

    fn referrers(&self, to: &Key) -> Vec<Key> {
        let refers = |entry: &Entry| target(&entry.spec).as_ref() == Some(to);
        self.objects
            .iter()
            .filter(|(_, entry)| refers(entry))
            .map(|(key, _)| key.clone())
            .collect()
    }

    fn is_respecified(&self, key: &Key, entry: &Entry) -> bool {
        self.objects.get(key).is_none_or(|old| old.spec != entry.spec)
    }

    fn check_reference(&self, to: &Key, before: Option<&Key>) -> Option<Code> {
        match self.objects.get(to) {
            None => Some(Code::ReferenceNotFound),
            Some(found) if found.deleting && before != Some(to) => Some(Code::ReferenceDeleting),
            Some(_) => None,
        }
    }

    fn check_references(&self, batch: &[(Key, Entry)]) -> Answer {
        let mut codes = Vec::new();
        for (key, entry) in batch
            .iter()
            .filter(|(key, entry)| self.is_respecified(key, entry))
        {
            let Some(to) = target(&entry.spec).filter(|to| batch.iter().all(|(key, _)| key != to)) else {
                continue;
            };
            let before = self.objects.get(key).and_then(|old| target(&old.spec));
            codes.extend(self.check_reference(&to, before.as_ref()));
        }
        if codes.is_empty() { Ok(()) } else { Err(codes) }
    }

    fn write(&mut self, batch: Vec<(Key, Entry)>) -> Answer {
        self.check_references(&batch)?;
        for (key, mut entry) in batch {
            let respecified = self.is_respecified(&key, &entry);
            if let Some(old) = self.objects.get(&key) {
                if *old == entry {
                    continue;
                }
                entry.generation += i64::from(respecified);
                entry.resource_version += 1;
                if respecified {
                    self.due.extend(self.referrers(&key));
                }
            }
            if respecified {
                self.due.insert(key.clone());
            }
            self.objects.insert(key, entry);
        }
        self.settle();
        Ok(())
    }
}
