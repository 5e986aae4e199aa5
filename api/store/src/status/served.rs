//! The status that is served: the stored one, unless it would fool who waits for it.
//!
//! A stored status speaks about what its controller saw. Between a change and the controller's word about it, a stored
//! `Ready=True` speaks about what is no longer wanted, and `kubectl wait` must not return on it. So whatever was stored
//! about another desired state is served as `Ready=False`, reason Progressing.
//!
//! An instance's desired state is a pair of generations, its definition's and its own; what is applied is in
//! `status.revision`. A `Ready` that is not True and that was written about exactly the desired pair (a Conflict, say)
//! is served as it is, though nothing was applied: it is the answer.

use jiff::Timestamp;
use serde_json::{Value, json};
use threeport_model::{
    Condition, ConditionStatus, condition,
    condition::{PROGRESSING, READY, RECONCILING, SUMMARY},
    kinds::workload_instance::Revision,
};

/// What is wanted, and what the stored status speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The object's own generation.
    pub(crate) generation: i64,
    /// The generation of the definition that it places, where it is an instance.
    pub(crate) definition: Option<i64>,
    /// The generation of the definition that the stored status speaks about, where that is known.
    pub(crate) seen_definition: Option<i64>,
}

/// Makes of a stored status the one that is served. `changed` is when the desired state last changed.
pub(crate) fn status(status: &mut Value, wanted: Applied, changed: Timestamp) {
    let revision = status
        .get("revision")
        .and_then(|value| serde::Deserialize::deserialize(value).ok());
    if is_truthful(&condition::of_status(status), revision, wanted) {
        return;
    }
    if !status.is_object() {
        *status = json!({"observedGeneration": 0});
    }
    let message = "The desired state has changed; its controller has not said yet what became of it.";
    let progressing = |kind, word| Condition::new(kind, word, PROGRESSING, message, wanted.generation);
    let said = vec![
        progressing(READY, ConditionStatus::False),
        progressing(RECONCILING, ConditionStatus::True),
    ];
    condition::say(status, &SUMMARY, said, changed);
}

fn is_truthful(conditions: &[Condition], revision: Option<Revision>, wanted: Applied) -> bool {
    let Some(ready) = condition::find(conditions, READY) else {
        return false;
    };
    if ready.observed_generation != wanted.generation {
        return false;
    }
    let Some(definition) = wanted.definition else {
        return true;
    };
    revision
        == Some(Revision {
            definition,
            instance: wanted.generation,
        })
        || (ready.status != ConditionStatus::True && wanted.seen_definition == Some(definition))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: &str = "2026-01-02T00:00:00Z";

    fn stored(ready: &str, generation: i64, revision: Option<(i64, i64)>) -> Value {
        let time = "2026-01-01T00:00:00Z";
        let ready = json!({"type": "Ready", "status": ready, "reason": "Stored", "message": "",
            "observedGeneration": generation, "lastTransitionTime": time});
        let stalled = json!({"type": "Stalled", "status": "True", "reason": "Stored", "message": "",
            "observedGeneration": generation, "lastTransitionTime": time});
        let mut status =
            json!({"observedGeneration": generation, "conditions": [ready, stalled], "namespace": "x"});
        if let Some((definition, instance)) = revision {
            status["revision"] = json!({"definition": definition, "instance": instance});
        }
        status
    }

    fn reason(mut stored: Value, generation: i64, definition: Option<i64>, seen: Option<i64>) -> String {
        let wanted = Applied {
            generation,
            definition,
            seen_definition: seen,
        };
        status(&mut stored, wanted, CHANGED.parse().unwrap());
        let ready = stored["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|found| found["type"] == "Ready")
            .unwrap();
        assert_eq!(ready["observedGeneration"], generation);
        ready["reason"].as_str().unwrap().to_owned()
    }

    #[test]
    fn ready_is_served_only_for_exactly_the_desired_pair() {
        for (generation, definition, expected) in [
            (2, 5, "Stored"),
            (3, 5, "Progressing"),
            (2, 6, "Progressing"),
            (2, 4, "Progressing"),
        ] {
            let found = reason(
                stored("True", 2, Some((5, 2))),
                generation,
                Some(definition),
                Some(5),
            );
            assert_eq!(found, expected, "{generation} {definition}");
        }
        assert_eq!(
            reason(stored("True", 2, None), 2, Some(5), Some(5)),
            "Progressing"
        );
    }

    #[test]
    fn what_stands_against_the_desired_pair_is_served_as_it_is() {
        assert_eq!(
            reason(stored("False", 2, Some((4, 2))), 2, Some(5), Some(5)),
            "Stored"
        );
        assert_eq!(reason(stored("Unknown", 2, None), 2, Some(5), Some(5)), "Stored");
        assert_eq!(
            reason(stored("False", 2, Some((4, 2))), 2, Some(5), Some(4)),
            "Progressing"
        );
        assert_eq!(
            reason(stored("False", 2, Some((4, 2))), 2, Some(5), None),
            "Progressing"
        );
    }

    #[test]
    fn others_are_served_by_their_own_generation() {
        assert_eq!(reason(stored("True", 2, None), 2, None, None), "Stored");
        assert_eq!(reason(stored("True", 2, None), 3, None, None), "Progressing");
        assert_eq!(reason(Value::Null, 1, None, None), "Progressing");
    }

    #[test]
    fn the_rest_of_the_status_stays_and_times_are_true() {
        let mut served = stored("True", 1, None);
        // Of a newer version, say; the others stay all the same.
        let unknown = json!({"type": "Novel", "status": "Perhaps", "reason": "R"});
        let other = json!({"type": "Fighting", "status": "True", "reason": "R"});
        served["conditions"]
            .as_array_mut()
            .unwrap()
            .extend([unknown, other]);
        status(
            &mut served,
            Applied {
                generation: 2,
                definition: None,
                seen_definition: None,
            },
            CHANGED.parse().unwrap(),
        );
        assert_eq!(served["namespace"], "x");
        assert_eq!(served["observedGeneration"], 1);
        let kinds: Vec<_> = served["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| &found["type"])
            .collect();
        assert_eq!(kinds, ["Fighting", "Ready", "Reconciling"]);
        assert_eq!(served["conditions"][1]["lastTransitionTime"], CHANGED);
        let mut still_false = stored("False", 1, None);
        let wanted = Applied {
            generation: 2,
            definition: None,
            seen_definition: None,
        };
        status(&mut still_false, wanted, CHANGED.parse().unwrap());
        assert_eq!(
            still_false["conditions"][0]["lastTransitionTime"],
            "2026-01-01T00:00:00Z"
        );
    }
}
