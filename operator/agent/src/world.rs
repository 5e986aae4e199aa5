//! What is known of the cluster in this epoch, and what follows from an event for the API. Pure.
//!
//! Of an object that runs no pods only its identity is kept (to see what a new list lacks); of one that does, its last
//! observation, since its pods may change what is to be said of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use threeport_model::{
    identity,
    kinds::workload_instance::Health,
    protocol::agent::{Observation, WatchedKind},
};
use uuid::Uuid;

use crate::{
    outbox::{Key, Outbox},
    pods::{PodFacts, Pods, ReplicaSetFacts, has_pods},
    project::Seen,
};

/// What a watch saw.
#[derive(Clone, Debug)]
pub enum Event {
    /// A list of the kind begins.
    Listing(Arc<WatchedKind>),
    /// The list was complete.
    Listed(Arc<WatchedKind>),
    /// It can't be listed, and why.
    Unlistable(Arc<WatchedKind>, String),
    /// It is no longer watched.
    Unwatched(Arc<WatchedKind>),
    /// It is watched in another version from now on.
    Reversioned {
        /// As it was watched.
        old: Arc<WatchedKind>,
        /// As it is watched now.
        new: Arc<WatchedKind>,
    },
    /// An object, existing or deleted.
    Object(Box<Seen>),
    /// An object of the control plane, existing or deleted, that reads as no instance's.
    NotOurs(Key),
    /// A list of all pods begins.
    ListingPods,
    /// It was complete.
    ListedPods,
    /// A pod.
    Pod(PodFacts),
    /// A pod is gone.
    PodGone(Uuid),
    /// A list of all ReplicaSets begins.
    ListingReplicaSets,
    /// It was complete.
    ListedReplicaSets,
    /// A ReplicaSet.
    ReplicaSet(ReplicaSetFacts),
    /// A ReplicaSet is gone.
    ReplicaSetGone(Uuid),
}

/// What is known.
#[derive(Debug, Default)]
pub struct World {
    objects: HashMap<Key, Known>,
    workloads: HashMap<Uuid, Key>,
    pods: Pods,
    /// Known objects that the list under way has not shown yet, by kind.
    unseen: HashMap<Arc<WatchedKind>, HashSet<Key>>,
    unseen_pods: HashSet<Uuid>,
    unseen_replica_sets: HashSet<Uuid>,
}

#[derive(Debug)]
struct Known {
    uid: String,
    instance: Uuid,
    resource_version: String,
    /// Of a Job: the plan for which it was seen to complete.
    completed: Option<String>,
    workload: Option<Box<Workload>>,
}

/// An object that runs pods.
#[derive(Debug)]
struct Workload {
    base: Observation,
    observed: bool,
    said: Observation,
}

impl World {
    /// Takes an event and puts what is to be said into the outbox.
    pub fn take(&mut self, event: Event, outbox: &mut Outbox) {
        match event {
            Event::Listing(kind) => {
                let known = self
                    .objects
                    .keys()
                    .filter(|key| key.kind == kind)
                    .cloned()
                    .collect();
                self.unseen.insert(kind, known);
            }
            Event::Listed(kind) => {
                for key in self.unseen.remove(&kind).unwrap_or_default() {
                    self.lost(&key, "was deleted".to_owned(), outbox);
                }
                outbox.close(kind);
            }
            Event::Unlistable(kind, message) => outbox.unlistable(kind, message),
            Event::Unwatched(kind) => self.forget(&kind, outbox),
            Event::Reversioned { old, new } => self.reversion(&old, &new, outbox),
            Event::Object(seen) => self.object(*seen, outbox),
            Event::NotOurs(key) => self.disowned(&key, outbox),
            Event::ListingPods => self.unseen_pods = self.pods.pod_uids().collect(),
            Event::ListedPods => {
                for uid in std::mem::take(&mut self.unseen_pods) {
                    let workloads = self.pods.remove_pod(uid);
                    self.explain(&workloads, outbox);
                }
            }
            Event::Pod(facts) => {
                self.unseen_pods.remove(&facts.uid);
                let workloads = self.pods.put_pod(facts);
                self.explain(&workloads, outbox);
            }
            Event::PodGone(uid) => {
                let workloads = self.pods.remove_pod(uid);
                self.explain(&workloads, outbox);
            }
            Event::ListingReplicaSets => self.unseen_replica_sets = self.pods.replica_set_uids().collect(),
            Event::ListedReplicaSets => {
                for uid in std::mem::take(&mut self.unseen_replica_sets) {
                    let workloads = self.pods.remove_replica_set(uid);
                    self.explain(&workloads, outbox);
                }
            }
            Event::ReplicaSet(facts) => {
                self.unseen_replica_sets.remove(&facts.uid);
                let workloads = self.pods.put_replica_set(facts);
                self.explain(&workloads, outbox);
            }
            Event::ReplicaSetGone(uid) => {
                let workloads = self.pods.remove_replica_set(uid);
                self.explain(&workloads, outbox);
            }
        }
    }

