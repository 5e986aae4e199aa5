//! What may have destroyed something in a target, by its audit log: deletions, and every write by what it says, since a
//! write that leaves a field out removes it. Two runs of one script are compared: what only the second one did was not
//! asked for by the script.
//!
//! The log must have what requests carry (`ControlPlaneOptions::audit_bodies`). Names must not be used twice in a script:
//! then an object that was deleted twice, under two uids, was deleted once too often.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::audit::Entry;

/// What was done, and to which objects by uid.
pub type Calls = BTreeMap<String, BTreeSet<String>>;

/// What the users of a control plane's namespace did with success.
pub fn calls(entries: &[Entry], namespace: &str) -> Calls {
    let mut calls = Calls::new();
    for entry in entries {
        if entry.is_write() && entry.succeeded() && entry.is_by(namespace) {
            let (call, uid) = call(entry);
            calls.entry(call).or_default().insert(uid);
        }
    }
    calls
}

/// What `run` has and `other` has not: other calls, or the same on more objects.
pub fn beyond(run: &Calls, other: &Calls) -> Vec<String> {
    let known = |call: &String| other.get(call).map_or(0, BTreeSet::len);
    run.iter()
        .filter(|(call, uids)| uids.len() > known(call))
        .map(|(call, uids)| format!("{call}: {} of {uids:?}", known(call)))
        .collect()
}

fn call(entry: &Entry) -> (String, String) {
    let object = entry.object_ref.clone().unwrap_or_default();
    let mut body = entry.request_object.clone().unwrap_or_default();
    let target = format!(
        "{} {}.{} {} {}/{}",
        entry.verb, object.resource, object.api_group, object.subresource, object.namespace, object.name
    );
    if entry.verb.starts_with("delete") {
        let uid = body.pointer("/preconditions/uid").and_then(Value::as_str);
        return (target, uid.unwrap_or("any uid").to_owned());
    }
    forget_run(&mut body);
    (format!("{target} {body}"), String::new())
}

/// Takes off what differs between two runs of one script.
fn forget_run(body: &mut Value) {
    let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for field in ["uid", "resourceVersion", "managedFields"] {
        metadata.remove(field);
    }
    for map in ["labels", "annotations"] {
        let entries = metadata.get_mut(map).and_then(Value::as_object_mut);
        for (name, value) in entries.into_iter().flatten() {
            // Ids, and hashes that are keyed where they are of Secrets; one that is taken off is null and stays.
            if name.starts_with("threeport.io/") && value.is_string() {
                *value = Value::from("own");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(verb: &str, user: &str, code: u16, body: &Value) -> Entry {
        let entry = json!({
            "stage": "ResponseComplete", "stageTimestamp": "2026-01-01T00:00:00Z", "verb": verb, "user": {"username": user},
            "objectRef": {"resource": "configmaps", "namespace": "web", "name": "config"},
            "responseStatus": {"code": code}, "requestObject": body,
        });
        serde_json::from_value(entry).unwrap()
    }

    const US: &str = "system:serviceaccount:ours:workloads";

    fn of(entries: &[Entry]) -> Calls {
        calls(entries, "ours")
    }

    #[test]
    fn a_deletion_that_the_other_run_lacks_is_found() {
        let delete = |uid: &str| entry("delete", US, 200, &json!({"preconditions": {"uid": uid}}));
        let once = of(&[delete("a"), delete("a")]);
        assert_eq!(beyond(&once, &of(&[delete("x")])), Vec::<String>::new());
        assert_eq!(beyond(&once, &of(&[])).len(), 1);
        let twice = of(&[delete("a"), delete("b")]);
        assert_eq!(beyond(&twice, &once).len(), 1, "two objects of one name");
    }

    #[test]
    fn a_write_that_says_less_is_found_and_ids_don_t_matter() {
        let apply = |id: &str, data: &Value| {
            let body =
                json!({"metadata": {"uid": id, "labels": {"threeport.io/instance": id}}, "data": data});
            entry("patch", US, 200, &body)
        };
        let whole = of(&[apply("1", &json!({"a": "b"}))]);
        assert!(beyond(&of(&[apply("2", &json!({"a": "b"}))]), &whole).is_empty());
        assert_eq!(beyond(&of(&[apply("2", &json!({}))]), &whole).len(), 1);
        let strips = json!({"metadata": {"labels": {"threeport.io/instance": null}}});
        assert_eq!(beyond(&of(&[entry("patch", US, 200, &strips)]), &whole).len(), 1);
    }

    #[test]
    fn what_others_did_or_what_failed_does_not_count() {
        let delete = |user: &str, code| entry("delete", user, code, &Value::Null);
        let calls = of(&[delete("kubectl", 200), delete(US, 409), delete(US, 404)]);
        assert!(calls.is_empty(), "{calls:?}");
    }
}
