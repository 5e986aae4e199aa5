//! What a run knows: the claim as types, the desired objects, and of the cluster only what was seen to differ. Plain
//! data; [`super::load`] fills it, everything after that only reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use threeport_model::{
    Kind, Object, identity,
    kinds::{
        WorkloadDefinition,
        workload_definition::ResourceIdentity,
        workload_instance::{Revision, Spec, Status},
    },
    protocol::{claim::Claim, inventory::InventoryRow},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    identity::{Owner, is_applied_by},
    obstacle::{Obstacle, Reason},
    order::Rank,
    removable::is_found,
    render::Desired,
    replicas, unrecorded,
};
use crate::{Identity, target::Target};

/// See the module.
pub struct World {
    pub(super) identity: Identity,
    pub(super) claim: Claim,
    pub(super) spec: Spec,
    pub(super) previous: Status,
    pub(super) runtime: Option<Runtime>,
    pub(super) target: Option<Target>,
    /// The other clusters in which the instance still has objects.
    pub(super) elsewhere: BTreeMap<Uuid, Target>,
    /// Where documents go that name no namespace; known once the cluster was asked.
    pub(super) namespace: Option<String>,
    pub(super) desired: Vec<Desired>,
    /// What was read, by row: the object, or nothing where there is none.
    pub(super) live: BTreeMap<Uuid, Option<Value>>,
    /// Rows whose objects were to be read, and for which there was no time: nothing is done about them.
    pub(super) unread: BTreeSet<Uuid>,
    /// Live autoscalers, by namespace; only where it matters.
    pub(super) autoscalers: BTreeMap<String, Vec<Value>>,
    /// Why nothing can be applied.
    pub(super) obstacle: Option<Obstacle>,
    /// When the run is to begin nothing new.
    pub(super) until: Instant,
}

/// The runtime, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Runtime {
    pub(super) id: Uuid,
    pub(super) name: String,
    /// After how long without contact deletions are given up; never where absent.
    pub(super) abandon_after: Option<Duration>,
    /// Since when its controller finds its API unreachable; absent while it answers, or where nobody knows.
    pub(super) unreachable_since: Option<jiff::Timestamp>,
}

impl World {
    /// The instance's id.
    pub(super) fn instance(&self) -> Uuid {
        self.claim.object.id()
    }

    /// The field manager of this control plane.
    pub(super) fn manager(&self) -> String {
        identity::field_manager(self.identity.control_plane)
    }

    /// Whether an autoscaler, of the set or of the cluster, names the object.
    pub(super) fn is_autoscaled(&self, desired: &Desired) -> bool {
        let of_set = self.desired.iter().map(|other| &other.object);
        replicas::is_named(
            &desired.identity,
            of_set.chain(self.autoscalers.values().flatten()),
        )
    }

    /// Whether a CustomResourceDefinition of the set brings the kind of an object.
    pub(super) fn brings(&self, identity: &ResourceIdentity) -> bool {
        let definitions = self.desired.iter();
        let mut definitions = definitions.filter(|other| other.rank == Rank::CustomResourceDefinition);
        definitions.any(|definition| {
            let spec = &definition.object["spec"];
            spec["group"] == *identity.group && spec["names"]["kind"] == *identity.kind
        })
    }

    /// Whose a live object is.
    pub(super) fn owner(&self, live: &Value) -> Owner {
        Owner::of(live, self.identity.control_plane, self.instance())
    }

    /// Whether a live object is this instance's, and no copy of one, nor one that stays.
    pub(super) fn is_ours(&self, live: &Value) -> bool {
        let is_applied = is_applied_by(live, &self.manager()) || self.knows(live);
        self.owner(live) == Owner::Ours && is_applied && !unrecorded::is_one(self, live)
    }

    /// Whether our apply was answered with this very object.
    fn knows(&self, live: &Value) -> bool {
        let uid = live["metadata"]["uid"].as_str();
        let mut applied = self.claim.inventory.iter().filter(|row| row.plan_hash.is_some());
        uid.is_some() && applied.any(|row| row.uid.as_deref() == uid)
    }

    /// Whether everything is to go.
    pub(super) fn is_deleting(&self) -> bool {
        self.claim.deleted || self.claim.object.is_deleting()
    }

    /// The definition, if it is there.
    pub(super) fn definition(&self) -> Option<&Object> {
        reference(&self.claim, WorkloadDefinition::KIND, Some(&self.spec.definition))
    }

    /// What is wanted now.
    pub(super) fn revision(&self) -> Option<Revision> {
        Some(Revision {
            definition: self.definition()?.generation(),
            instance: self.claim.object.generation(),
        })
    }

    /// The row of a desired object. What an agent found is none: it carries our labels, but nobody decided yet that it is
    /// this instance's. Intent does, which takes the place of such a row, or tells whose the object is.
    pub(super) fn row(&self, desired: &Desired) -> Option<&InventoryRow> {
        self.claim
            .inventory
            .iter()
            .find(|row| !is_found(row) && self.is_row_of(row, &desired.identity))
    }

    /// Whether the row is of that object, in the cluster where it is to be; the version is not part of an identity.
    pub(super) fn is_row_of(&self, row: &InventoryRow, identity: &ResourceIdentity) -> bool {
        let here = self.runtime.as_ref().map(|runtime| runtime.id);
        here == Some(row.runtime_id) && is_named(row, identity)
    }
}

/// Whether the row is of an object of that name, in whichever cluster.
pub(super) fn is_named(row: &InventoryRow, identity: &ResourceIdentity) -> bool {
    row.group == identity.group
        && row.kind == identity.kind
        && row.namespace == identity.namespace
        && row.name == identity.name
}

/// What the row is of.
pub(super) fn identity_of(row: &InventoryRow) -> ResourceIdentity {
    ResourceIdentity {
        group: row.group.clone(),
        version: row.version.clone(),
        kind: row.kind.clone(),
        namespace: row.namespace.clone(),
        name: row.name.clone(),
    }
}

/// The cluster, once it was found.
pub(super) fn target(world: &World) -> Result<&Target, Obstacle> {
    world
        .target
        .as_ref()
        .ok_or_else(|| Obstacle::new(Reason::RuntimeUnreachable, "", "the runtime has no client"))
}

/// What the object refers to: of that name, or the default runtime.
pub(super) fn reference<'a>(claim: &'a Claim, kind: &str, name: Option<&String>) -> Option<&'a Object> {
    let mut objects = claim.references.iter().filter(|object| object.kind == kind);
    match name {
        Some(name) => objects.find(|object| object.metadata.name == *name),
        // The claim holds the default runtime where none is named; a dependency on another runtime may stand beside it.
        None => objects.find(|object| object.spec["defaultRuntime"] == true),
    }
}
