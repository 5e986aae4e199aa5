//! apps/StatefulSet: all replicas ready and of the newest revision, down to the partition.

use serde_json::Value;

use super::{Assessment, count, not_yet_observed, number, text};

pub(super) fn assess(object: &Value) -> Assessment {
    if let Some(assessment) = not_yet_observed(object) {
        return assessment;
    }
    let desired = number(object, "/spec/replicas").unwrap_or(1);
    let all = count(object, "/status/replicas");
    let ready = count(object, "/status/readyReplicas");
    let updated = count(object, "/status/updatedReplicas");
    if all < desired {
        return Assessment::in_progress(format!("replicas: {all}/{desired}"));
    }
    if all > desired {
        let extra = all - desired;
        return Assessment::in_progress(format!("replicas to be removed: {extra}"));
    }
    if ready < desired {
        return Assessment::in_progress(format!("ready replicas: {ready}/{desired}"));
    }
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Assessment::current();
    }
    let partition = count(object, "/spec/updateStrategy/rollingUpdate/partition");
    let wanted = (desired - partition).max(0);
    let same = text(object, "/status/currentRevision") == text(object, "/status/updateRevision");
    if !same && updated < wanted {
        return Assessment::in_progress(format!("updated replicas: {updated}/{wanted}"));
    }
    if partition == 0 && !same {
        return Assessment::in_progress("the update is being completed");
    }
    Assessment::current()
}
