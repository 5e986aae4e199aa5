//! What is to be done with a custom resource that is not a mirror. Pure.

use std::collections::BTreeMap;

use kube::{ResourceExt, core::DynamicObject};
use threeport_model::{GROUP, ManagedBy, Object, find_kind};

use crate::resource;

/// Annotations of Kubernetes' own tools: bookkeeping, and for kubectl a copy of the whole document.
const TOOLS: &str = "kubectl.kubernetes.io/";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing at all.
    Leave,
    /// Put our finalizer on, then send.
    Hold,
    /// Bring the desired state to the API.
    Send,
    /// The API has it: only the status may differ.
    Show,
    /// It is being deleted, and the API has an object of it.
    Remove,
    /// Take our finalizer off.
    Release,
}

/// Decides. `closing`: the namespace is terminating.
pub(crate) fn plan(found: &DynamicObject, object: Option<&Object>, closing: bool) -> Action {
    let held = resource::has_finalizer(found);
    match (closing, resource::is_deleting(found)) {
        (true, _) if held => Action::Release,
        (true, _) => Action::Leave,
        (false, true) if !held => Action::Leave,
        (false, true) if object.is_some_and(|object| is_of(object, found)) => Action::Remove,
        (false, true) => Action::Release,
        (false, false) if !held => Action::Hold,
        (false, false) if object.is_some_and(|object| has_all_of(object, found)) => Action::Show,
        (false, false) => Action::Send,
    }
}

/// Whether the object was taken from this very resource.
pub(crate) fn is_of(object: &Object, found: &DynamicObject) -> bool {
    object.metadata.managed_by == Some(ManagedBy::Kubernetes)
        && object
            .metadata
            .source
            .as_ref()
            .is_some_and(|source| source.uid == resource::uid(found))
}

fn has_all_of(object: &Object, found: &DynamicObject) -> bool {
    let generation = object.metadata.source.as_ref().map(|source| source.generation);
    is_of(object, found)
        && !object.is_deleting()
        && generation == Some(resource::generation(found))
        && has_metadata_of(object, found)
        && is_same_state(object, found)
}

/// Whether the object was taken from this state of the resource, whose generation it has. An edit after a restore of the
/// cluster's etcd may get the number of another state, which the object was taken from before.
fn is_same_state(object: &Object, found: &DynamicObject) -> bool {
    resource::is_synced(found)
        || find_kind(&object.kind)
            .and_then(|kind| (kind.normalize)(resource::spec(found)).ok())
            .is_some_and(|spec| resource::same(&spec, &object.spec))
}

/// Whether the object has the labels and annotations that the API gets of the resource.
pub(crate) fn has_metadata_of(object: &Object, found: &DynamicObject) -> bool {
    object.metadata.labels == labels(found) && object.metadata.annotations == annotations(found)
}

/// The labels that the API gets: all but those that the control plane sets itself.
pub(crate) fn labels(found: &DynamicObject) -> BTreeMap<String, String> {
    without_ours(found.labels())
}

/// The annotations that the API gets.
pub(crate) fn annotations(found: &DynamicObject) -> BTreeMap<String, String> {
    let mut all = without_ours(found.annotations());
    all.retain(|key, _| !key.starts_with(TOOLS));
    all
}

