//! What the steps of a run share: the cluster, the claim, and whether to go on.
//!
//! A run begins nothing new once the cluster did not answer (every further call would wait as long), and once its time is
//! up: what it knows by then becomes a status, and the next run goes on from there. Without that, a cluster that swallows
//! what it is sent would hold a run until the engine ends it, and nobody would ever be told why.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use threeport_engine::Lease;
use threeport_model::protocol::{agent::AgentState, inventory::InventoryRow};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::{
    observed,
    obstacle::{Obstacle, Reason},
    world::{World, identity_of},
};
use crate::target::{Target, display};

/// See the module.
pub(super) struct Context<'a> {
    pub(super) world: &'a World,
    pub(super) runtime: Uuid,
    pub(super) target: &'a Target,
    pub(super) lease: &'a Lease,
    pub(super) manager: String,
    pub(super) now: jiff::Timestamp,
    silent: AtomicBool,
    spared: BTreeSet<String>,
}

impl<'a> Context<'a> {
    /// Of the runtime that the world is of.
    pub(super) fn new(
        world: &'a World,
        runtime: Uuid,
        target: &'a Target,
        lease: &'a Lease,
        now: jiff::Timestamp,
    ) -> Self {
        Self {
            world,
            runtime,
            target,
            lease,
            manager: world.manager(),
            now,
            silent: AtomicBool::new(false),
            spared: BTreeSet::new(),
        }
    }

    /// The same, in which the objects of these uids are not deleted.
    pub(super) fn sparing(self, uids: &BTreeSet<String>) -> Self {
        Self {
            spared: uids.clone(),
            ..self
        }
    }

    /// Whether the object of that uid stays, whatever else it is known as.
    pub(super) fn spares(&self, uid: &str) -> bool {
        self.spared.contains(uid)
    }

    /// The same in the cluster of a row, which may be another one; nothing where that can't be reached.
    pub(super) fn at(&self, runtime: Uuid) -> Option<Self> {
        let target = if runtime == self.runtime {
            self.target
        } else {
            self.world.elsewhere.get(&runtime)?
        };
        Some(Self::new(self.world, runtime, target, self.lease, self.now))
    }

    /// Whether another object may be begun.
    pub(super) fn goes_on(&self) -> bool {
        !self.silent.load(Ordering::Relaxed) && Instant::now() < self.world.until
    }

    /// The cluster did not answer.
    pub(super) fn fell_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// The agent that saw the row's object in its present epoch, if it is still heard.
    pub(super) fn watcher(&self, row: &InventoryRow) -> Option<&AgentState> {
        let agent = observed::agent_of(row, self.world.claim.agent.as_ref())?;
        let seen = agent.epoch == row.observed.epoch && row.observed.seen_at.is_some();
        (agent.heard && seen).then_some(agent)
    }
}

/// Why nothing can be said of a row in a cluster that is not known.
pub(super) fn nowhere(row: &InventoryRow) -> Obstacle {
    let name = display(&identity_of(row));
    let message = format!(
        "{name}: the runtime {} that it was applied in is not known",
        row.runtime_id
    );
    Obstacle::new(Reason::RuntimeUnreachable, name, message)
}
