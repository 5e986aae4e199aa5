//! apps/ReplicaSet: all replicas available, none left over.

use serde_json::Value;

use super::{Assessment, condition, count, not_yet_observed, number};

pub(super) fn assess(object: &Value) -> Assessment {
    if let Some(assessment) = not_yet_observed(object) {
        return assessment;
    }
    if let Some(failure) = condition(object, "ReplicaFailure").filter(super::Condition::is_true) {
        return Assessment::in_progress(failure.why());
    }
    let desired = number(object, "/spec/replicas").unwrap_or(1);
    let all = count(object, "/status/replicas");
    let available = count(object, "/status/availableReplicas");
    if all > desired {
        let extra = all - desired;
        return Assessment::in_progress(format!("replicas to be removed: {extra}"));
    }
    if available < desired {
        return Assessment::in_progress(format!("available replicas: {available}/{desired}"));
    }
    Assessment::current()
}
