//! The WorkloadDefinition controller: what the definition holds, and whether all its instances run it.
//!
//! It touches no cluster. How the instances are comes with the claim, by one query of the store, which also makes a
//! definition pending when one of them changes its readiness, reason or revision, or comes or goes. Those that are being
//! deleted count no more; a definition that is being deleted itself waits for just those.
//!
//! A change of an instance's message alone does not: messages change with each step of every rollout (`2 of 4 ...`) and
//! alternate for as long as something fails (`ErrImagePull`, `ImagePullBackOff`), each time for a run and a status of the
//! definition that tell nobody anything to act on. So the text of the worst instance in the definition's message may be an
//! older one, until something counts again or the definition is verified; counts and the reason are not.

use async_trait::async_trait;
use threeport_engine::{Controller, Lease, Outcome, Report, Run, RunError};
use threeport_model::{
    Condition, ConditionStatus, Kind,
    condition::{self, ACCEPTED},
    image,
    kinds::{
        WorkloadDefinition,
        workload_definition::{InstanceCounts, Spec, Status},
    },
    manifest::{self, Manifest},
    protocol::claim::Claim,
};

use crate::condition::{Progress, Summary, referred_to, to_value};

/// See the module.
pub struct DefinitionController;

#[async_trait]
impl Controller for DefinitionController {
    type World = Claim;
    type Plan = ();
    type Applied = ();
    const KIND: &'static str = WorkloadDefinition::KIND;

    async fn load(&self, run: &Run) -> Result<Claim, RunError> {
        Ok(run.claim.clone())
    }

    fn plan(&self, _: &Claim, _: jiff::Timestamp) {}

    async fn execute(&self, _: &Claim, (): &(), _: &Lease, _: jiff::Timestamp) -> Result<(), RunError> {
        Ok(())
    }

    fn status(&self, claim: &Claim, (): &(), (): &(), now: jiff::Timestamp) -> Report {
        if claim.deleted {
            return Report::new(Outcome::Done);
        }
        let (outcome, status) = status(claim, now);
        Report::new(outcome).with_status(to_value(&status))
    }
}

fn status(claim: &Claim, now: jiff::Timestamp) -> (Outcome, Status) {
    let generation = claim.object.generation();
    let previous: Status = claim.object.typed_status();
    let instances = claim.instances.unwrap_or_default();
    let manifests = read(claim);
    let (accepted, summary, outcome) = match &manifests {
        Ok(_) => {
            let accepted = Condition::new(ACCEPTED, ConditionStatus::True, "Valid", "", generation);
            (
                accepted,
                readiness(instances, claim.worst_instance.as_deref()),
                Outcome::Done,
            )
        }
        Err(message) => {
            let accepted = Condition::new(
                ACCEPTED,
                ConditionStatus::False,
                "Invalid",
                message.clone(),
                generation,
            );
            let summary = Summary::new(
                ConditionStatus::False,
                "Invalid",
                message.clone(),
                Progress::Stalled,
            );
            (
                accepted,
                summary,
                Outcome::Stalled {
                    reason: message.clone(),
                    retried: false,
                },
            )
        }
    };
    let (mut conditions, outcome) = if claim.object.is_deleting() {
        // The store ends it with the last of those that refer to it.
        (referred_to(generation), Outcome::Done)
    } else {
        (summary.conditions(generation), outcome)
    };
    conditions.push(accepted);
    let manifests = manifests.unwrap_or_default();
    let mut images: Vec<_> = manifests
        .iter()
        .flat_map(|manifest| image::of_manifest(&manifest.object))
        .collect();
    images.sort();
    images.dedup();
    let status = Status {
        observed_generation: generation,
        conditions: condition::merge(&previous.conditions, conditions, now),
        resources: manifests.into_iter().map(|manifest| manifest.identity).collect(),
        images,
        instances,
    };
    (outcome, status)
}

fn read(claim: &Claim) -> Result<Vec<Manifest>, String> {
    let spec: Spec = claim.object.typed_spec().map_err(|error| error.to_string())?;
    manifest::of_spec(&spec).map_err(|errors| {
        let text: Vec<_> = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect();
        text.join("; ")
    })
}

