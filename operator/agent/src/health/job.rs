//! batch/Job: it must complete. (kstatus calls a Job that runs Current; here a workload is not Ready before its
//! Jobs did what they are for.)

use serde_json::Value;

use super::{Assessment, condition, count, number};

pub(super) fn assess(object: &Value) -> Assessment {
    if super::is_complete(object) {
        return Assessment::current();
    }
    if let Some(failed) = condition(object, "Failed").filter(super::Condition::is_true) {
        return Assessment::failed(failed.why());
    }
    if condition(object, "Suspended").is_some_and(|suspended| suspended.is_true()) {
        return Assessment::in_progress("is suspended");
    }
    let parallelism = number(object, "/spec/parallelism").unwrap_or(1);
    let wanted = number(object, "/spec/completions").unwrap_or(parallelism);
    let succeeded = count(object, "/status/succeeded");
    let failed = count(object, "/status/failed");
    let mut message = format!("completions: {succeeded}/{wanted}");
    if failed > 0 {
        message.push_str(&format!(", failed pods: {failed}"));
    }
    Assessment::in_progress(message)
}
