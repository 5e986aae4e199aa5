//! How long it takes until an agent has seen what was applied: the stage `observed`.
//!
//! When an apply was accepted only this process knows, so what it forgets (a restart, too many at once) is not measured.
//! Nothing else may rest on it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use threeport_model::protocol::{agent::AgentState, inventory::InventoryRow};
use tokio::time::Instant;
use uuid::Uuid;

use super::observed;

/// How many applies are remembered.
const REMEMBERED: usize = 20_000;

/// Applies that no agent has seen yet, by row: the version that they were answered with, and when.
#[derive(Debug, Default)]
pub(super) struct Latency(Mutex<HashMap<Uuid, (String, Instant)>>);

impl Latency {
    /// Takes note of what a run applied: rows whose version is another one than the claim's.
    pub(super) fn applied(&self, before: &[InventoryRow], after: &[InventoryRow]) {
        let known = |row: &InventoryRow| before.iter().find(|known| known.id == row.id);
        let mut applied = self.applies();
        for row in after {
            let Some(version) = &row.applied_resource_version else {
                continue;
            };
            let old = known(row).and_then(|known| known.applied_resource_version.as_ref());
            if old == Some(version) {
                continue;
            }
            if applied.len() >= REMEMBERED {
                applied.clear();
            }
            applied.insert(row.id, (version.clone(), Instant::now()));
        }
    }

    /// What a claim shows to have been seen, and after how long.
    pub(super) fn seen(&self, rows: &[InventoryRow], agent: Option<&AgentState>) -> Vec<Duration> {
        let mut applied = self.applies();
        let mut took = Vec::new();
        for row in rows {
            let is_covered = observed::is_covered(row, agent);
            let known = applied.get(&row.id).filter(|_| is_covered);
            if let Some((version, at)) = known
                && row.applied_resource_version.as_ref() == Some(version)
            {
                took.push(at.elapsed());
                applied.remove(&row.id);
            }
        }
        took
    }

    fn applies(&self) -> MutexGuard<'_, HashMap<Uuid, (String, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::observed::tests::{agent, row};

    const NOTHING: [Duration; 0] = [];

    #[tokio::test(start_paused = true)]
    async fn an_apply_counts_once_and_only_when_it_was_seen() {
        let latency = Latency::default();
        let before = row();
        let mut after = row();
        after.applied_resource_version = Some("200".to_owned());
        latency.applied(std::slice::from_ref(&before), std::slice::from_ref(&after));
        tokio::time::advance(Duration::from_secs(2)).await;
        let seen = |row: &InventoryRow| latency.seen(std::slice::from_ref(row), Some(&agent()));
        assert_eq!(seen(&after), NOTHING, "what was seen is older");
        assert_eq!(seen(&before), NOTHING, "another apply");
        after.observed.resource_version = Some("201".to_owned());
        assert_eq!(seen(&after), [Duration::from_secs(2)]);
        assert_eq!(seen(&after), NOTHING, "once");
        latency.applied(&[after.clone()], std::slice::from_ref(&after));
        assert_eq!(seen(&after), NOTHING, "nothing was applied");
    }
}
