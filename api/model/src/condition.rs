//! Conditions in the Kubernetes form (KEP-1623), and the reasons that more than one part uses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// `Ready` sums up.
pub const READY: &str = "Ready";
/// A definition is valid: what references wait for.
pub const ACCEPTED: &str = "Accepted";
/// kstatus: present and True while the world is being changed.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: present and True when work can't go on by itself.
pub const STALLED: &str = "Stalled";
/// Only on custom resources: does the database have what you see.
pub const SYNCED: &str = "Synced";
/// A field that was healed five times in ten minutes; the message names the other manager.
pub const FIGHTING: &str = "Fighting";
/// There are objects of an instance of which the database has no record; the message names them.
pub const UNRECORDED: &str = "Unrecorded";
/// An object that is being deleted says what it waits for.
pub const DELETION_BLOCKED: &str = "DeletionBlocked";

/// What sums up how an object is. Who says it says all of it anew: what does not hold is left out.
pub const SUMMARY: [&str; 3] = [READY, RECONCILING, STALLED];

/// The reason of what is being worked on.
pub const PROGRESSING: &str = "Progressing";

/// True, False or Unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows right now.
    #[default]
    Unknown,
}

impl ConditionStatus {
    /// The word that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Unique within its object.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// CamelCase, for programs.
    pub reason: String,
    /// For people: what, on what, why, what to do next.
    #[serde(default)]
    pub message: String,
    /// The generation that the condition speaks about.
    #[serde(default)]
    pub observed_generation: i64,
    /// When `status` last changed. Taken from the previous condition where it did not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_transition_time: Option<jiff::Timestamp>,
}

impl Condition {
    /// A condition without a transition time; [`merge`] sets it.
    pub fn new(
        kind: &str,
        status: ConditionStatus,
        reason: impl Into<String>,
        message: impl Into<String>,
        observed_generation: i64,
    ) -> Self {
        Self {
            kind: kind.to_owned(),
            status,
            reason: reason.into(),
            message: message.into(),
            observed_generation,
            last_transition_time: None,
        }
    }
}

/// The condition of that type, if there is one.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// The desired conditions with the transition times that follow from the previous ones: unchanged where the
/// status is, `now` where it changed. Sorted by type, so that equal states are equal bytes.
pub fn merge(previous: &[Condition], mut desired: Vec<Condition>, now: jiff::Timestamp) -> Vec<Condition> {
    for condition in &mut desired {
        condition.last_transition_time = match find(previous, &condition.kind) {
            Some(old) if old.status == condition.status => old.last_transition_time.or(Some(now)),
            _ => Some(now),
        };
    }
    desired.sort_by(|left, right| left.kind.cmp(&right.kind));
    desired
}

/// The conditions of a status; one that can't be read is left out, and no other with it.
pub fn of_status(status: &Value) -> Vec<Condition> {
    let all = status.get("conditions").and_then(Value::as_array);
    let all = all.into_iter().flatten();
    all.filter_map(|one| Condition::deserialize(one).ok()).collect()
}

/// What was said `before` with `said` in the place of the conditions of the types `about`; the others stay. Times and
/// order are those of [`merge`].
pub fn replace(
    before: &[Condition],
    about: &[&str],
    said: Vec<Condition>,
    now: jiff::Timestamp,
) -> Vec<Condition> {
    let others = before.iter().filter(|one| !about.contains(&one.kind.as_str()));
    let desired = said.into_iter().chain(others.cloned()).collect();
    merge(before, desired, now)
}

/// [`replace`]s the conditions of a status, whose other fields stay; what is no status becomes one.
pub fn say(status: &mut Value, about: &[&str], said: Vec<Condition>, now: jiff::Timestamp) {
    if !status.is_object() {
        *status = json!({});
    }
    status["conditions"] = json!(replace(&of_status(status), about, said, now));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_cannot_be_read_hides_no_other() {
        let good = |kind: &str| json!({"type": kind, "status": "True", "reason": "R"});
        for bad in [
            json!({"type": "Ready", "status": "Perhaps", "reason": "R"}),
            json!(7),
        ] {
            let status = json!({"conditions": [good("Accepted"), bad, good("Synced")]});
            let found = of_status(&status);
            let kinds: Vec<_> = found.iter().map(|one| one.kind.as_str()).collect();
            assert_eq!(kinds, [ACCEPTED, SYNCED]);
        }
        for none in [json!({}), Value::Null, json!({"conditions": "Ready"}), json!([])] {
            assert!(of_status(&none).is_empty(), "{none}");
        }
    }

    #[test]
    fn what_is_said_takes_the_place_of_its_own_types_and_the_others_stay() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let one = |kind: &str, status: &str, reason: &str, time: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": "", "observedGeneration": 3,
                "lastTransitionTime": time})
        };
        let mut status = json!({"namespace": "web", "conditions": [
            one("Stalled", "True", "Old", early), {"type": "Synced", "status": "Perhaps", "reason": "R"},
            one("Ready", "False", "Old", early), one("Fighting", "True", "Old", early),
        ]});
        let said = |kind, status| Condition::new(kind, status, "New", "", 3);
        let all = vec![
            said(RECONCILING, ConditionStatus::True),
            said(READY, ConditionStatus::False),
        ];
        say(&mut status, &SUMMARY, all, late.parse().unwrap());
        let expected = json!({"namespace": "web", "conditions": [
            one("Fighting", "True", "Old", early), one("Ready", "False", "New", early),
            one("Reconciling", "True", "New", late),
        ]});
        assert_eq!(status, expected);

        let mut none = Value::Null;
        let all = vec![said(READY, ConditionStatus::True)];
        say(&mut none, &[READY], all, late.parse().unwrap());
        assert_eq!(none, json!({"conditions": [one("Ready", "True", "New", late)]}));
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let early: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let late: jiff::Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let first = merge(
            &[],
            vec![Condition::new(READY, ConditionStatus::False, "A", "", 1)],
            early,
        );
        let same = merge(
            &first,
            vec![Condition::new(READY, ConditionStatus::False, "B", "", 2)],
            late,
        );
        assert_eq!(same[0].last_transition_time, Some(early));
        let changed = merge(
            &same,
            vec![Condition::new(READY, ConditionStatus::True, "C", "", 2)],
            late,
        );
        assert_eq!(changed[0].last_transition_time, Some(late));
    }
}
