//! Definitions that are configuration only: what is stored is valid, so they are accepted and ready, until they are to go.

use std::marker::PhantomData;

use async_trait::async_trait;
use serde_json::json;
use threeport_engine::{Controller, Lease, Outcome, Report, Run, RunError};
use threeport_model::{Condition, ConditionStatus, Kind, condition, condition::ACCEPTED, object::Object};

use crate::condition::{Progress, Summary, referred_to, to_value};

/// Accepts every object of kind `K`.
pub(crate) struct Accepting<K>(PhantomData<K>);

impl<K> Default for Accepting<K> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

#[async_trait]
impl<K: Kind> Controller for Accepting<K> {
    type World = Object;
    type Plan = ();
    type Applied = ();
    const KIND: &'static str = K::KIND;

    async fn load(&self, run: &Run) -> Result<Object, RunError> {
        Ok(run.claim.object.clone())
    }

    fn plan(&self, _: &Object, _: jiff::Timestamp) {}

    async fn execute(&self, _: &Object, (): &(), _: &Lease, _: jiff::Timestamp) -> Result<(), RunError> {
        Ok(())
    }

    fn status(&self, object: &Object, (): &(), (): &(), now: jiff::Timestamp) -> Report {
        let generation = object.generation();
        let previous = condition::of_status(&object.status);
        let mut conditions = if object.is_deleting() {
            referred_to(generation)
        } else {
            Summary::new(ConditionStatus::True, "Accepted", "", Progress::Settled).conditions(generation)
        };
        conditions.push(Condition::new(
            ACCEPTED,
            ConditionStatus::True,
            "Valid",
            "",
            generation,
        ));
        let conditions = condition::merge(&previous, conditions, now);
        let status = json!({"observedGeneration": generation, "conditions": to_value(&conditions)});
        Report::new(Outcome::Done).with_status(status)
    }
}

#[cfg(test)]
mod tests {
    use threeport_model::{
        condition::{DELETION_BLOCKED, READY},
        kinds::ControlPlaneDefinition,
    };

    use super::*;

    #[test]
    fn what_is_stored_is_accepted_and_an_equal_status_is_equal_bytes() {
        let mut object = Object::new(ControlPlaneDefinition::KIND, "default", json!({}));
        object.metadata.generation = Some(3);
        let controller = Accepting::<ControlPlaneDefinition>::default();
        let early = jiff::Timestamp::UNIX_EPOCH;
        let status = controller.status(&object, &(), &(), early).status.unwrap();
        assert_eq!(status["observedGeneration"], 3);
        assert_eq!(status["conditions"][1]["type"], "Ready");
        object.status = status.clone();
        let later = early + jiff::SignedDuration::from_secs(9);
        assert_eq!(controller.status(&object, &(), &(), later).status, Some(status));
    }

    #[test]
    fn what_is_being_deleted_waits_for_who_refers_to_it() {
        let mut object = Object::new(ControlPlaneDefinition::KIND, "default", json!({}));
        object.metadata.generation = Some(4);
        let now = jiff::Timestamp::UNIX_EPOCH;
        object.metadata.deletion_requested_at = Some(now);
        let controller = Accepting::<ControlPlaneDefinition>::default();
        let status = controller.status(&object, &(), &(), now).status.unwrap();
        let conditions = condition::of_status(&status);
        let of = |kind| condition::find(&conditions, kind).unwrap();
        assert_eq!(of(READY).status, ConditionStatus::False);
        assert_eq!(of(DELETION_BLOCKED).status, ConditionStatus::True);
        assert_eq!(of(ACCEPTED).status, ConditionStatus::True);
    }
}