    fn object(&mut self, seen: Seen, outbox: &mut Outbox) {
        let Seen {
            kind,
            mut observation,
            observed,
        } = seen;
        let key = Key {
            kind,
            namespace: observation.namespace.clone(),
            name: observation.name.clone(),
        };
        if let Some(unseen) = self.unseen.get_mut(&key.kind) {
            unseen.remove(&key);
        }
        let known = self.objects.get(&key);
        if known.is_some_and(|known| known.instance != observation.instance_id) {
            self.disowned(&key, outbox);
        }
        if observation.completed.is_none() {
            let known = self.objects.get(&key);
            let known = known.filter(|known| known.uid == observation.uid);
            observation.completed = known.and_then(|known| known.completed.clone());
        }
        if observation.health == Health::Missing {
            self.remove(&key);
            outbox.observe(key, observation);
            return;
        }
        let uid = Uuid::parse_str(&observation.uid).ok();
        let uid = uid.filter(|_| has_pods(&key.kind.group, &key.kind.kind));
        let said = match uid {
            Some(uid) => self.pods.explain(uid, &observation, observed),
            None => observation.clone(),
        };
        let known = Known {
            uid: observation.uid.clone(),
            instance: observation.instance_id,
            resource_version: observation.resource_version.clone(),
            completed: observation.completed.clone(),
            workload: uid.map(|_| {
                Box::new(Workload {
                    base: observation,
                    observed,
                    said: said.clone(),
                })
            }),
        };
        self.remove(&key);
        self.objects.insert(key.clone(), known);
        if let Some(uid) = uid {
            self.workloads.insert(uid, key.clone());
        }
        outbox.observe(key, said);
    }

    /// Something about the pods of these changed: says so where it matters.
    fn explain(&mut self, uids: &[Uuid], outbox: &mut Outbox) {
        for uid in uids {
            let Some(key) = self.workloads.get(uid) else {
                continue;
            };
            let Some(workload) = self
                .objects
                .get_mut(key)
                .and_then(|known| known.workload.as_mut())
            else {
                continue;
            };
            let said = self.pods.explain(*uid, &workload.base, workload.observed);
            if said != workload.said {
                workload.said = said.clone();
                outbox.observe(key.clone(), said);
            }
        }
    }

    /// What was known is its instance's no more, be it there or not. It may be healed and lost again before the API hears that
    /// it was healed. Then it is missing as before, which is no news in the same words: so they name the version.
    fn disowned(&mut self, key: &Key, outbox: &mut Outbox) {
        let Some(known) = self.objects.get(key) else {
            return;
        };
        let message = format!(
            "its label {} was taken off or changed after resource version {}",
            identity::INSTANCE,
            known.resource_version
        );
        self.lost(key, message, outbox);
    }

    /// What was known is missing for its instance; `message` says why. A complete list that lacks it says that it was deleted
    /// while nobody looked.
    fn lost(&mut self, key: &Key, message: String, outbox: &mut Outbox) {
        let Some(known) = self.remove(key) else { return };
        let observation = Observation {
            group: key.kind.group.clone(),
            version: key.kind.version.clone(),
            kind: key.kind.kind.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: known.uid,
            instance_id: known.instance,
            resource_version: known.resource_version,
            ownership_digest: None,
            other_managers: Vec::new(),
            health: Health::Missing,
            message,
            images: Vec::new(),
            completed: known.completed,
        };
        outbox.observe(key.clone(), observation);
    }

    fn remove(&mut self, key: &Key) -> Option<Known> {
        let known = self.objects.remove(key)?;
        if let Ok(uid) = Uuid::parse_str(&known.uid) {
            self.workloads.remove(&uid);
        }
        Some(known)
    }

    fn forget(&mut self, kind: &Arc<WatchedKind>, outbox: &mut Outbox) {
        self.objects.retain(|key, _| key.kind != *kind);
        self.workloads.retain(|_, key| key.kind != *kind);
        self.unseen.remove(kind);
        outbox.forget(kind);
    }

    /// The objects are the same in every version, and the list that begins tells which of them are gone.
    fn reversion(&mut self, old: &Arc<WatchedKind>, new: &Arc<WatchedKind>, outbox: &mut Outbox) {
        let keys: Vec<Key> = self
            .objects
            .keys()
            .filter(|key| key.kind == *old)
            .cloned()
            .collect();
        for key in keys {
            if let Some(known) = self.objects.remove(&key) {
                self.objects.insert(key.of_kind(new), known);
            }
        }
        for key in self.workloads.values_mut().filter(|key| key.kind == *old) {
            key.kind = Arc::clone(new);
        }
        self.unseen.remove(old);
        outbox.reversion(old, new);
    }
}

#[cfg(test)]
mod tests;
