//! What of a live object is reported: identity, ownership, health. Pure.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};
use threeport_model::{
    identity,
    kinds::workload_instance::Health,
    ownership,
    protocol::agent::{Observation, WatchedKind},
};
use uuid::Uuid;

use crate::{health, outbox::shorten};

/// An object as it was seen, before its pods are asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its kind.
    pub kind: Arc<WatchedKind>,
    /// What will be reported, but for what its pods say.
    pub observation: Observation,
    /// See [`health::Assessment::observed`].
    pub observed: bool,
}

/// Projects an object that exists. Nothing where its instance label is not an id: it is not ours then, whatever its
/// other labels say. `data` is the object without its metadata (empty where only the metadata is watched).
pub fn existing(
    kind: &Arc<WatchedKind>,
    metadata: &ObjectMeta,
    mut data: Value,
    manager: &str,
) -> Option<Seen> {
    if !data.is_object() {
        data = Value::Object(Map::new());
    }
    data["metadata"] = json!({
        "generation": metadata.generation,
        "deletionTimestamp": metadata.deletion_timestamp,
        "finalizers": metadata.finalizers,
    });
    let assessment = health::assess(&kind.group, &kind.kind, &data);
    let mut observation = observation(kind, metadata, manager, assessment.health, assessment.message)?;
    observation.completed = completed(kind, metadata, &data);
    Some(Seen {
        kind: Arc::clone(kind),
        observation,
        observed: assessment.observed,
    })
}

/// Projects an object that was seen to be deleted; `data` is the last that was seen of it.
pub fn deleted(kind: &Arc<WatchedKind>, metadata: &ObjectMeta, data: &Value, manager: &str) -> Option<Seen> {
    let mut observation = observation(kind, metadata, manager, Health::Missing, "was deleted".to_owned())?;
    observation.completed = completed(kind, metadata, data);
    Some(Seen {
        kind: Arc::clone(kind),
        observation,
        observed: true,
    })
}

/// The plan for which a Job completed: it says so to the last, whether it is being deleted or gone.
fn completed(kind: &WatchedKind, metadata: &ObjectMeta, data: &Value) -> Option<String> {
    let completed = kind.group == "batch" && kind.kind == "Job" && health::is_complete(data);
    let plan = metadata.annotations.as_ref()?.get(identity::PLAN_HASH)?;
    completed.then(|| plan.clone())
}

