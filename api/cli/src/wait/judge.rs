//! How it stands with an object that is waited for: read from the object alone.

use threeport_model::{
    Condition, ConditionStatus, Object,
    condition::{self, DELETION_BLOCKED, READY, STALLED},
};

use super::Target;

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// A condition has a status, for the generation that is meant.
    Condition {
        /// Its type.
        kind: String,
        /// Its status.
        status: ConditionStatus,
    },
    /// The object is gone.
    Gone,
}

impl Goal {
    /// Ready.
    pub fn ready() -> Self {
        Self::Condition {
            kind: READY.to_owned(),
            status: ConditionStatus::True,
        }
    }

    /// `condition=Ready`, `condition=Ready=False`, `delete`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} should be condition=TYPE, condition=TYPE=True|False|Unknown, or delete");
        if text == "delete" {
            return Ok(Self::Gone);
        }
        let condition = text
            .strip_prefix("condition=")
            .filter(|rest| !rest.is_empty())
            .ok_or_else(wrong)?;
        let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
        let status = match status.to_ascii_lowercase().as_str() {
            "true" => ConditionStatus::True,
            "false" => ConditionStatus::False,
            "unknown" => ConditionStatus::Unknown,
            _ => return Err(wrong()),
        };
        Ok(Self::Condition {
            kind: kind.to_owned(),
            status,
        })
    }
}

/// How it stands with one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as wanted.
    Met,
    /// Not yet, and how it is.
    NotYet(String),
    /// It can't become so any more: the object is another one now, or something else is wanted of it.
    Superseded(String),
}

/// How it stands with `target`, whose object is `object` now.
pub(super) fn judge(object: Option<&Object>, target: &Target, goal: &Goal) -> Verdict {
    let same = |object: &&Object| target.id.is_none() || object.metadata.id == target.id;
    let Goal::Condition { kind, status } = goal else {
        return match object.filter(same) {
            None => Verdict::Met,
            Some(object) => Verdict::NotYet(blocked(object)),
        };
    };
    let Some(object) = object else {
        return Verdict::Superseded("was deleted".to_owned());
    };
    if !same(&object) {
        return Verdict::Superseded("was deleted and made anew".to_owned());
    }
    let wanted = target.generation.unwrap_or_else(|| object.generation());
    if object.generation() > wanted {
        let now = object.generation();
        let what = if object.is_deleting() {
            "is being deleted"
        } else {
            "was changed"
        };
        return Verdict::Superseded(format!(
            "{what}: generation {now} is wanted of it now, not {wanted}"
        ));
    }
    let conditions = condition::of_status(&object.status);
    match condition::find(&conditions, kind) {
        Some(found) if found.observed_generation < wanted => {
            let observed = found.observed_generation;
            Verdict::NotYet(format!(
                "{kind} is known of generation {observed}, not yet of {wanted}"
            ))
        }
        Some(found) if found.status == *status => Verdict::Met,
        found => {
            let mut reason = found.map_or_else(|| format!("has no condition {kind} yet"), told);
            let stalled = condition::find(&conditions, STALLED).filter(|stalled| {
                stalled.status == ConditionStatus::True && stalled.observed_generation >= wanted
            });
            if let Some(stalled) = stalled {
                reason.push_str(&does_not_go_on(stalled, &reason));
            }
            Verdict::NotYet(reason)
        }
    }
}

/// What is stalled is waited for on: whoever is in the way may go, and then it is Ready without a change of its own. But who
/// waits is to know that it does not go on by itself, and why.
fn does_not_go_on(stalled: &Condition, told: &str) -> String {
    let Condition { reason, message, .. } = stalled;
    let why = if told.contains(reason.as_str()) && told.contains(message.as_str()) {
        String::new()
    } else {
        format!(" ({reason}: {message})")
    };
    format!("; it is stalled and does not go on by itself{why}")
}

fn told(condition: &Condition) -> String {
    let Condition {
        kind,
        status,
        reason,
        message,
        ..
    } = condition;
    let rest = if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    };
    format!("{kind}={} {reason}{rest}", status.as_str())
}

