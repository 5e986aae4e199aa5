//! What is to be done for an object whose custom resource is, or should be, made by us. Pure.

use kube::{ResourceExt, core::DynamicObject};
use threeport_model::{ManagedBy, Object};

use super::project;
use crate::resource;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing at all.
    Leave,
    /// Make the resource: a mirror, or again one that Kubernetes managed and lost.
    Create,
    /// Bring specification, labels, annotations and finalizers to what they should be.
    Update,
    /// Only the status may differ.
    Status,
    /// Remove this very resource.
    Delete,
}

/// Decides. `closing`: the namespace is terminating. `selected`: whether an object is to be mirrored.
pub(crate) fn plan(
    found: Option<&DynamicObject>,
    object: Option<&Object>,
    selected: impl Fn(&Object) -> bool,
    closing: bool,
) -> Action {
    if closing {
        return Action::Leave;
    }
    let wanted = object.filter(|object| is_kubernetes(object) || selected(object));
    match (found, wanted) {
        (None, None) => Action::Leave,
        (None, Some(object)) if object.is_deleting() => Action::Leave,
        (None, Some(_)) => Action::Create,
        (Some(found), _) if resource::is_deleting(found) => Action::Leave,
        (Some(_), None) => Action::Delete,
        (Some(found), Some(object)) if is_other(found, object) => Action::Delete,
        (Some(found), Some(object)) if shows(found, object) => Action::Status,
        (Some(_), Some(_)) => Action::Update,
    }
}

fn is_kubernetes(object: &Object) -> bool {
    object.metadata.managed_by == Some(ManagedBy::Kubernetes)
}

/// A mirror of an earlier object of the same name: made anew rather than changed, so that who waits for the end of
/// that one sees it.
fn is_other(found: &DynamicObject, object: &Object) -> bool {
    resource::is_mirror(found) && resource::shown_id(found).is_some_and(|id| id != object.id().to_string())
}

fn shows(found: &DynamicObject, object: &Object) -> bool {
    let wanted = project::metadata(object);
    shows_spec(found, object)
        && found.labels() == &wanted.labels
        && found.annotations() == &wanted.annotations
        && !resource::has_finalizer(found)
}

/// Whether the resource's specification is the object's, as a mirror shows it.
pub(crate) fn shows_spec(found: &DynamicObject, object: &Object) -> bool {
    resource::same(resource::spec(found), &project::spec(object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::find_kind;
    use uuid::Uuid;

    use super::*;

    fn object(managed_by: ManagedBy) -> Object {
        let mut object = Object::new(
            "WorkloadInstance",
            "web",
            json!({"definition": "web", "suspend": false}),
        );
        object.metadata.id = Some(Uuid::from_u128(7));
        object.metadata.managed_by = Some(managed_by);
        object.metadata.labels = [("team".to_owned(), "web".to_owned())].into();
        object
    }

    fn mirror() -> DynamicObject {
        let mut found = project::mirror(find_kind("tpwi").unwrap(), &object(ManagedBy::Api));
        found.data["status"] = json!({"api": {"id": Uuid::from_u128(7)}});
        found
    }

    fn decide(found: Option<&DynamicObject>, object: Option<&Object>) -> Action {
        plan(found, object, |_| true, false)
    }

    #[test]
    fn objects_are_mirrored_and_tombstones_are_not() {
        let api = object(ManagedBy::Api);
        assert_eq!(decide(None, None), Action::Leave);
        assert_eq!(decide(None, Some(&api)), Action::Create);
        assert_eq!(decide(None, Some(&object(ManagedBy::System))), Action::Create);
        assert_eq!(decide(Some(&mirror()), Some(&api)), Action::Status);
        assert_eq!(decide(Some(&mirror()), None), Action::Delete);
    }

    #[test]
    fn what_kubernetes_manages_and_lost_is_made_again_unless_it_is_being_deleted() {
        let mut lost = object(ManagedBy::Kubernetes);
        assert_eq!(plan(None, Some(&lost), |_| false, false), Action::Create);
        lost.metadata.deletion_requested_at = Some(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(decide(None, Some(&lost)), Action::Leave);
    }

    #[test]
    fn differences_are_mended() {
        let api = object(ManagedBy::Api);
        let mut edited = mirror();
        edited.data["spec"]["suspend"] = json!(true);
        assert_eq!(decide(Some(&edited), Some(&api)), Action::Update);
        let mut labelled = mirror();
        labelled.labels_mut().insert("other".to_owned(), "x".to_owned());
        assert_eq!(decide(Some(&labelled), Some(&api)), Action::Update);
        let mut taken_over = mirror();
        taken_over
            .finalizers_mut()
            .push(threeport_model::identity::FINALIZER.to_owned());
        assert_eq!(decide(Some(&taken_over), Some(&api)), Action::Update);
    }

    #[test]
    fn another_object_of_the_same_name_gets_a_mirror_of_its_own() {
        let mut api = object(ManagedBy::Api);
        api.metadata.id = Some(Uuid::from_u128(8));
        assert_eq!(decide(Some(&mirror()), Some(&api)), Action::Delete);
    }

    #[test]
    fn unselected_objects_have_no_mirror() {
        let api = object(ManagedBy::Api);
        assert_eq!(plan(None, Some(&api), |_| false, false), Action::Leave);
        assert_eq!(
            plan(Some(&mirror()), Some(&api), |_| false, false),
            Action::Delete
        );
    }

    #[test]
    fn a_namespace_that_goes_is_left_alone() {
        let api = object(ManagedBy::Api);
        assert_eq!(plan(None, Some(&api), |_| true, true), Action::Leave);
        assert_eq!(plan(Some(&mirror()), None, |_| true, true), Action::Leave);
    }
}
