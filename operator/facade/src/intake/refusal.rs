//! What the API refused, as a Warning event on the resource: once per refusal, not once per try.

use kube::{
    Resource,
    core::DynamicObject,
    runtime::events::{Event, EventType},
};
use serde_json::Value;
use threeport_failpoint::around;
use threeport_model::{Condition, ConditionStatus, KindDescriptor, condition, explain};

use crate::{
    context::Context,
    resource,
    text::{NOTE, cut},
    writes,
};

/// What is no refusal: it ends by itself.
pub(crate) const WAITING_FOR_REFERENCE: &str = "WaitingForReference";

/// The condition that says what is refused, where the resource did not say so before.
pub(crate) fn unsaid(found: &DynamicObject, status: &Value) -> Option<Condition> {
    let synced = |status: &Value| {
        let conditions = condition::of_status(status);
        condition::find(&conditions, condition::SYNCED).cloned()
    };
    let refused =
        |now: &Condition| now.status == ConditionStatus::False && now.reason != WAITING_FOR_REFERENCE;
    let now = synced(status).filter(refused)?;
    let before = synced(resource::status(found));
    let said = before.is_some_and(|before| {
        before.status == now.status
            && before.message == now.message
            && before.observed_generation == now.observed_generation
    });
    (!said).then_some(now)
}

/// Publishes it. An event that can't be written is not worth a retry: the condition says the same.
pub(crate) async fn warn(
    context: &Context,
    kind: &KindDescriptor,
    found: &DynamicObject,
    refusal: &Condition,
) {
    let event = Event {
        type_: EventType::Warning,
        reason: refusal.reason.clone(),
        note: Some(cut(&refusal.message, NOTE)),
        action: "Sync".to_owned(),
        secondary: None,
    };
    let reference = found.object_ref(&resource::api_resource(kind));
    let published = context.recorder.publish(&event, &reference);
    if let Err(error) = around(writes::EVENT_REFUSED, published).await {
        tracing::warn!(error = %explain(&error), kind = kind.kind, "failed to write a Kubernetes event");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::find_kind;

    use super::*;

    #[test]
    fn a_refusal_is_said_once() {
        let status = |reason: &str, generation: i64| {
            json!({"conditions": [{"type": "Synced", "status": "False", "reason": reason, "message": "m",
                "observedGeneration": generation}]})
        };
        let mut found = DynamicObject::new("web", &resource::api_resource(find_kind("tpwd").unwrap()));
        found.data = json!({});
        assert!(unsaid(&found, &status("Invalid", 1)).is_some());
        assert!(unsaid(&found, &status(WAITING_FOR_REFERENCE, 1)).is_none());
        found.data["status"] = status("Invalid", 1);
        assert!(unsaid(&found, &status("Invalid", 1)).is_none());
        assert!(unsaid(&found, &status("Invalid", 2)).is_some());
    }
}