fn readiness(instances: InstanceCounts, worst: Option<&str>) -> Summary {
    let InstanceCounts {
        total,
        current,
        ready,
    } = instances;
    if total == 0 {
        return Summary::new(
            ConditionStatus::True,
            "NoInstances",
            "no instance uses it",
            Progress::Settled,
        );
    }
    if ready == total && current == total {
        let message = format!("{total} of {total} instances are ready");
        return Summary::new(ConditionStatus::True, "Ready", message, Progress::Settled);
    }
    let worst = worst.map(|worst| format!("; {worst}")).unwrap_or_default();
    let message = format!("{current} of {total} instances have applied it, {ready} are ready{worst}");
    Summary::new(
        ConditionStatus::False,
        condition::PROGRESSING,
        message,
        Progress::Reconciling,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::{
        Object,
        condition::{DELETION_BLOCKED, READY, RECONCILING, STALLED},
    };

    use super::*;

    fn claim(document: &str, instances: InstanceCounts) -> Claim {
        let mut object = Object::new(WorkloadDefinition::KIND, "web", json!({"yamlDocument": document}));
        object.metadata.generation = Some(4);
        Claim {
            instances: Some(instances),
            worst_instance: Some("WorkloadInstance/web: no image".to_owned()),
            ..Claim::of(object)
        }
    }

    const POD: &str =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: nginx}]}\n";

    fn ready(counts: (i64, i64, i64)) -> Condition {
        let (total, current, ready) = counts;
        let (_, status) = status(
            &claim(
                POD,
                InstanceCounts {
                    total,
                    current,
                    ready,
                },
            ),
            jiff::Timestamp::UNIX_EPOCH,
        );
        condition::find(&status.conditions, READY).cloned().unwrap()
    }

    #[test]
    fn ready_means_every_instance_runs_this_generation() {
        assert_eq!(
            (ready((0, 0, 0)).status, ready((0, 0, 0)).reason.as_str()),
            (ConditionStatus::True, "NoInstances")
        );
        assert_eq!(ready((2, 2, 2)).status, ConditionStatus::True);
        assert_eq!(ready((2, 2, 2)).observed_generation, 4);
        for counts in [(2, 2, 1), (2, 1, 2), (2, 1, 1)] {
            let condition = ready(counts);
            assert_eq!(condition.status, ConditionStatus::False, "{counts:?}");
            assert!(condition.message.contains("no image"), "{}", condition.message);
        }
    }

    #[test]
    fn resources_and_images_are_listed() {
        let (outcome, status) = status(
            &claim(POD, InstanceCounts::default()),
            jiff::Timestamp::UNIX_EPOCH,
        );
        assert_eq!(outcome, Outcome::Done);
        assert_eq!(status.resources[0].kind, "Pod");
        assert_eq!(status.images[0].repository, "docker.io/library/nginx");
    }

    #[test]
    fn a_document_that_can_t_be_read_any_more_is_invalid_and_waits_for_a_change() {
        let (outcome, status) = status(
            &claim("kind: Pod\n", InstanceCounts::default()),
            jiff::Timestamp::UNIX_EPOCH,
        );
        assert!(matches!(outcome, Outcome::Stalled { retried: false, .. }));
        assert_eq!(
            condition::find(&status.conditions, ACCEPTED).unwrap().status,
            ConditionStatus::False
        );
    }

    /// Its instances are being deleted, so they don't count; that no instance uses it would be no news to who waits.
    #[test]
    fn a_definition_that_is_being_deleted_says_what_it_waits_for() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        for document in [POD, "kind: Pod\n"] {
            let mut claim = claim(document, InstanceCounts::default());
            claim.object.metadata.deletion_requested_at = Some(now);
            let (outcome, status) = status(&claim, now);
            assert_eq!(outcome, Outcome::Done);
            let of = |kind| condition::find(&status.conditions, kind).unwrap();
            let ready = of(READY);
            assert_eq!(
                (ready.status, ready.reason.as_str(), ready.observed_generation),
                (ConditionStatus::False, "Deleting", 4)
            );
            let blocked = of(DELETION_BLOCKED);
            assert_eq!(
                (blocked.status, blocked.reason.as_str()),
                (ConditionStatus::True, "Referenced")
            );
            assert!(blocked.message.contains("instances"), "{}", blocked.message);
            assert_eq!(of(RECONCILING).status, ConditionStatus::True);
            assert_eq!(condition::find(&status.conditions, STALLED), None);
        }
    }
}
