//! What a custom resource looks like: from an object its metadata, specification and status. Pure.

use std::collections::BTreeMap;

use kube::{ResourceExt, core::DynamicObject};
use serde::Serialize;
use serde_json::{Map, Value, json};
use threeport_crds::ApiStatus;
use threeport_model::{
    Condition, ConditionStatus, KindDescriptor, ManagedBy, Object, condition, document, identity,
};

use crate::{
    generation::Position,
    intake::plan,
    resource,
    text::{MESSAGE, cut},
};

/// How large the status of a custom resource may become, in bytes of JSON: etcd is not to hold what REST has.
const BUDGET: usize = 4096;
/// A message that had to be cut so that the whole keeps to its budget.
const SHORT_MESSAGE: usize = 256;

/// Labels and annotations of the custom resource of an object.
pub(crate) struct WantedMetadata {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Whether the database has what the resource shows, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) status: ConditionStatus,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// It can't go on by itself: a person has to change this resource, or what stands against it.
    pub(crate) stalled: bool,
}

impl Synced {
    pub(crate) fn yes() -> Self {
        Self::with(
            ConditionStatus::True,
            "Synced",
            "the database has this desired state",
        )
    }

    pub(crate) fn no(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::with(ConditionStatus::False, reason, message)
    }

    fn with(status: ConditionStatus, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            message: cut(&message.into(), MESSAGE),
            stalled: false,
        }
    }
}

/// Why the API does not delete the object of a resource that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// What a status is made from.
pub(crate) struct View<'a> {
    pub(crate) kind: &'a KindDescriptor,
    pub(crate) object: Option<&'a Object>,
    pub(crate) position: Position,
    /// The status that the resource has.
    pub(crate) previous: &'a Value,
    pub(crate) synced: Synced,
    /// What stands against the deletion of the resource.
    pub(crate) deletion_blocked: Option<Blocked>,
    pub(crate) deleting: bool,
    pub(crate) operation_id: Option<String>,
}

/// The desired metadata: mirrors carry the label that says who owns them.
pub(crate) fn metadata(object: &Object) -> WantedMetadata {
    let mut labels = object.metadata.labels.clone();
    let owner = object.metadata.managed_by.unwrap_or_default();
    if owner != ManagedBy::Kubernetes {
        labels.insert(identity::MANAGED_BY.to_owned(), owner.as_str().to_owned());
    }
    WantedMetadata {
        labels,
        annotations: object.metadata.annotations.clone(),
    }
}

/// The desired specification: a large document only by its digest, unless Kubernetes is to have it back.
pub(crate) fn spec(object: &Object) -> Value {
    if object.metadata.managed_by == Some(ManagedBy::Kubernetes) {
        object.spec.clone()
    } else {
        document::mirrored(&object.spec)
    }
}

/// The custom resource to create for an object.
pub(crate) fn mirror(kind: &KindDescriptor, object: &Object) -> DynamicObject {
    let mut made = DynamicObject::new(&object.metadata.name, &resource::api_resource(kind));
    fill(&mut made, object);
    made
}

/// `found` as it should be; its resourceVersion stays, so that a write of it fails where it moved.
pub(crate) fn updated(kind: &KindDescriptor, found: &DynamicObject, object: &Object) -> DynamicObject {
    let mut changed = found.clone();
    changed.types = mirror(kind, object).types;
    changed.metadata.managed_fields = None;
    changed
        .finalizers_mut()
        .retain(|finalizer| finalizer != identity::FINALIZER);
    fill(&mut changed, object);
    changed
}

/// `found`, which Kubernetes manages, with what the database has of it. What the database never gets stays.
pub(crate) fn restored(kind: &KindDescriptor, found: &DynamicObject, object: &Object) -> DynamicObject {
    let mut changed = found.clone();
    changed.types = mirror(kind, object).types;
    changed.metadata.managed_fields = None;
    restore(
        changed.labels_mut(),
        &plan::labels(found),
        &object.metadata.labels,
    );
    restore(
        changed.annotations_mut(),
        &plan::annotations(found),
        &object.metadata.annotations,
    );
    changed.data["spec"] = object.spec.clone();
    changed
}

