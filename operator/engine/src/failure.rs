//! What the status of an object says while nothing can be said of it: its run failed. Pure.
//!
//! Every kind has conditions and `observedGeneration`, so this needs to know none. What the object's status says beside
//! them stays as it was; that it is Ready is no longer known.

use serde_json::Value;
use threeport_model::{
    Condition, ConditionStatus,
    condition::{self, READY, RECONCILING, SUMMARY},
    protocol::claim::Claim,
};

/// Reason of `Ready`.
const RUN_FAILED: &str = "RunFailed";

/// The status that says that a run of `claim` failed, and why; nothing for a tombstone, which has none.
pub(crate) fn status(claim: &Claim, reason: &str, now: jiff::Timestamp) -> Option<Value> {
    if claim.deleted {
        return None;
    }
    let generation = claim.object.generation();
    let message = format!("{reason}; tried again");
    let condition = |kind, status| Condition::new(kind, status, RUN_FAILED, message.clone(), generation);
    let said = vec![
        condition(READY, ConditionStatus::Unknown),
        condition(RECONCILING, ConditionStatus::True),
    ];
    let mut status = claim.object.status.clone();
    condition::say(&mut status, &SUMMARY, said, now);
    status["observedGeneration"] = generation.into();
    Some(status)
}

#[cfg(test)]
mod tests {

    use serde_json::json;
    use threeport_model::Object;

    use super::*;

    fn claim(status: Value) -> Claim {
        let mut object = Object::new("Thing", "thing", json!({}));
        object.metadata.generation = Some(4);
        object.status = status;
        Claim::of(object)
    }

    #[test]
    fn a_failed_run_is_said_and_the_rest_stays() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let before = json!({"namespace": "web", "observedGeneration": 3, "conditions": [
            {"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 3},
            {"type": "Stalled", "status": "True", "reason": "Invalid"},
            {"type": "Fighting", "status": "True", "reason": "HealedTooOften"}]});
        let mut claim = claim(before);
        let said = status(&claim, "took longer than 60 s", now).unwrap();
        assert_eq!(
            (&said["namespace"], &said["observedGeneration"]),
            (&json!("web"), &json!(4))
        );
        let conditions = condition::of_status(&said);
        let kinds: Vec<_> = conditions
            .iter()
            .map(|condition| condition.kind.as_str())
            .collect();
        assert_eq!(kinds, ["Fighting", "Ready", "Reconciling"]);
        let ready = condition::find(&conditions, READY).unwrap();
        assert_eq!(
            (ready.status, ready.observed_generation),
            (ConditionStatus::Unknown, 4)
        );
        assert!(ready.message.contains("took longer than 60 s"));
        claim.object.status = said.clone();
        let later = now + jiff::SignedDuration::from_secs(9);
        assert_eq!(
            status(&claim, "took longer than 60 s", later),
            Some(said),
            "equal bytes"
        );
        claim.deleted = true;
        assert_eq!(status(&claim, "", now), None);
    }

    #[test]
    fn a_condition_that_cannot_be_read_costs_no_other_its_place_or_time() {
        let early = jiff::Timestamp::UNIX_EPOCH;
        let claim = claim(json!({"conditions": [
            {"type": "Novel", "status": "Perhaps", "reason": "R"},
            {"type": "Ready", "status": "Unknown", "reason": "R", "lastTransitionTime": early},
            {"type": "Fighting", "status": "True", "reason": "R", "lastTransitionTime": early}]}));
        let said = status(&claim, "", early + jiff::SignedDuration::from_secs(9)).unwrap();
        let conditions = condition::of_status(&said);
        for kind in ["Fighting", READY] {
            let kept = condition::find(&conditions, kind).unwrap();
            assert_eq!(kept.last_transition_time, Some(early), "{kind}");
        }
    }
}