fn observation(
    kind: &WatchedKind,
    metadata: &ObjectMeta,
    manager: &str,
    health: Health,
    mut message: String,
) -> Option<Observation> {
    let label = metadata.labels.as_ref()?.get(identity::INSTANCE)?;
    let instance_id = Uuid::parse_str(label).ok()?;
    // It may be held until a list is complete, and thousands with it.
    shorten(&mut message);
    let (ownership_digest, other_managers) = owners(metadata, manager);
    Some(Observation {
        group: kind.group.clone(),
        version: kind.version.clone(),
        kind: kind.kind.clone(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        instance_id,
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        ownership_digest,
        other_managers,
        health,
        message,
        images: Vec::new(),
        completed: None,
    })
}

/// The digest of our entry, and who else owns fields. Who writes the status fights with nobody.
fn owners(metadata: &ObjectMeta, manager: &str) -> (Option<String>, Vec<String>) {
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    let as_json = json!({"managedFields": entries, "annotations": metadata.annotations});
    let others: BTreeSet<String> = entries
        .iter()
        .filter(|entry| entry.subresource.as_deref() != Some("status"))
        .filter_map(|entry| entry.manager.clone())
        .filter(|name| name != manager)
        .collect();
    (
        ownership::of_metadata(&as_json, manager),
        others.into_iter().collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANAGER: &str = "threeport-x";

    fn kind() -> Arc<WatchedKind> {
        let (group, version, kind) = ("apps".to_owned(), "v1".to_owned(), "Deployment".to_owned());
        Arc::new(WatchedKind { group, version, kind })
    }

    fn metadata(instance: &str) -> ObjectMeta {
        serde_json::from_value(json!({
            "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2,
            "labels": {identity::INSTANCE: instance},
            "managedFields": [
                {"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {}}},
                {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status"},
                {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn an_object_is_reported_with_identity_ownership_and_health() {
        let instance = Uuid::from_u128(1);
        let data = json!({"status": {"observedGeneration": 1}});
        let seen = existing(&kind(), &metadata(&instance.to_string()), data, MANAGER).unwrap();
        let observation = seen.observation;
        assert_eq!(
            (observation.namespace.as_str(), observation.name.as_str()),
            ("shop", "web")
        );
        assert_eq!(
            (observation.uid.as_str(), observation.resource_version.as_str()),
            ("u", "7")
        );
        assert_eq!(observation.instance_id, instance);
        assert_eq!(observation.other_managers, ["kubectl-edit"]);
        assert!(observation.ownership_digest.is_some());
        assert_eq!(observation.health, Health::InProgress);
        assert!(!seen.observed);
    }

    #[test]
    fn which_plan_an_object_is_of_is_part_of_its_digest() {
        let of = |plan: &str| {
            let mut metadata = metadata(&Uuid::nil().to_string());
            metadata.annotations = Some([(identity::PLAN_HASH.to_owned(), plan.to_owned())].into());
            existing(&kind(), &metadata, json!({}), MANAGER)
                .unwrap()
                .observation
                .ownership_digest
        };
        assert!(of("1").is_some() && of("1") == of("1"));
        assert_ne!(of("1"), of("2"));
    }

    #[test]
    fn a_deleted_object_is_missing() {
        let metadata = metadata(&Uuid::nil().to_string());
        let seen = deleted(&kind(), &metadata, &Value::Null, MANAGER).unwrap();
        assert_eq!(seen.observation.health, Health::Missing);
    }

    #[test]
    fn a_job_that_completed_says_for_which_plan_to_its_end_and_beyond() {
        let job = Arc::new(WatchedKind {
            group: "batch".to_owned(),
            version: "v1".to_owned(),
            kind: "Job".to_owned(),
        });
        let mut metadata = metadata(&Uuid::nil().to_string());
        metadata.annotations = Some([(identity::PLAN_HASH.to_owned(), "h".to_owned())].into());
        let status = |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "True"}]}});
        let complete = Some("h".to_owned());
        let of = |seen: Option<Seen>| seen.unwrap().observation.completed;
        assert_eq!(
            of(existing(&job, &metadata, status("Complete"), MANAGER)),
            complete
        );
        assert_eq!(of(existing(&job, &metadata, status("Failed"), MANAGER)), None);
        assert_eq!(
            of(deleted(&job, &metadata, &status("Complete"), MANAGER)),
            complete
        );
        assert_eq!(of(deleted(&job, &metadata, &status("Failed"), MANAGER)), None);
        assert_eq!(
            of(deleted(&kind(), &metadata, &status("Complete"), MANAGER)),
            None
        );
        metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        metadata.finalizers = Some(vec!["example.org/hold".to_owned()]);
        let terminating = existing(&job, &metadata, status("Complete"), MANAGER)
            .unwrap()
            .observation;
        assert_eq!(
            (terminating.health, terminating.completed),
            (Health::Terminating, complete)
        );
        assert_eq!(terminating.message, "example.org/hold");
    }

    #[test]
    fn a_message_that_nobody_reads_to_its_end_takes_no_memory() {
        let conditions = json!([{"type": "Stalled", "status": "True", "message": "x".repeat(1 << 20)}]);
        let data = json!({"status": {"conditions": conditions}});
        let metadata = metadata(&Uuid::nil().to_string());
        let seen = existing(&kind(), &metadata, data, MANAGER).unwrap();
        assert_eq!(seen.observation.health, Health::Failed);
        let kept = seen.observation.message.capacity();
        assert!((1..1 << 13).contains(&kept), "{kept}");
    }

    #[test]
    fn an_object_of_no_instance_is_not_reported() {
        assert_eq!(None, existing(&kind(), &metadata("somebody"), json!({}), MANAGER));
        assert_eq!(
            None,
            existing(&kind(), &ObjectMeta::default(), json!({}), MANAGER)
        );
    }
}
