//! What a run ends with, and what becomes of the pending row.

use std::time::Duration;

use serde_json::Value;
use threeport_model::{
    kinds::event::NewEvent,
    protocol::{claim::Next, inventory::InventoryRow},
};
use uuid::Uuid;

use crate::{backoff, queue::Class};

/// The longest wait between tries of what mends itself.
pub const RETRY_CAP: Duration = Duration::from_secs(60);
/// The longest wait between tries of what others must mend.
pub const STALLED_CAP: Duration = Duration::from_secs(600);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Reconciled; whatever changes later makes it pending again.
    Done,
    /// Nothing failed; look again after that time.
    RequeueAfter(Duration),
    /// It waits for something else, named for logs. It is woken by that, and looks itself with growing waits.
    WaitFor(String),
    /// Something failed that may work later; why, for logs.
    Retry(String),
    /// It can't go on by itself; why, for logs.
    Stalled {
        /// For logs.
        reason: String,
        /// Whether others (and not a change of the object) may mend it: it is then tried again, up to 10 minutes apart.
        retried: bool,
    },
}

impl Outcome {
    /// The label `outcome` of `threeport_reconcile_total`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::RequeueAfter(_) => "requeue",
            Self::WaitFor(_) => "wait",
            Self::Retry(_) => "retry",
            Self::Stalled { .. } => "stalled",
        }
    }

    /// What becomes of the pending row after `attempts` tries that were not done; `spread` is [`backoff::spread`].
    pub fn next(&self, attempts: i64, spread: f64) -> Next {
        let retry = |cap| Next::After {
            milliseconds: milliseconds(backoff::after(attempts, cap, spread)),
        };
        match self {
            Self::Done | Self::Stalled { retried: false, .. } => Next::Done,
            Self::RequeueAfter(wait) => Next::Recheck {
                milliseconds: milliseconds(*wait),
            },
            Self::WaitFor(_) | Self::Retry(_) => retry(RETRY_CAP),
            Self::Stalled { retried: true, .. } => retry(STALLED_CAP),
        }
    }
}

/// When a key whose row says `next` is ready again, and how urgent it is then.
pub(crate) fn wait(next: Next) -> Option<(Duration, Class)> {
    let duration = |milliseconds: i64| Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    match next {
        Next::Done | Next::Release { .. } => None,
        Next::After { milliseconds } => Some((duration(milliseconds), Class::Retry)),
        Next::Recheck { milliseconds } => Some((duration(milliseconds), Class::Verification)),
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What a run ends with: becomes one `complete` request.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The whole status of the kind, or nothing where it stays as it is.
    pub status: Option<Value>,
    /// Inventory rows to write.
    pub inventory: Vec<InventoryRow>,
    /// Inventory rows to remove.
    pub inventory_removed: Vec<Uuid>,
    /// What happened.
    pub events: Vec<NewEvent>,
    /// The object is to become a tombstone.
    pub finalize: bool,
}

impl Report {
    /// A report with an outcome and nothing to write.
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            status: None,
            inventory: Vec::new(),
            inventory_removed: Vec::new(),
            events: Vec::new(),
            finalize: false,
        }
    }

    /// The same with a status.
    #[must_use]
    pub fn with_status(mut self, status: Value) -> Self {
        self.status = Some(status);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_change_can_mend_is_not_tried_again() {
        let stalled = |retried| Outcome::Stalled {
            reason: String::new(),
            retried,
        };
        assert_eq!(stalled(false).next(0, 0.5), Next::Done);
        assert_eq!(
            stalled(true).next(40, 0.5),
            Next::After {
                milliseconds: 600_000
            }
        );
        assert_eq!(
            Outcome::Retry(String::new()).next(40, 0.5),
            Next::After { milliseconds: 60_000 }
        );
        assert_eq!(
            Outcome::RequeueAfter(RETRY_CAP).next(3, 0.1),
            Next::Recheck { milliseconds: 60_000 }
        );
    }
}
