//! Tables of what a status shows.

use threeport_model::object::Source;
use uuid::Uuid;

use super::*;

const EARLY: &str = "2026-01-01T00:00:00Z";
const LATE: &str = "2026-01-02T00:00:00Z";

fn kind() -> &'static KindDescriptor {
    threeport_model::find_kind("WorkloadInstance").unwrap()
}

fn time(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

fn object(generation: i64, observed: i64, ready: &str) -> Object {
    let mut object = Object::new("WorkloadInstance", "web", json!({"definition": "web"}));
    object.metadata.id = Some(Uuid::from_u128(7));
    object.metadata.generation = Some(generation);
    object.metadata.managed_by = Some(ManagedBy::Kubernetes);
    object.metadata.source = Some(Source {
        uid: "u".to_owned(),
        generation: 1,
    });
    object.status = json!({
        "observedGeneration": observed,
        "runtime": "local",
        "conditions": [{
            "type": "Ready", "status": ready, "reason": "Healthy", "message": "",
            "observedGeneration": observed, "lastTransitionTime": EARLY,
        }],
    });
    object
}

fn show(object: &Object, position: Position, synced: Synced) -> (Value, Vec<Condition>) {
    let view = View {
        kind: kind(),
        object: Some(object),
        position,
        previous: &Value::Null,
        synced,
        deletion_blocked: None,
        deleting: false,
        operation_id: None,
    };
    let status = status(&view, time(LATE));
    let conditions = condition::of_status(&status);
    (status, conditions)
}

fn ready(conditions: &[Condition]) -> (ConditionStatus, &str, i64) {
    let ready = condition::find(conditions, condition::READY).unwrap();
    (ready.status, ready.reason.as_str(), ready.observed_generation)
}

#[test]
fn a_covered_status_is_shown_with_the_resource_s_own_generation() {
    let object = object(57, 57, "True");
    let position = Position {
        resource: 2,
        synced: Some(2),
        database: 57,
        previous: 1,
    };
    let (status, conditions) = show(&object, position, Synced::yes());
    assert_eq!(ready(&conditions), (ConditionStatus::True, "Healthy", 2));
    assert_eq!(status["observedGeneration"], 2);
    assert_eq!(status["runtime"], "local");
    assert_eq!(
        (&status["api"]["generation"], &status["api"]["syncedGeneration"]),
        (&json!(57), &json!(2))
    );
    let synced = condition::find(&conditions, condition::SYNCED).unwrap();
    assert_eq!(
        (synced.status, synced.observed_generation),
        (ConditionStatus::True, 2)
    );
}

#[test]
fn ready_is_never_true_for_what_is_not_covered() {
    for (what, object, position) in [
        (
            "edited, not yet sent",
            object(57, 57, "True"),
            Position {
                resource: 3,
                synced: Some(2),
                database: 57,
                previous: 2,
            },
        ),
        (
            "sent, not yet observed",
            object(58, 57, "True"),
            Position {
                resource: 3,
                synced: Some(3),
                database: 58,
                previous: 2,
            },
        ),
        (
            "another incarnation",
            object(57, 57, "True"),
            Position {
                resource: 1,
                synced: None,
                database: 57,
                previous: 0,
            },
        ),
    ] {
        let (status, conditions) = show(&object, position, Synced::yes());
        assert_eq!(
            ready(&conditions),
            (ConditionStatus::False, "Progressing", position.resource),
            "{what}"
        );
        assert!(
            status["observedGeneration"].as_i64().unwrap() < position.resource,
            "{what}"
        );
    }
}

#[test]
fn what_the_api_refused_is_stalled_and_not_ready() {
    let object = object(57, 57, "True");
    let position = Position {
        resource: 3,
        synced: Some(2),
        database: 57,
        previous: 2,
    };
    let synced = Synced {
        stalled: true,
        ..Synced::no("Invalid", "spec.runtyme: unknown field")
    };
    let (_, conditions) = show(&object, position, synced);
    assert_eq!(ready(&conditions), (ConditionStatus::False, "Invalid", 3));
    let stalled = condition::find(&conditions, condition::STALLED).unwrap();
    assert_eq!(
        (stalled.status, stalled.message.as_str()),
        (ConditionStatus::True, "spec.runtyme: unknown field")
    );
}

#[test]
fn what_the_api_refused_is_not_called_reconciling_for_what_was_there_before() {
    let mut object = object(57, 57, "False");
    let reconciling = json!({
        "type": "Reconciling", "status": "True", "reason": "Progressing", "message": "",
        "observedGeneration": 57, "lastTransitionTime": EARLY,
    });
    object.status["conditions"]
        .as_array_mut()
        .unwrap()
        .push(reconciling);
    let position = Position {
        resource: 3,
        synced: Some(2),
        database: 57,
        previous: 2,
    };
    let is_reconciling = |synced: Synced| {
        let (_, conditions) = show(&object, position, synced);
        condition::find(&conditions, condition::RECONCILING).is_some()
    };
    let refused = Synced {
        stalled: true,
        ..Synced::no("Invalid", "spec.runtyme: unknown field")
    };
    assert!(!is_reconciling(refused), "kstatus waits for its end");
    assert!(is_reconciling(Synced::yes()), "positive control");
}

#[test]
fn times_come_from_the_database_and_stay_where_nothing_changed() {
    let object = object(1, 1, "True");
    let position = Position {
        resource: 1,
        synced: Some(1),
        database: 1,
        previous: 0,
    };
    let (first, conditions) = show(&object, position, Synced::yes());
    assert_eq!(
        condition::find(&conditions, condition::READY)
            .unwrap()
            .last_transition_time,
        Some(time(EARLY))
    );
    let view = View {
        kind: kind(),
        object: Some(&object),
        position,
        previous: &first,
        synced: Synced::yes(),
        deletion_blocked: None,
        deleting: false,
        operation_id: Some("another".to_owned()),
    };
    let second = status(&view, time("2026-01-03T00:00:00Z"));
    assert!(same_status(&first, &second), "{first}\n{second}");
}

#[test]
fn a_blocked_deletion_names_the_referrer() {
    let object = object(1, 1, "True");
    let position = Position {
        resource: 2,
        synced: Some(1),
        database: 1,
        previous: 1,
    };
    let view = View {
        kind: kind(),
        object: Some(&object),
        position,
        previous: &Value::Null,
        synced: Synced::yes(),
        deletion_blocked: Some(Blocked {
            reason: "Referenced".to_owned(),
            message: "referred to by WorkloadInstance/web".to_owned(),
        }),
        deleting: true,
        operation_id: None,
    };
    let conditions = condition::of_status(&status(&view, time(LATE)));
    let blocked = condition::find(&conditions, condition::DELETION_BLOCKED).unwrap();
    assert_eq!(blocked.message, "referred to by WorkloadInstance/web");
    assert_eq!(ready(&conditions).1, "Deleting");
}

/// A resource that is being deleted, and so is its object: what its status says.
fn going(ready: &str, reason: &str, message: &str) -> Vec<Condition> {
    let mut object = object(2, 2, ready);
    object.metadata.deletion_requested_at = Some(time(EARLY));
    object.status["conditions"][0]["reason"] = json!(reason);
    object.status["conditions"][0]["message"] = json!(message);
    let position = Position {
        resource: 2,
        synced: Some(1),
        database: 2,
        previous: 1,
    };
    let view = View {
        kind: kind(),
        object: Some(&object),
        position,
        previous: &Value::Null,
        synced: Synced::yes(),
        deletion_blocked: None,
        deleting: true,
        operation_id: None,
    };
    condition::of_status(&status(&view, time(LATE)))
}

#[test]
fn a_deletion_shows_what_its_controller_waits_for() {
    let message = "waiting for Namespace web to be gone: its finalizers are kubernetes";
    let conditions = going("False", "Deleting", message);
    assert_eq!(ready(&conditions), (ConditionStatus::False, "Deleting", 2));
    assert_eq!(
        condition::find(&conditions, condition::READY).unwrap().message,
        message
    );
    let conditions = going("Unknown", "RuntimeUnreachable", "no route to the cluster");
    assert_eq!(
        ready(&conditions),
        (ConditionStatus::False, "RuntimeUnreachable", 2)
    );
}

#[test]
fn a_deletion_that_its_controller_did_not_see_yet_is_not_called_ready() {
    let conditions = going("True", "Healthy", "");
    assert_eq!(ready(&conditions), (ConditionStatus::False, "Deleting", 2));
}

#[test]
fn a_refusal_is_observed_for_kstatus_and_waiting_is_not() {
    let object = object(57, 57, "True");
    let position = Position {
        resource: 3,
        synced: Some(2),
        database: 57,
        previous: 2,
    };
    let refused = Synced {
        stalled: true,
        ..Synced::no("OwnedBy", "the API owns it")
    };
    assert_eq!(show(&object, position, refused).0["observedGeneration"], 3);
    let waiting = Synced::no("WaitingForReference", "WorkloadDefinition/web does not exist");
    assert_eq!(show(&object, position, waiting).0["observedGeneration"], 2);
}

#[test]
fn ready_is_never_true_where_the_database_does_not_have_it() {
    let object = object(57, 57, "True");
    let position = Position {
        resource: 2,
        synced: Some(2),
        database: 57,
        previous: 2,
    };
    let (_, conditions) = show(&object, position, Synced::no("PreconditionFailed", "older"));
    assert_eq!(
        ready(&conditions),
        (ConditionStatus::False, "PreconditionFailed", 2)
    );
}

fn covered() -> Position {
    Position {
        resource: 1,
        synced: Some(1),
        database: 1,
        previous: 0,
    }
}

#[test]
fn a_status_keeps_to_its_budget_and_what_matters_most_stays() {
    let mut object = object(1, 1, "True");
    let entries = |name: &str| -> Vec<_> { (0..500).map(|index| json!(format!("{name}-{index}"))).collect() };
    object.status["resources"] = json!(entries("resource"));
    object.status["worst"] = json!(entries("worst"));
    object.status["conditions"][0]["message"] = json!("m".repeat(50_000));
    let (status, _) = show(&object, covered(), Synced::yes());
    assert!(status.to_string().len() <= BUDGET, "{}", status.to_string().len());
    for list in ["resources", "worst"] {
        let list = status[list].as_array().unwrap();
        assert!(
            list.len() > 4 && list[0].as_str().unwrap().ends_with("-0"),
            "{list:?}"
        );
    }
    assert_eq!(status["runtime"], "local");
}

#[test]
fn a_refusal_with_many_errors_keeps_to_the_budget() {
    let refused = Synced {
        stalled: true,
        ..Synced::no("Invalid", "spec.manifests: wrong; ".repeat(10_000))
    };
    let (status, conditions) = show(&object(1, 1, "True"), covered(), refused);
    assert!(status.to_string().len() <= BUDGET, "{}", status.to_string().len());
    let synced = condition::find(&conditions, condition::SYNCED).unwrap();
    assert!(synced.message.starts_with("spec.manifests: wrong; "));
}

#[test]
fn what_moves_by_itself_is_left_to_rest() {
    let kind = threeport_model::find_kind("KubernetesRuntimeInstance").unwrap();
    let mut object = object(1, 1, "True");
    object.status["agent"] = json!({"version": "1", "lastSeen": EARLY});
    let view = View {
        kind,
        object: Some(&object),
        position: covered(),
        previous: &Value::Null,
        synced: Synced::yes(),
        deletion_blocked: None,
        deleting: false,
        operation_id: None,
    };
    assert_eq!(status(&view, time(LATE))["agent"], json!({"version": "1"}));
}
