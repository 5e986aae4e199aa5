//! What claims are made of, and how.

use std::collections::BTreeMap;

use threeport_model::{
    Kind,
    kinds::workload_definition::{InstanceCounts, WorkloadDefinition},
    protocol::{agent::AgentState, claim::Claim},
};
use uuid::Uuid;

use super::{Found, Inventory, Objects, References, runtimes};
use crate::{
    Store, agent,
    broken::Broken,
    claim::{Taken, counts},
    database::transaction::Transaction,
    error::Result,
    pending,
    secret::table,
};

const DEFINITION: &str = WorkloadDefinition::KIND;
/// How many bytes a row of the inventory has in an answer, but for its message: names, ids and digests.
const ROW: usize = 1024;

/// What claims are made of.
pub(super) struct Parts {
    own: Objects,
    others: Objects,
    references: References,
    inventory: Inventory,
    /// The runtime whose agent matters, by object.
    runtimes: BTreeMap<Uuid, Uuid>,
    agents: BTreeMap<Uuid, AgentState>,
    counts: BTreeMap<Uuid, InstanceCounts>,
    worst: BTreeMap<Uuid, String>,
    secrets: BTreeMap<Uuid, BTreeMap<String, String>>,
    broken: Broken,
}

/// Reads what else belongs to claims on those objects.
pub(super) async fn gather(
    transaction: &Transaction,
    store: &Store,
    (own, others): (Objects, Objects),
    references: References,
    inventory: Inventory,
    mut broken: Broken,
) -> Result<Parts> {
    let runtimes = runtimes(&own, &references, &inventory);
    let agents = agent::states(transaction, &runtimes.values().copied().collect()).await?;
    let definitions = own.iter().filter(|(_, found)| found.row.kind == DEFINITION);
    let definitions: Vec<Uuid> = definitions.map(|(id, _)| *id).collect();
    let counts = counts::instances(transaction, &definitions).await?;
    // Where all are Ready none is worst off.
    let behind = counts.iter().filter(|(_, counted)| counted.ready < counted.total);
    let behind: Vec<Uuid> = behind.map(|(id, _)| *id).collect();
    let worst = counts::worst(transaction, &behind).await?;
    let read = own.values().chain(others.values()).map(|found| &found.row);
    let texts: Vec<(Uuid, &str)> = read
        .flat_map(|row| row.secret_texts().map(move |text| (row.id, text)))
        .collect();
    let secrets = table::values(transaction, store.encryption_key(), &texts, &mut broken).await?;
    Ok(Parts {
        own,
        others,
        references,
        inventory,
        runtimes,
        agents,
        counts,
        worst,
        secrets,
        broken,
    })
}

impl Parts {
    fn named(&self, one: &Taken) -> Vec<Uuid> {
        let named = self.references.get(&one.id).into_iter().flatten();
        named.map(|(id, _)| *id).collect()
    }

    /// Why something that the claim needs can't be read.
    pub(super) fn unreadable(&self, one: &Taken) -> Option<&String> {
        let named = self.named(one);
        std::iter::once(&one.id)
            .chain(&named)
            .find_map(|id| self.broken.get(id))
    }

    /// How many bytes the claim carries beside specifications, which were weighed before they were read.
    pub(super) fn weight(&self, one: &Taken) -> i64 {
        let named = self.named(one);
        let secrets = std::iter::once(&one.id).chain(&named);
        let secrets = secrets.filter_map(|id| self.secrets.get(id)).flatten();
        let secrets: usize = secrets.map(|(key, value)| key.len() + value.len()).sum();
        let rows = self.inventory.get(&one.id).into_iter().flatten();
        let rows: usize = rows.map(|row| ROW + row.observed.message.len()).sum();
        i64::try_from(secrets + rows).unwrap_or(i64::MAX / 2)
    }

    /// The claim, made of what only it needs.
    pub(super) fn claim(&mut self, one: &Taken) -> Option<Claim> {
        let named = self.named(one);
        let Found { row, object } = self.own.remove(&one.id)?;
        let other = |id: &Uuid| self.others.get(id).map(|other| other.object.clone());
        let secrets = std::iter::once(&one.id).chain(&named);
        let secrets = secrets.filter_map(|id| self.secrets.get(id)).flatten();
        let runtime = self.runtimes.get(&one.id);
        let counted = || self.counts.get(&one.id).copied().unwrap_or_default();
        Some(Claim {
            object,
            deleted: row.deleted_at.is_some(),
            token: one.token.clone(),
            epoch: one.epoch,
            trigger: pending::trigger(one.priority),
            attempts: one.attempts,
            pending_milliseconds: one.waited / 1000,
            references: named.iter().filter_map(other).collect(),
            secrets: secrets.map(|(key, value)| (key.clone(), value.clone())).collect(),
            agent: runtime.and_then(|runtime| self.agents.get(runtime).cloned()),
            instances: (row.kind == DEFINITION).then(counted),
            inventory: self.inventory.remove(&one.id).unwrap_or_default(),
            worst_instance: self.worst.remove(&one.id),
        })
    }
}
