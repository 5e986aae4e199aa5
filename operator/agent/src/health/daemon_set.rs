//! apps/DaemonSet: updated and available on every node that it belongs on.

use serde_json::Value;

use super::{Assessment, count, not_yet_observed, text};

pub(super) fn assess(object: &Value) -> Assessment {
    if let Some(assessment) = not_yet_observed(object) {
        return assessment;
    }
    let desired = count(object, "/status/desiredNumberScheduled");
    let on_delete = text(object, "/spec/updateStrategy/type") == "OnDelete";
    let counts = [
        ("scheduled pods", "/status/currentNumberScheduled", true),
        ("updated pods", "/status/updatedNumberScheduled", !on_delete),
        ("ready pods", "/status/numberReady", true),
        ("available pods", "/status/numberAvailable", true),
    ];
    for (what, pointer, counts) in counts {
        let found = count(object, pointer);
        if counts && found < desired {
            return Assessment::in_progress(format!("{what}: {found}/{desired}"));
        }
    }
    Assessment::current()
}
