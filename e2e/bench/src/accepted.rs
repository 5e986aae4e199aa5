//! What the audit log says: when applies were accepted, and when custom resources were written. Pure.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use threeport_e2e::audit::Entry;

use crate::objects::RESOURCES;

/// Whose requests count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Applier<'a> {
    /// The control plane of that namespace, whomever it impersonates.
    ControlPlane(&'a str),
    /// The loop: the user of the testbed's kubeconfig.
    Loop,
}

/// The user of the testbed's kubeconfig.
const ADMINISTRATOR: &str = "testbed-admin";

impl Applier<'_> {
    fn made(self, entry: &Entry) -> bool {
        match self {
            Self::ControlPlane(namespace) => entry.is_by(namespace),
            Self::Loop => entry.user.username == ADMINISTRATOR && entry.impersonated_user.is_none(),
        }
    }
}

/// The accepted applies of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) count: usize,
    pub(crate) last: Timestamp,
}

/// The applies that were answered with `code` (201: it created; 200: it changed), by instance. An instance is known by
/// its namespace, whose name is its own.
pub(crate) fn applies(
    entries: &[Entry],
    applier: Applier<'_>,
    prefix: &str,
    code: u16,
) -> BTreeMap<String, Accepted> {
    let mut found: BTreeMap<String, Accepted> = BTreeMap::new();
    for entry in entries {
        let at = entry.stage_timestamp;
        let Some(object) = entry.object_ref.as_ref() else {
            continue;
        };
        let instance = if object.namespace.is_empty() {
            &object.name
        } else {
            &object.namespace
        };
        let counts = entry.verb == "patch"
            && entry
                .response_status
                .as_ref()
                .is_some_and(|status| status.code == code)
            && object.subresource.is_empty()
            && RESOURCES.contains(&object.resource.as_str())
            && instance.starts_with(prefix)
            && applier.made(entry);
        if counts {
            let accepted = found
                .entry(instance.clone())
                .or_insert(Accepted { count: 0, last: at });
            accepted.count += 1;
            accepted.last = accepted.last.max(at);
        }
    }
    found
}

/// When the last apply was accepted, if there were exactly `each` for each of `instances` instances.
pub(crate) fn end(found: &BTreeMap<String, Accepted>, instances: usize, each: usize) -> Result<Timestamp> {
    ensure!(
        found.len() == instances,
        "the audit log has accepted applies of {} instances instead of {instances}",
        found.len()
    );
    if let Some((name, accepted)) = found.iter().find(|(_, accepted)| accepted.count != each) {
        anyhow::bail!(
            "the audit log has {} accepted applies of {name} instead of {each}",
            accepted.count
        );
    }
    Ok(found
        .values()
        .map(|accepted| accepted.last)
        .max()
        .unwrap_or(Timestamp::MIN))
}

/// When the status of custom resources was first written by the facade, by name.
pub(crate) fn first_status(entries: &[Entry], namespace: &str, plural: &str) -> BTreeMap<String, Timestamp> {
    first(entries, namespace, plural, |verb, subresource, code| {
        matches!(verb, "patch" | "update") && subresource == "status" && code == 200
    })
}

/// When custom resources were made by the facade, by name, as far as the log names them.
pub(crate) fn made(entries: &[Entry], namespace: &str, plural: &str) -> BTreeMap<String, Timestamp> {
    first(entries, namespace, plural, |verb, subresource, code| {
        verb == "create" && subresource.is_empty() && code == 201
    })
}

