//! What holds for every kind, and all there is for kinds without rules of their own.

use serde_json::Value;
use threeport_model::kinds::workload_instance::Health;

use super::{Assessment, condition, number, text};

/// What is decided before a kind's own rules: deletion, the generation, kstatus' two conditions.
pub(super) fn before(object: &Value) -> Option<Assessment> {
    if !text(object, "/metadata/deletionTimestamp").is_empty() {
        let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        let finalizers: Vec<_> = finalizers
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let message = if finalizers.is_empty() {
            "is being deleted".to_owned()
        } else {
            finalizers.join(", ")
        };
        return Some(Assessment::new(Health::Terminating, message));
    }
    let generation = number(object, "/metadata/generation");
    let observed = number(object, "/status/observedGeneration");
    if let (Some(generation), Some(observed)) = (generation, observed)
        && observed < generation
    {
        let message = format!("its controller has seen generation {observed} of {generation}");
        return Some(Assessment::not_observed(message));
    }
    if let Some(stalled) = condition(object, "Stalled").filter(super::Condition::is_true) {
        return Some(Assessment::failed(stalled.why()));
    }
    let reconciling = condition(object, "Reconciling").filter(super::Condition::is_true);
    reconciling.map(|reconciling| Assessment::in_progress(reconciling.why()))
}

/// The condition Ready where there is one; an object without it is as it should be once it is there.
pub(super) fn assess(object: &Value) -> Assessment {
    let Some(ready) = condition(object, "Ready") else {
        return Assessment::current();
    };
    let generation = number(object, "/metadata/generation");
    if let (Some(generation), Some(observed)) = (generation, ready.observed_generation)
        && observed < generation
    {
        let message = format!("its condition Ready speaks of generation {observed} of {generation}");
        return Assessment::not_observed(message);
    }
    if ready.is_true() {
        Assessment::current()
    } else {
        Assessment::in_progress(ready.why())
    }
}
