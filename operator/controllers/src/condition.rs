//! The conditions that every kind's status has, made in one way.

use serde::Serialize;
use serde_json::Value;
use threeport_model::{
    Condition, ConditionStatus,
    condition::{DELETION_BLOCKED, READY, RECONCILING, STALLED},
};

/// What `Ready` says, and what kstatus is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) ready: ConditionStatus,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) progress: Progress,
}

/// kstatus' two exceptional conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Neither.
    Settled,
    /// The world is being changed.
    Reconciling,
    /// It can't go on by itself.
    Stalled,
}

impl Summary {
    pub(crate) fn new(
        ready: ConditionStatus,
        reason: &'static str,
        message: impl Into<String>,
        progress: Progress,
    ) -> Self {
        Self {
            ready,
            reason,
            message: message.into(),
            progress,
        }
    }

    /// `Ready`, and `Reconciling` or `Stalled` where they apply.
    pub(crate) fn conditions(&self, generation: i64) -> Vec<Condition> {
        let condition =
            |kind, status| Condition::new(kind, status, self.reason, self.message.clone(), generation);
        let mut conditions = vec![condition(READY, self.ready)];
        match self.progress {
            Progress::Settled => {}
            Progress::Reconciling => conditions.push(condition(RECONCILING, ConditionStatus::True)),
            Progress::Stalled => conditions.push(condition(STALLED, ConditionStatus::True)),
        }
        conditions
    }
}

/// What is said of an object without a footprint that is being deleted. It is gone with the last one that refers to it, and
/// what that waits for, that says itself.
pub(crate) fn referred_to(generation: i64) -> Vec<Condition> {
    let message = "waits for the instances that refer to it to go; they say what for";
    let going = Summary::new(ConditionStatus::False, "Deleting", message, Progress::Reconciling);
    let mut conditions = going.conditions(generation);
    conditions.push(Condition::new(
        DELETION_BLOCKED,
        ConditionStatus::True,
        "Referenced",
        message,
        generation,
    ));
    conditions
}

/// A status as JSON. Statuses are plain data, so this can't fail; null would be refused by the API.
pub(crate) fn to_value(status: &impl Serialize) -> Value {
    serde_json::to_value(status).unwrap_or_default()
}
