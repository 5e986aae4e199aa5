//! The claims that this process holds: which run, which are parked until their budget allows it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use threeport_model::protocol::claim::ClaimKey;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    controller::{Reconciler, Run},
    lease::Lease,
    weight,
};

/// A claim that waits for its budget, and who is to run it.
pub(crate) struct Parked {
    pub(crate) reconciler: Arc<dyn Reconciler>,
    pub(crate) run: Run,
    /// What its claim [weighs](weight::of).
    pub(crate) weight: usize,
}

#[derive(Debug)]
struct Running {
    epoch: i64,
    budget: String,
    weight: usize,
    lease: Arc<Lease>,
}

/// How much may go on at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Runs.
    concurrency: usize,
    /// Runs of one budget.
    per_budget: usize,
    /// Keys whose budget is remembered.
    remembered: usize,
}

impl Limits {
    /// A quarter of the runs is always left to other budgets.
    pub(crate) fn new(concurrency: usize, remembered: usize) -> Self {
        let concurrency = concurrency.max(1);
        Self {
            concurrency,
            per_budget: concurrency - concurrency / 4,
            remembered,
        }
    }
}

/// A budget that is used up and of which no run ended for this long is stuck: its cluster does not answer, most likely.
const STUCK: Duration = Duration::from_secs(2);

/// See the module.
///
/// Whose budget a key uses is known only once it is claimed. As long as runs end, claims simply queue for their budget.
/// Only while a budget is stuck are claims of it given back, and keys that had it last left alone, so that the quarter
/// that is left to others can be used by them.
pub(crate) struct Held {
    limits: Limits,
    parked: VecDeque<(String, Parked)>,
    running: HashMap<Uuid, Running>,
    // When a run of the budget last started or ended.
    progress: HashMap<String, Instant>,
    // A hint: which budget a key had last.
    budgets: HashMap<Uuid, String>,
}

impl Held {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            parked: VecDeque::new(),
            running: HashMap::new(),
            progress: HashMap::new(),
            budgets: HashMap::new(),
        }
    }

    /// How many more claims may be taken: half as many again as may run, so that a run never waits for a request.
    /// Those of stuck budgets don't count, or nobody else could be claimed.
    pub(crate) fn room(&self, now: Instant) -> usize {
        let most = self.limits.concurrency + self.limits.concurrency / 2;
        let running = self.running.values().map(|running| &running.budget);
        let held = running.chain(self.parked.iter().map(|(budget, _)| budget));
        let counted = held.filter(|budget| !self.is_stuck(budget, now)).count();
        let most = if self.has_stuck(now) {
            most - self.limits.per_budget
        } else {
            most
        };
        most.saturating_sub(counted)
    }

    /// Whether a claim of `key` could be used, as far as is known.
    pub(crate) fn eligible(&self, key: &Uuid, now: Instant) -> bool {
        self.budgets
            .get(key)
            .is_none_or(|budget| !self.is_stuck(budget, now))
    }

    /// Whether a claim of that weight can be held beside the others.
    pub(crate) fn has_room_for(&self, weight: usize) -> bool {
        let running = self.running.values().map(|running| running.weight);
        let parked = self.parked.iter().map(|(_, parked)| parked.weight);
        let held: usize = running.chain(parked).sum();
        weight == 0 || held == 0 || held + weight <= weight::MOST
    }

    /// When a budget may turn out to be stuck, if one is used up.
    pub(crate) fn next_stuck(&self, now: Instant) -> Option<Instant> {
        let full = self
            .progress
            .iter()
            .filter(|(budget, _)| self.running_in(budget) >= self.limits.per_budget);
        full.map(|(_, at)| *at + STUCK).filter(|at| *at > now).min()
    }

    /// Parks a claim, or hands it back where its budget is stuck.
    pub(crate) fn park(&mut self, budget: String, parked: Parked, now: Instant) -> Result<(), Box<Parked>> {
        if self.budgets.len() >= self.limits.remembered {
            self.budgets.clear();
        }
        self.budgets.insert(parked.run.claim.object.id(), budget.clone());
        if self.is_stuck(&budget, now) {
            return Err(Box::new(parked));
        }
        self.parked.push_back((budget, parked));
        Ok(())
    }

    /// The next parked claim that may run now; it counts as running from here on.
    pub(crate) fn start(&mut self, now: Instant) -> Option<Parked> {
        if self.running.len() >= self.limits.concurrency {
            return None;
        }
        let allowed = |(budget, _): &(String, Parked)| self.running_in(budget) < self.limits.per_budget;
        let index = self.parked.iter().position(allowed)?;
        let (budget, parked) = self.parked.remove(index)?;
        self.progress.insert(budget.clone(), now);
        let running = Running {
            epoch: parked.run.claim.epoch,
            budget,
            weight: parked.weight,
            lease: Arc::clone(&parked.run.lease),
        };
        self.running.insert(parked.run.claim.object.id(), running);
        Some(parked)
    }

    /// A run ended.
    pub(crate) fn ended(&mut self, id: Uuid, now: Instant) {
        if let Some(Running { budget, .. }) = self.running.remove(&id) {
            if self.running_in(&budget) == 0 {
                self.progress.remove(&budget);
            } else {
                self.progress.insert(budget, now);
            }
        }
    }

    /// Everything that waits, to be given back.
    pub(crate) fn take_parked(&mut self) -> Vec<Parked> {
        self.parked.drain(..).map(|(_, parked)| parked).collect()
    }

    /// Whether nothing runs and nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.parked.is_empty()
    }

    /// All claims.
    pub(crate) fn keys(&self) -> Vec<ClaimKey> {
        let running = self.running.iter().map(|(id, running)| ClaimKey {
            id: *id,
            epoch: running.epoch,
        });
        let parked = self.parked.iter().map(|(_, parked)| &parked.run.claim);
        running
            .chain(parked.map(|claim| ClaimKey {
                id: claim.object.id(),
                epoch: claim.epoch,
            }))
            .collect()
    }

    /// Some were renewed until `deadline`; the others of `asked` are lost.
    pub(crate) fn renewed(&mut self, asked: &[ClaimKey], renewed: &[Uuid], deadline: Instant) {
        for key in asked {
            let lost = !renewed.contains(&key.id);
            if let Some(running) = self
                .running
                .get(&key.id)
                .filter(|running| running.epoch == key.epoch)
            {
                if lost {
                    running.lease.lose();
                } else {
                    running.lease.extend(deadline);
                }
            }
            for (_, Parked { run, .. }) in &self.parked {
                if run.claim.object.id() == key.id && run.claim.epoch == key.epoch {
                    if lost {
                        run.lease.lose();
                    } else {
                        run.lease.extend(deadline);
                    }
                }
            }
        }
    }

    /// Every run must stop before its next write.
    pub(crate) fn lose_all(&self) {
        self.running.values().for_each(|running| running.lease.lose());
    }

    fn running_in(&self, budget: &str) -> usize {
        self.running
            .values()
            .filter(|running| running.budget == budget)
            .count()
    }

    fn is_stuck(&self, budget: &str, now: Instant) -> bool {
        self.running_in(budget) >= self.limits.per_budget
            && self
                .progress
                .get(budget)
                .is_some_and(|at| now.saturating_duration_since(*at) >= STUCK)
    }

    fn has_stuck(&self, now: Instant) -> bool {
        self.progress.keys().any(|budget| self.is_stuck(budget, now))
    }
}
