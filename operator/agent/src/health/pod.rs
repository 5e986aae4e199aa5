//! Pod, where a workload holds one directly. Why its containers don't run is [`crate::pods`]' to say.

use serde_json::Value;

use super::{Assessment, condition, text};

pub(super) fn assess(object: &Value) -> Assessment {
    match text(object, "/status/phase") {
        "Succeeded" => Assessment::current(),
        "Failed" => {
            let reason = text(object, "/status/reason");
            let message = text(object, "/status/message");
            Assessment::failed(format!("failed {reason} {message}").trim().to_owned())
        }
        "Running" => match condition(object, "Ready") {
            Some(ready) if ready.is_true() => Assessment::current(),
            Some(ready) => Assessment::in_progress(ready.why()),
            None => Assessment::in_progress("is not ready yet"),
        },
        "" => Assessment::in_progress("is not scheduled yet"),
        phase => match condition(object, "PodScheduled").filter(super::Condition::is_false) {
            Some(scheduled) => Assessment::in_progress(scheduled.why()),
            None => Assessment::in_progress(format!("phase: {phase}")),
        },
    }
}
