//! policy/PodDisruptionBudget: its controller has computed what it allows; how many pods are healthy is theirs to say.

use serde_json::Value;

use super::{Assessment, not_yet_observed};

pub(super) fn assess(object: &Value) -> Assessment {
    not_yet_observed(object).unwrap_or_else(Assessment::current)
}
