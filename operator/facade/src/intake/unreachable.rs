//! The API can't be asked: said on resources whose desired state it may not have, or that are being deleted and wait for
//! it, and only there, so that an outage doesn't rewrite everything.

use kube::core::DynamicObject;
use serde_json::Value;
use threeport_model::{Condition, ConditionStatus, KindDescriptor, condition};

use crate::{context::Context, mirror::write, reconcile::Error, resource, text};

const REASON: &str = "ApiUnavailable";

/// Says it where it is new. What goes with its namespace does not wait for the API.
pub(crate) async fn say(
    context: &Context,
    kind: &'static KindDescriptor,
    found: &DynamicObject,
    cause: &str,
) -> Result<(), Error> {
    if context.is_closing() {
        return Ok(());
    }
    match status(found, cause, jiff::Timestamp::now()) {
        Some(status) => write::status(&context.api(kind), found, status).await.map(drop),
        None => Ok(()),
    }
}

fn status(found: &DynamicObject, cause: &str, now: jiff::Timestamp) -> Option<Value> {
    let (about, is, waits) = match (resource::is_deleting(found), resource::has_finalizer(found)) {
        _ if resource::is_mirror(found) => return None,
        (false, _) => (condition::SYNCED, ConditionStatus::Unknown, ""),
        (true, true) => (
            condition::DELETION_BLOCKED,
            ConditionStatus::True,
            "its deletion waits for the API: ",
        ),
        // It waits for others.
        (true, false) => return None,
    };
    let previous = condition::of_status(resource::status(found));
    let generation = resource::generation(found);
    let said = condition::find(&previous, about);
    if said.is_some_and(|said| said.observed_generation == generation) {
        return None;
    }
    let message = text::cut(&format!("{waits}{cause}; it is tried again"), text::MESSAGE);
    let now_said = Condition::new(about, is, REASON, message, generation);
    let mut status = resource::status(found).clone();
    condition::say(&mut status, &[about], vec![now_said], now);
    Some(status)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;
    use threeport_model::{find_kind, identity};

    use super::*;

    #[test]
    fn it_is_said_once_per_generation_and_leaves_the_rest() {
        let mut found = DynamicObject::new("web", &resource::api_resource(find_kind("tpwi").unwrap()));
        found.metadata.generation = Some(2);
        found.data = json!({"status": {"runtime": "local", "conditions": [
            {"type": "Ready", "status": "True", "reason": "Healthy", "observedGeneration": 1},
            {"type": "Synced", "status": "True", "reason": "Synced", "observedGeneration": 1},
        ]}});
        let said = status(&found, "no route", jiff::Timestamp::UNIX_EPOCH).unwrap();
        let conditions = condition::of_status(&said);
        let synced = condition::find(&conditions, condition::SYNCED).unwrap();
        assert_eq!(
            (synced.status, synced.observed_generation),
            (ConditionStatus::Unknown, 2)
        );
        assert_eq!(
            condition::find(&conditions, condition::READY)
                .unwrap()
                .observed_generation,
            1
        );
        assert_eq!(said["runtime"], "local");
        found.data = json!({"status": said});
        assert_eq!(status(&found, "no route", jiff::Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_deletion_that_waits_for_the_api_says_so_once_and_leaves_the_rest() {
        let mut found = DynamicObject::new("web", &resource::api_resource(find_kind("tpwi").unwrap()));
        found.metadata.generation = Some(2);
        found.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        found.metadata.finalizers = Some(vec![identity::FINALIZER.to_owned()]);
        found.data = json!({"status": {"conditions": [
            {"type": "Synced", "status": "True", "reason": "Synced", "observedGeneration": 1},
        ]}});
        let said = status(&found, "no route", jiff::Timestamp::UNIX_EPOCH).unwrap();
        let conditions = condition::of_status(&said);
        let blocked = condition::find(&conditions, condition::DELETION_BLOCKED).unwrap();
        assert_eq!(
            (
                blocked.status,
                blocked.reason.as_str(),
                blocked.observed_generation
            ),
            (ConditionStatus::True, "ApiUnavailable", 2)
        );
        assert_eq!(
            blocked.message,
            "its deletion waits for the API: no route; it is tried again"
        );
        let synced = condition::find(&conditions, condition::SYNCED).unwrap();
        assert_eq!(
            (synced.status, synced.observed_generation),
            (ConditionStatus::True, 1)
        );
        found.metadata.finalizers = None;
        let of_others = status(&found, "no route", jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(of_others, None, "nothing of ours holds it");
        found.metadata.finalizers = Some(vec![identity::FINALIZER.to_owned()]);
        found.data = json!({"status": said});
        assert_eq!(status(&found, "no route", jiff::Timestamp::UNIX_EPOCH), None);
    }
}