fn without_ours(all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let ours = |key: &str| key.split_once('/').is_some_and(|(prefix, _)| prefix == GROUP);
    let theirs = all.iter().filter(|(key, _)| !ours(key));
    theirs.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
    use serde_json::json;
    use threeport_model::{identity, object::Source};

    use super::*;

    fn found(held: bool, deleting: bool) -> DynamicObject {
        let mut found = DynamicObject::new("web", &resource::api_resource(find_kind("tpwd").unwrap()));
        found.metadata.uid = Some("u".to_owned());
        found.metadata.generation = Some(4);
        found.metadata.finalizers = held.then(|| vec![identity::FINALIZER.to_owned()]);
        found.metadata.deletion_timestamp = deleting.then_some(Time(Timestamp::UNIX_EPOCH));
        found.data = json!({"status": {"api": {"syncedGeneration": 4}}});
        found
    }

    fn object(managed_by: ManagedBy, uid: &str, generation: i64) -> Object {
        let mut object = Object::new("WorkloadDefinition", "web", json!({}));
        object.metadata.managed_by = Some(managed_by);
        object.metadata.source = Some(Source {
            uid: uid.to_owned(),
            generation,
        });
        object
    }

    #[test]
    fn a_living_resource_is_held_sent_and_shown() {
        let synced = object(ManagedBy::Kubernetes, "u", 4);
        let mut going = synced.clone();
        going.metadata.deletion_requested_at = Some(jiff::Timestamp::UNIX_EPOCH);
        for (what, held, object, expected) in [
            ("new", false, None, Action::Hold),
            (
                "new, after our finalizer was taken off",
                false,
                Some(&synced),
                Action::Hold,
            ),
            ("held, not in the database", true, None, Action::Send),
            ("in the database", true, Some(&synced), Action::Show),
            (
                "edited",
                true,
                Some(&object(ManagedBy::Kubernetes, "u", 3)),
                Action::Send,
            ),
            (
                "made anew",
                true,
                Some(&object(ManagedBy::Kubernetes, "old", 4)),
                Action::Send,
            ),
            (
                "the name is the API's",
                true,
                Some(&object(ManagedBy::Api, "u", 4)),
                Action::Send,
            ),
            (
                "the object of before is still going",
                true,
                Some(&going),
                Action::Send,
            ),
        ] {
            assert_eq!(plan(&found(held, false), object, false), expected, "{what}");
        }
    }

    #[test]
    fn labels_and_annotations_are_sent_too_but_not_the_tools_own() {
        let mut object = object(ManagedBy::Kubernetes, "u", 4);
        let mut found = found(true, false);
        found.annotations_mut().insert(
            "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
            "{}".to_owned(),
        );
        assert_eq!(plan(&found, Some(&object), false), Action::Show);
        found.labels_mut().insert("team".to_owned(), "web".to_owned());
        assert_eq!(plan(&found, Some(&object), false), Action::Send);
        object.metadata.labels = found.labels().clone();
        // The API leaves these out, so sending them again would never end.
        found
            .labels_mut()
            .insert("threeport.io/own".to_owned(), "x".to_owned());
        found
            .annotations_mut()
            .insert("threeport.io/own".to_owned(), "x".to_owned());
        assert_eq!(plan(&found, Some(&object), false), Action::Show);
        found.annotations_mut().insert("note".to_owned(), "x".to_owned());
        assert_eq!(plan(&found, Some(&object), false), Action::Send);
    }

    #[test]
    fn an_edit_that_has_the_number_of_another_state_is_sent() {
        let spec = |name: &str| {
            let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            json!({"manifests": [manifest]})
        };
        let mut object = object(ManagedBy::Kubernetes, "u", 4);
        object.spec = spec("stored");
        for (what, shown, synced, expected) in [
            ("its status is of before", "edited", 3, Action::Send),
            ("its status was not written", "stored", 3, Action::Show),
            ("a Secret is not stored as it is", "written", 4, Action::Show),
        ] {
            let mut found = found(true, false);
            found.data = json!({"spec": spec(shown), "status": {"api": {"syncedGeneration": synced}}});
            assert_eq!(plan(&found, Some(&object), false), expected, "{what}");
        }
    }

    #[test]
    fn a_deletion_reaches_only_the_object_of_this_resource() {
        for (what, held, object, expected) in [
            (
                "never held",
                false,
                Some(object(ManagedBy::Kubernetes, "u", 4)),
                Action::Leave,
            ),
            (
                "ours",
                true,
                Some(object(ManagedBy::Kubernetes, "u", 4)),
                Action::Remove,
            ),
            ("gone", true, None, Action::Release),
            (
                "another incarnation's",
                true,
                Some(object(ManagedBy::Kubernetes, "new", 1)),
                Action::Release,
            ),
            (
                "taken over by the API",
                true,
                Some(object(ManagedBy::Api, "u", 4)),
                Action::Release,
            ),
        ] {
            assert_eq!(
                plan(&found(held, true), object.as_ref(), false),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn a_namespace_that_goes_is_let_go_and_nothing_is_deleted_with_it() {
        let synced = object(ManagedBy::Kubernetes, "u", 4);
        for deleting in [true, false] {
            assert_eq!(plan(&found(true, deleting), Some(&synced), true), Action::Release);
            assert_eq!(plan(&found(false, deleting), Some(&synced), true), Action::Leave);
        }
    }
}
