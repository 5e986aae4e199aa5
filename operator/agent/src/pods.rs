//! Which pods run a workload, why they don't, and which images they have.
//!
//! Pods don't carry the control plane's labels (a label in a pod template would restart pods), so they are found by
//! their owners: pod -> ReplicaSet -> Deployment, or pod -> StatefulSet, DaemonSet, Job, ReplicaSet. A pod may be seen
//! before its owners are, so of every pod of the cluster a few words are kept: owner, name, trouble, images (shared).

mod facts;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

pub use facts::{PodFacts, ReplicaSetFacts, Trouble, pod, replica_set};
use threeport_model::{
    kinds::workload_instance::{Health, RunningImage},
    protocol::agent::Observation,
};
use uuid::Uuid;

/// The pods and ReplicaSets of the cluster.
#[derive(Debug, Default)]
pub struct Pods {
    pods: HashMap<Uuid, PodFacts>,
    pods_by_owner: HashMap<Uuid, BTreeSet<Uuid>>,
    replica_sets: HashMap<Uuid, ReplicaSetFacts>,
    replica_sets_by_owner: HashMap<Uuid, BTreeSet<Uuid>>,
    images: BTreeSet<Arc<RunningImage>>,
}

/// Whether objects of this kind run pods.
pub fn has_pods(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("batch", "Job")
            | ("", "Pod" | "ReplicationController")
    )
}

impl Pods {
    /// A pod as it is now. The answer: whose pods they are, as uids of possible workloads.
    pub fn put_pod(&mut self, mut facts: PodFacts) -> Vec<Uuid> {
        facts.images = facts.images.into_iter().map(|image| self.share(image)).collect();
        let uid = facts.uid;
        let owner = facts.owner;
        let before = self.pods.insert(uid, facts).and_then(|before| before.owner);
        if let Some(before) = before.filter(|before| Some(*before) != owner) {
            remove(&mut self.pods_by_owner, before, uid);
        }
        if let Some(owner) = owner {
            self.pods_by_owner.entry(owner).or_default().insert(uid);
        }
        self.workloads_of(uid, owner)
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, uid: Uuid) -> Vec<Uuid> {
        let owner = self.pods.remove(&uid).and_then(|pod| pod.owner);
        if let Some(owner) = owner {
            remove(&mut self.pods_by_owner, owner, uid);
        }
        self.images.retain(|image| Arc::strong_count(image) > 1);
        self.workloads_of(uid, owner)
    }

    /// A ReplicaSet as it is now.
    pub fn put_replica_set(&mut self, facts: ReplicaSetFacts) -> Vec<Uuid> {
        let owner = facts.owner;
        if let Some(owner) = owner {
            self.replica_sets_by_owner
                .entry(owner)
                .or_default()
                .insert(facts.uid);
        }
        self.replica_sets.insert(facts.uid, facts);
        owner.into_iter().collect()
    }

    /// A ReplicaSet is gone.
    pub fn remove_replica_set(&mut self, uid: Uuid) -> Vec<Uuid> {
        let owner = self.replica_sets.remove(&uid).and_then(|set| set.owner);
        if let Some(owner) = owner {
            remove(&mut self.replica_sets_by_owner, owner, uid);
        }
        owner.into_iter().collect()
    }

    /// The uids of all pods, to see which are gone after a new list.
    pub fn pod_uids(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.pods.keys().copied()
    }

    /// The uids of all ReplicaSets.
    pub fn replica_set_uids(&self) -> impl Iterator<Item = Uuid> + '_ {
        self.replica_sets.keys().copied()
    }

    /// `base` and what the pods of the workload `uid` add: images, and the reason where it is not well. Pods speak
    /// only for the newest generation: else the failure of an old one would be held against a new one.
    pub fn explain(&self, uid: Uuid, base: &Observation, observed: bool) -> Observation {
        let mut observation = base.clone();
        let living = || self.of(uid).filter(|(pod, _)| !pod.terminating);
        let images: BTreeSet<&RunningImage> = living()
            .flat_map(|(pod, _)| pod.images.iter().map(AsRef::as_ref))
            .collect();
        observation.images = images.into_iter().cloned().collect();
        let unwell = matches!(base.health, Health::InProgress | Health::Failed);
        if !observed || !unwell {
            return observation;
        }
        let newest = living().map(|(_, revision)| revision).max();
        let troubles = living().filter(|(_, revision)| Some(*revision) == newest);
        let troubles = troubles.filter_map(|(pod, _)| Some((pod.trouble.as_ref()?, &pod.name)));
        let Some((trouble, name)) = troubles.min_by_key(|(trouble, name)| (!trouble.failed, *name)) else {
            return observation;
        };
        let reason = format!("pod {name}: {}", trouble.message);
        if trouble.failed {
            observation.health = Health::Failed;
        }
        observation.message =
            if base.message.is_empty() || (trouble.failed && base.health == Health::InProgress) {
                reason
            } else {
                format!("{reason}; {}", base.message)
            };
        observation
    }

    /// The pods of a workload, each with the revision of its ReplicaSet (0 where it has none).
    fn of(&self, uid: Uuid) -> impl Iterator<Item = (&PodFacts, u64)> {
        let itself = self.pods.get(&uid).map(|pod| (pod, 0));
        let sets = self.replica_sets_by_owner.get(&uid).into_iter().flatten();
        let revisions = sets.filter_map(|set| Some((*set, self.replica_sets.get(set)?.revision)));
        let owners = std::iter::once((uid, 0)).chain(revisions);
        let owned = owners.flat_map(move |(owner, revision)| {
            let pods = self.pods_by_owner.get(&owner).into_iter().flatten();
            pods.filter_map(move |pod| Some((self.pods.get(pod)?, revision)))
        });
        itself.into_iter().chain(owned)
    }

    fn workloads_of(&self, pod: Uuid, owner: Option<Uuid>) -> Vec<Uuid> {
        let above = owner.and_then(|owner| self.replica_sets.get(&owner)?.owner);
        [Some(pod), owner, above].into_iter().flatten().collect()
    }

    fn share(&mut self, image: Arc<RunningImage>) -> Arc<RunningImage> {
        if let Some(shared) = self.images.get(&image) {
            return Arc::clone(shared);
        }
        self.images.insert(Arc::clone(&image));
        image
    }
}

fn remove(index: &mut HashMap<Uuid, BTreeSet<Uuid>>, owner: Uuid, uid: Uuid) {
    if let Some(members) = index.get_mut(&owner) {
        members.remove(&uid);
        if members.is_empty() {
            index.remove(&owner);
        }
    }
}

#[cfg(test)]
mod tests;
