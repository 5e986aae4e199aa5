//! What happened to an object, as Kubernetes Events on its custom resource, so that `kubectl describe` tells the story.
//!
//! Looked up when Ready changes, which is when there is something to tell. A Kubernetes Event has the name of the
//! API's, so that a restart tells nothing twice; one that was told before and happened again is counted.

use k8s_openapi::{
    api::events::v1::{Event as KubernetesEvent, EventSeries},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use threeport_failpoint::around;
use threeport_model::{
    KindDescriptor, condition, explain,
    kinds::event::{Event, EventType},
};

use crate::{
    context::Context,
    queue::Key,
    remembered::Remembered,
    resource::{self, is_conflict},
    text::{NOTE, cut},
    writes,
};

/// Older ones were told before, or Kubernetes has forgotten them on purpose.
const RECENT_SECONDS: i64 = 600;
const MOST: usize = 10;
const CONTROLLER: &str = "threeport.io/facade";

/// Up to when it was told of each object, so that nothing is told again to be refused.
pub(crate) type Told = Remembered<jiff::Timestamp>;

/// Whether Ready says something else in `after`, and something that has come to an end for now: what happens while an
/// object is being worked on is told with what comes of it.
pub(crate) fn ready_changed(before: &Value, after: &Value) -> bool {
    let ready = |status: &Value| {
        let conditions = condition::of_status(status);
        condition::find(&conditions, condition::READY).map(|ready| (ready.status, ready.reason.clone()))
    };
    let after = ready(after);
    ready(before) != after && after.is_none_or(|(_, reason)| reason != condition::PROGRESSING)
}

/// Tells what happened lately. Only of what has objects in clusters anything is recorded. An event that can't be read or written is not worth a retry.
pub(crate) async fn tell(context: &Context, kind: &'static KindDescriptor, found: &DynamicObject) {
    if !kind.footprint {
        return;
    }
    let name = found.name_any();
    let events = match context.options.api.object_events(kind, &name).await {
        Ok(events) => events,
        Err(error) => {
            tracing::debug!(error = %explain(&error), kind = kind.kind, name, "failed to read the events of an object");
            return;
        }
    };
    let since = jiff::Timestamp::now().as_second() - RECENT_SECONDS;
    let key = Key::new(kind, &name);
    let told = context.told.get(&key);
    let api: Api<KubernetesEvent> = Api::namespaced(context.options.kube.clone(), &context.options.namespace);
    for event in events
        .iter()
        .filter(|event| event.last_seen.as_second() >= since && Some(event.last_seen) > told)
        .take(MOST)
    {
        if let Err(error) = write(&api, kind, found, event).await {
            tracing::warn!(error = %explain(&error), kind = kind.kind, name, "failed to write a Kubernetes event");
        }
    }
    if let Some(newest) = events.iter().map(|event| event.last_seen).max() {
        context.told.set(key, newest);
    }
}

async fn write(
    api: &Api<KubernetesEvent>,
    kind: &KindDescriptor,
    found: &DynamicObject,
    event: &Event,
) -> Result<(), kube::Error> {
    let made = kubernetes_event(kind, found, event);
    let parameters = PostParams::default();
    match around(writes::EVENT_CREATE, api.create(&parameters, &made)).await {
        Err(error) if is_conflict(&error) => {}
        result => return result.map(drop),
    }
    let Some(series) = made.series else { return Ok(()) };
    let patch = Patch::Merge(json!({"series": series}));
    let name = made.metadata.name.unwrap_or_default();
    let parameters = PatchParams::default();
    around(writes::EVENT_COUNT, api.patch(&name, &parameters, &patch))
        .await
        .map(drop)
}

fn kubernetes_event(kind: &KindDescriptor, found: &DynamicObject, event: &Event) -> KubernetesEvent {
    let series = (event.count > 1).then(|| EventSeries {
        count: i32::try_from(event.count).unwrap_or(i32::MAX),
        last_observed_time: MicroTime(event.last_seen),
    });
    KubernetesEvent {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", found.name_any(), event.id)),
            namespace: found.namespace(),
            ..ObjectMeta::default()
        },
        regarding: Some(found.object_ref(&resource::api_resource(kind))),
        event_time: Some(MicroTime(event.first_seen)),
        series,
        type_: Some(match event.kind {
            EventType::Normal => "Normal".to_owned(),
            EventType::Warning => "Warning".to_owned(),
        }),
        reason: Some(event.reason.clone()),
        note: Some(cut(&event.message, NOTE)),
        action: Some("Reconcile".to_owned()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(CONTROLLER.to_owned()),
        ..KubernetesEvent::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_of_ready_is_a_story() {
        let status = |status: &str, message: &str| {
            json!({"conditions": [{"type": "Ready", "status": status, "reason": "R", "message": message,
                "observedGeneration": 1}]})
        };
        assert!(!ready_changed(&status("True", "a"), &status("True", "b")));
        assert!(ready_changed(&status("True", "a"), &status("False", "a")));
        assert!(ready_changed(&Value::Null, &status("False", "a")));
        let mut working = status("False", "a");
        working["conditions"][0]["reason"] = json!(condition::PROGRESSING);
        assert!(!ready_changed(&status("True", "a"), &working));
        assert!(ready_changed(&working, &status("True", "a")));
    }
}
