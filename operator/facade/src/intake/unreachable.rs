//! The API can't be asked: said on resources whose desired state it may not have, and only there, so that an outage
//! doesn't rewrite everything.

use kube::core::DynamicObject;
use serde_json::Value;
use threeport_model::{Condition, ConditionStatus, KindDescriptor, condition};

use crate::{context::Context, mirror::write, reconcile::Error, resource, text};

const REASON: &str = "ApiUnavailable";

/// Says it where it is new.
pub(crate) async fn say(
    context: &Context,
    kind: &'static KindDescriptor,
    found: &DynamicObject,
    cause: &str,
) -> Result<(), Error> {
    match status(found, cause, jiff::Timestamp::now()) {
        Some(status) => write::status(&context.api(kind), found, status).await.map(drop),
        None => Ok(()),
    }
}

fn status(found: &DynamicObject, cause: &str, now: jiff::Timestamp) -> Option<Value> {
    let mine = !resource::is_mirror(found) && !resource::is_deleting(found);
    let previous = condition::of_status(resource::status(found));
    let generation = resource::generation(found);
    let said = condition::find(&previous, condition::SYNCED);
    if !mine || said.is_some_and(|said| said.observed_generation == generation) {
        return None;
    }
    let message = text::cut(&format!("{cause}; it is tried again"), text::MESSAGE);
    let unknown = Condition::new(
        condition::SYNCED,
        ConditionStatus::Unknown,
        REASON,
        message,
        generation,
    );
    let mut status = resource::status(found).clone();
    condition::say(&mut status, &[condition::SYNCED], vec![unknown], now);
    Some(status)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::find_kind;

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
}
