//! apps/Deployment: all replicas updated and available, none left over.

use serde_json::Value;

use super::{Assessment, condition, count, not_yet_observed, number};

pub(super) fn assess(object: &Value) -> Assessment {
    if let Some(assessment) = not_yet_observed(object) {
        return assessment;
    }
    let progressing = condition(object, "Progressing");
    if let Some(progressing) = &progressing
        && progressing.reason == "ProgressDeadlineExceeded"
    {
        return Assessment::failed(progressing.why());
    }
    if let Some(failure) = condition(object, "ReplicaFailure").filter(super::Condition::is_true) {
        return Assessment::in_progress(failure.why());
    }
    let desired = number(object, "/spec/replicas").unwrap_or(1);
    let all = count(object, "/status/replicas");
    let updated = count(object, "/status/updatedReplicas");
    let ready = count(object, "/status/readyReplicas");
    let available = count(object, "/status/availableReplicas");
    if updated < desired {
        return Assessment::in_progress(format!("updated replicas: {updated}/{desired}"));
    }
    if all > updated {
        let old = all - updated;
        return Assessment::in_progress(format!("old replicas that still run: {old}"));
    }
    if all > desired {
        let extra = all - desired;
        return Assessment::in_progress(format!("replicas to be removed: {extra}"));
    }
    if ready < desired {
        return Assessment::in_progress(format!("ready replicas: {ready}/{desired}"));
    }
    if available < desired {
        return Assessment::in_progress(format!("available replicas: {available}/{desired}"));
    }
    let available = condition(object, "Available");
    match available.filter(|available| !available.is_true()) {
        Some(available) => Assessment::in_progress(available.why()),
        None => Assessment::current(),
    }
}