/// `sent`: what the database gets of `all`.
fn restore(
    all: &mut BTreeMap<String, String>,
    sent: &BTreeMap<String, String>,
    stored: &BTreeMap<String, String>,
) {
    all.retain(|key, _| !sent.contains_key(key));
    all.extend(stored.clone());
}

fn fill(resource: &mut DynamicObject, object: &Object) {
    let wanted = metadata(object);
    resource.metadata.labels = Some(wanted.labels);
    resource.metadata.annotations = Some(wanted.annotations);
    if !resource.data.is_object() {
        resource.data = json!({});
    }
    resource.data["spec"] = spec(object);
}

/// `status.observedGeneration`: what the resource's status spoke about last.
pub(crate) fn observed_generation(resource: &DynamicObject) -> i64 {
    resource::status(resource)
        .get("observedGeneration")
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// The whole status of a custom resource.
pub(crate) fn status(view: &View<'_>, now: jiff::Timestamp) -> Value {
    let mut status = match view.object.map(|object| &object.status) {
        Some(Value::Object(status)) => status.clone(),
        _ => Map::new(),
    };
    for pointer in view.kind.unmirrored {
        remove(&mut status, pointer);
    }
    let observed = status
        .get("observedGeneration")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let shown = view
        .object
        .map_or_else(Vec::new, |object| condition::of_status(&object.status));
    let previous = condition::of_status(view.previous);
    // A refusal is an answer about this very generation: kstatus would call what is not observed "in progress".
    let observed = match view.synced.stalled {
        true => view.position.resource,
        false => view.position.resource_generation(observed),
    };
    status.insert("observedGeneration".to_owned(), json!(observed));
    status.insert(
        "conditions".to_owned(),
        value(&conditions(view, shown, &previous, now)),
    );
    status.insert("api".to_owned(), value(&api(view)));
    let mut status = Value::Object(status);
    shrink(&mut status);
    status
}

fn remove(status: &mut Map<String, Value>, pointer: &str) {
    match pointer.trim_start_matches('/').split_once('/') {
        Some((key, rest)) => {
            if let Some(Value::Object(inner)) = status.get_mut(key) {
                remove(inner, rest);
            }
        }
        None => {
            status.remove(pointer.trim_start_matches('/'));
        }
    }
}

/// Cuts lists, the largest first, then messages, until the whole keeps to its budget. What stands first in a list is
/// what matters most (the worst resources come first), so lists are cut at their end.
fn shrink(status: &mut Value) {
    while size(status) > BUDGET {
        let lists = status.as_object_mut().into_iter().flatten();
        let largest = lists
            .filter(|(key, _)| *key != "conditions")
            .filter_map(|(_, value)| value.as_array_mut())
            .filter(|list| !list.is_empty())
            .max_by_key(|list| list.iter().map(size).sum::<usize>());
        match largest {
            Some(list) => list.truncate(list.len() / 2),
            None => break,
        }
    }
    if size(status) > BUDGET {
        let conditions = status["conditions"].as_array_mut().into_iter().flatten();
        for message in conditions.filter_map(|condition| condition.get_mut("message")) {
            *message = json!(cut(message.as_str().unwrap_or_default(), SHORT_MESSAGE));
        }
    }
}

fn size(value: &Value) -> usize {
    value.to_string().len()
}

fn conditions(
    view: &View<'_>,
    shown: Vec<Condition>,
    previous: &[Condition],
    now: jiff::Timestamp,
) -> Vec<Condition> {
    let current = view.position.resource;
    let make = |kind: &str, status, reason: &str, message: &str| {
        Condition::new(kind, status, reason, message, current)
    };
    let mut desired: Vec<Condition> = shown;
    for condition in &mut desired {
        condition.message = cut(&condition.message, MESSAGE);
        condition.observed_generation = view.position.resource_generation(condition.observed_generation);
    }
    let synced = &view.synced;
    let ready = condition::find(&desired, condition::READY);
    let covered = synced.status == ConditionStatus::True
        && view.position.is_synced()
        && ready.is_some_and(|ready| ready.observed_generation == current);
    if !covered {
        let (reason, message) = not_ready(view, ready);
        replace(
            &mut desired,
            make(condition::READY, ConditionStatus::False, &reason, &message),
        );
    }
    if synced.stalled {
        // kstatus asks for this one first, and would never come to the other.
        desired.retain(|condition| condition.kind != condition::RECONCILING);
        replace(
            &mut desired,
            make(
                condition::STALLED,
                ConditionStatus::True,
                &synced.reason,
                &synced.message,
            ),
        );
    }
    if let Some(blocked) = &view.deletion_blocked {
        replace(
            &mut desired,
            make(
                condition::DELETION_BLOCKED,
                ConditionStatus::True,
                &blocked.reason,
                &blocked.message,
            ),
        );
    } else if view.deleting {
        // What the controllers say stands against it speaks about this deletion.
        for condition in desired
            .iter_mut()
            .filter(|condition| condition.kind == condition::DELETION_BLOCKED)
        {
            condition.observed_generation = current;
        }
    }
    replace(
        &mut desired,
        make(condition::SYNCED, synced.status, &synced.reason, &synced.message),
    );
    let times: BTreeMap<String, Option<jiff::Timestamp>> = desired
        .iter()
        .map(|condition| (condition.kind.clone(), condition.last_transition_time))
        .collect();
    let mut merged = condition::merge(previous, desired, now);
    for condition in &mut merged {
        // What comes from the database as it is keeps the database's time.
        if let Some(Some(time)) = times.get(&condition.kind) {
            condition.last_transition_time = Some(*time);
        }
    }
    merged
}

/// Why Ready is not what the database says: that speaks about another generation.
fn not_ready(view: &View<'_>, ready: Option<&Condition>) -> (String, String) {
    if view.deleting {
        // The database's own deletion has no generation of the resource's; what its controller waits for is the news.
        let going = ready.filter(|_| view.object.is_some_and(Object::is_deleting));
        return match (&view.deletion_blocked, going) {
            (Some(blocked), _) => ("Deleting".to_owned(), blocked.message.clone()),
            (None, Some(ready)) if ready.status != ConditionStatus::True => {
                (ready.reason.clone(), ready.message.clone())
            }
            _ => ("Deleting".to_owned(), "it is being deleted".to_owned()),
        };
    }
    if view.synced.status != ConditionStatus::True {
        return (view.synced.reason.clone(), view.synced.message.clone());
    }
    (
        condition::PROGRESSING.to_owned(),
        "this generation was not observed yet".to_owned(),
    )
}

fn replace(conditions: &mut Vec<Condition>, condition: Condition) {
    conditions.retain(|other| other.kind != condition.kind);
    conditions.push(condition);
}

fn api(view: &View<'_>) -> ApiStatus {
    let previous_operation = view.previous.pointer("/api/operationId").and_then(Value::as_str);
    let metadata = view.object.map(|object| &object.metadata);
    ApiStatus {
        id: metadata.and_then(|metadata| metadata.id),
        generation: metadata.and_then(|metadata| metadata.generation),
        synced_generation: view.position.synced,
        resource_version: metadata.and_then(|metadata| metadata.resource_version),
        managed_by: metadata.and_then(|metadata| metadata.managed_by),
        operation_id: view
            .operation_id
            .clone()
            .or_else(|| previous_operation.map(str::to_owned)),
    }
}

/// Whether two statuses show the same; the operation that asked for it aside.
pub(crate) fn same_status(left: &Value, right: &Value) -> bool {
    let without = |status: &Value| {
        let mut status = status.clone();
        if let Some(api) = status.get_mut("api").and_then(Value::as_object_mut) {
            api.remove("operationId");
        }
        status
    };
    resource::same(&without(left), &without(right))
}

fn value(serialize: &impl Serialize) -> Value {
    serde_json::to_value(serialize).unwrap_or(Value::Null)
}

#[cfg(test)]
#[path = "project_tests.rs"]
mod tests;
