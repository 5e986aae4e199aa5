//! What the status of an object says while nothing can be said of it: its run failed. Pure.
//!
//! Every kind has conditions and `observedGeneration`, so this needs to know none. What the object's status says beside
//! them stays as it was; that it is Ready is no longer known.

use serde_json::{Map, Value};
use threeport_model::{
    Condition, ConditionStatus,
    condition::{self, READY, RECONCILING, STALLED},
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
    let mut status = match &claim.object.status {
        Value::Object(status) => status.clone(),
        _ => Map::new(),
    };
    let previous: Vec<Condition> = status
        .get("conditions")
        .and_then(|conditions| serde_json::from_value(conditions.clone()).ok())
        .unwrap_or_default();
    let told = [READY, RECONCILING, STALLED];
    let others = previous
        .iter()
        .filter(|condition| !told.contains(&condition.kind.as_str()));
    let message = format!("{reason}; tried again");
    let condition = |kind, status| Condition::new(kind, status, RUN_FAILED, message.clone(), generation);
    let mut conditions: Vec<_> = others.cloned().collect();
    conditions.push(condition(READY, ConditionStatus::Unknown));
    conditions.push(condition(RECONCILING, ConditionStatus::True));
    let conditions = condition::merge(&previous, conditions, now);
    status.insert("observedGeneration".to_owned(), generation.into());
    status.insert("conditions".to_owned(), serde_json::to_value(conditions).ok()?);
    Some(Value::Object(status))
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
        let conditions: Vec<Condition> = serde_json::from_value(said["conditions"].clone()).unwrap();
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
}