/// What an object that is to go waits for.
fn blocked(object: &Object) -> String {
    let conditions = condition::of_status(&object.status);
    let reason = [DELETION_BLOCKED, READY]
        .into_iter()
        .find_map(|kind| condition::find(&conditions, kind));
    match reason {
        Some(condition) if object.is_deleting() => format!("is being deleted; {}", told(condition)),
        _ if object.is_deleting() => "is being deleted".to_owned(),
        _ => "exists, and nobody has asked for its deletion".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::find_kind;
    use uuid::Uuid;

    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn target(generation: Option<i64>) -> Target {
        Target {
            kind: find_kind("tpwi").unwrap(),
            name: "web".to_owned(),
            id: Some(ID),
            generation,
        }
    }

    fn object(generation: i64, observed: i64, status: &str) -> Object {
        let mut object = Object::new("WorkloadInstance", "web", json!({}));
        object.metadata.id = Some(ID);
        object.metadata.generation = Some(generation);
        object.status = json!({"conditions": [{
            "type": "Ready", "status": status, "reason": "Why", "message": "because", "observedGeneration": observed,
        }]});
        object
    }

    #[test]
    fn ready_counts_only_for_the_generation_that_is_meant() {
        let judged = |object: &Object| judge(Some(object), &target(Some(4)), &Goal::ready());
        assert_eq!(judged(&object(4, 4, "True")), Verdict::Met);
        assert!(
            matches!(judged(&object(4, 3, "True")), Verdict::NotYet(reason) if reason.contains("generation 3"))
        );
        assert_eq!(
            judged(&object(4, 4, "False")),
            Verdict::NotYet("Ready=False Why: because".to_owned())
        );
        assert!(
            matches!(judged(&object(5, 5, "True")), Verdict::Superseded(reason) if reason.contains("was changed"))
        );
    }

    #[test]
    fn another_object_of_the_name_is_not_the_one_that_is_meant() {
        let mut other = object(1, 1, "True");
        other.metadata.id = Some(Uuid::nil());
        let judged = |object, goal: &Goal| judge(object, &target(Some(4)), goal);
        assert!(matches!(
            judged(Some(&other), &Goal::ready()),
            Verdict::Superseded(_)
        ));
        assert!(matches!(judged(None, &Goal::ready()), Verdict::Superseded(_)));
        assert_eq!(judged(Some(&other), &Goal::Gone), Verdict::Met);
        assert_eq!(judged(None, &Goal::Gone), Verdict::Met);
    }

    #[test]
    fn what_does_not_go_on_by_itself_is_told_with_its_reason_and_waited_for() {
        let reason = |object: &Object, goal: &str| {
            let goal = Goal::parse(goal).unwrap();
            match judge(Some(object), &target(Some(4)), &goal) {
                Verdict::NotYet(reason) => reason,
                other => panic!("{other:?}"),
            }
        };
        const READY: &str = "condition=Ready";
        let mut web = object(4, 4, "False");
        assert_eq!(reason(&web, READY), "Ready=False Why: because", "the control");
        let mut stalled = json!({
            "type": "Stalled", "status": "True", "reason": "Why", "message": "because", "observedGeneration": 4,
        });
        let ready = web.status["conditions"][0].clone();
        web.status["conditions"] = json!([ready, stalled]);
        const STALLED: &str = "; it is stalled and does not go on by itself";
        assert_eq!(reason(&web, READY), format!("Ready=False Why: because{STALLED}"));
        let other = reason(&web, "condition=Accepted");
        assert_eq!(
            other,
            format!("has no condition Accepted yet{STALLED} (Why: because)")
        );
        // What stood against the generation before says nothing of this one.
        stalled["observedGeneration"] = json!(3);
        web.status["conditions"] = json!([ready, stalled]);
        assert_eq!(reason(&web, READY), "Ready=False Why: because");
    }

    #[test]
    fn what_a_deletion_waits_for_is_told() {
        let mut object = object(5, 5, "False");
        object.metadata.deletion_requested_at = Some(jiff::Timestamp::UNIX_EPOCH);
        let gone = judge(Some(&object), &target(Some(4)), &Goal::Gone);
        assert_eq!(
            gone,
            Verdict::NotYet("is being deleted; Ready=False Why: because".to_owned())
        );
        let ready = judge(Some(&object), &target(Some(4)), &Goal::ready());
        assert!(matches!(ready, Verdict::Superseded(reason) if reason.contains("is being deleted")));
    }

    #[test]
    fn goals_are_written_as_for_kubectl() {
        assert_eq!(Goal::parse("condition=Ready").unwrap(), Goal::ready());
        assert_eq!(Goal::parse("delete").unwrap(), Goal::Gone);
        let stalled = Goal::Condition {
            kind: "Stalled".to_owned(),
            status: ConditionStatus::False,
        };
        assert_eq!(Goal::parse("condition=Stalled=false").unwrap(), stalled);
        for bad in ["", "ready", "condition=", "condition=Ready=maybe"] {
            assert!(Goal::parse(bad).is_err(), "{bad}");
        }
    }
}