/// The first requests of the facade, of whose verb, subresource and code `counts` says so.
fn first(
    entries: &[Entry],
    namespace: &str,
    plural: &str,
    counts: impl Fn(&str, &str, u16) -> bool,
) -> BTreeMap<String, Timestamp> {
    let facade = format!("system:serviceaccount:{namespace}:threeport-facade");
    let mut found = BTreeMap::new();
    for entry in entries {
        let at = entry.stage_timestamp;
        let (Some(object), Some(status)) = (entry.object_ref.as_ref(), entry.response_status.as_ref()) else {
            continue;
        };
        if counts(&entry.verb, &object.subresource, status.code)
            && object.resource == plural
            && entry.user.username == facade
        {
            found.entry(object.name.clone()).or_insert(at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OURS: &str = "system:serviceaccount:threeport-system:threeport-controllers";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn entry(second: i64, code: u16, object: &Value) -> Value {
        json!({"verb": "patch", "stage": "ResponseComplete", "user": {"username": OURS},
            "impersonatedUser": {"username": "system:serviceaccount:threeport-system:threeport-workloads"},
            "objectRef": object, "responseStatus": {"code": code}, "stageTimestamp": at(second)})
    }

    fn read(entries: Vec<Value>) -> Vec<Entry> {
        entries
            .into_iter()
            .map(|entry| serde_json::from_value(entry).unwrap())
            .collect()
    }

    fn namespace(name: &str) -> Value {
        json!({"resource": "namespaces", "name": name})
    }

    fn within(namespace: &str, resource: &str) -> Value {
        json!({"resource": resource, "namespace": namespace, "name": "web"})
    }

    #[test]
    fn an_instance_s_applies_are_counted_and_the_last_ends_it() {
        let entries = read(vec![
            entry(1, 201, &namespace("burst-0-a")),
            entry(5, 201, &within("burst-0-a", "deployments")),
            entry(3, 201, &within("burst-0-a", "configmaps")),
        ]);
        let found = applies(
            &entries,
            Applier::ControlPlane("threeport-system"),
            "burst-0-",
            201,
        );
        assert_eq!(
            found["burst-0-a"],
            Accepted {
                count: 3,
                last: at(5)
            }
        );
        assert_eq!(end(&found, 1, 3).unwrap(), at(5));
        assert!(end(&found, 2, 3).is_err(), "an instance is missing");
        assert!(end(&found, 1, 4).is_err(), "an apply is missing");
    }

    #[test]
    fn what_did_not_create_or_is_somebody_else_s_does_not_count() {
        let mut foreign = entry(2, 201, &namespace("burst-0-a"));
        foreign["user"]["username"] = json!("system:serviceaccount:other:threeport-controllers");
        foreign["impersonatedUser"] = Value::Null;
        let mut created = entry(2, 201, &namespace("burst-0-a"));
        created["verb"] = json!("create");
        let mut status = within("burst-0-a", "deployments");
        status["subresource"] = json!("status");
        let entries = read(vec![
            foreign,
            created,
            entry(2, 200, &namespace("burst-0-a")),
            entry(2, 409, &namespace("burst-0-a")),
            entry(2, 201, &namespace("burst-1-a")),
            entry(2, 201, &within("burst-0-a", "secrets")),
            entry(2, 201, &status),
        ]);
        let found = applies(
            &entries,
            Applier::ControlPlane("threeport-system"),
            "burst-0-",
            201,
        );
        assert!(found.is_empty(), "{found:?}");
        let changed = applies(
            &entries,
            Applier::ControlPlane("threeport-system"),
            "burst-0-",
            200,
        );
        assert_eq!(changed.len(), 1);
    }

    #[test]
    fn the_loop_is_the_administrator_himself() {
        let mut own = entry(2, 201, &namespace("loop-0-a"));
        own["user"]["username"] = json!(ADMINISTRATOR);
        let impersonated = own.clone();
        own["impersonatedUser"] = Value::Null;
        let found = |entry: &Value| applies(&read(vec![entry.clone()]), Applier::Loop, "loop-", 201).len();
        assert_eq!((found(&own), found(&impersonated)), (1, 0));
    }

    #[test]
    fn the_first_write_of_a_status_counts_and_only_the_facade_s() {
        let object = json!({"resource": "workloadinstances", "subresource": "status", "name": "a"});
        let by = |user: &str, second: i64, verb: &str| {
            let mut entry = entry(second, 200, &object);
            entry["user"]["username"] = json!(user);
            entry["verb"] = json!(verb);
            entry
        };
        let facade = "system:serviceaccount:threeport-system:threeport-facade";
        let entries = read(vec![
            by(OURS, 1, "update"),
            by(facade, 4, "update"),
            by(facade, 7, "patch"),
        ]);
        let found = first_status(&entries, "threeport-system", "workloadinstances");
        assert_eq!(found, BTreeMap::from([("a".to_owned(), at(4))]));
        assert!(made(&entries, "threeport-system", "workloadinstances").is_empty());
        let mut created = entry(3, 201, &json!({"resource": "workloadinstances", "name": "a"}));
        created["user"]["username"] = json!(facade);
        created["verb"] = json!("create");
        let found = made(&read(vec![created]), "threeport-system", "workloadinstances");
        assert_eq!(found, BTreeMap::from([("a".to_owned(), at(3))]));
    }
}
