//! A custom resource of any kind, as JSON with metadata, and how it is read and written: as a [`CustomResource`], so that
//! one that is nested too deeply holds up no other.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api, Resource, ResourceExt,
    api::{GetParams, ListParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, ObjectList, Request},
};
use serde_json::Value;
use threeport_crds::CustomResource;
use threeport_model::{GROUP, KindDescriptor, ManagedBy, VERSION, identity};

/// Under which name the API server records what the facade writes.
pub(crate) const FIELD_MANAGER: &str = "threeport-facade";

/// How the API server calls a kind.
pub(crate) fn api_resource(kind: &KindDescriptor) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind.kind), kind.plural)
}

/// The custom resources of a kind in a namespace.
pub(crate) fn api(kube: &kube::Client, namespace: &str, kind: &KindDescriptor) -> Api<CustomResource> {
    Api::namespaced_with(kube.clone(), namespace, &api_resource(kind))
}

/// Those of a kind in a namespace that are asked for, without their content.
pub(crate) async fn metadata(
    kube: &kube::Client,
    namespace: &str,
    kind: &KindDescriptor,
    parameters: &ListParams,
) -> Result<ObjectList<CustomResource>, kube::Error> {
    let path = CustomResource::url_path(&api_resource(kind), Some(namespace));
    let request = Request::new(path).list_metadata(parameters);
    let request = request.map_err(kube::Error::BuildRequest)?;
    kube.request(request).await
}

/// One by its name, without its content; none where there is none.
pub(crate) async fn metadata_of(
    api: &Api<CustomResource>,
    name: &str,
) -> Result<Option<CustomResource>, kube::Error> {
    let request = Request::new(api.resource_url()).get_metadata(name, &GetParams::default());
    let request = request.map_err(kube::Error::BuildRequest)?;
    match api.clone().into_client().request(request).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is kept in memory: all but the lists of owned fields, which are most of a small object. Who wrote a mirror is
/// known.
pub(crate) fn trim(resource: &mut DynamicObject) {
    if is_mirror(resource) {
        resource.metadata.managed_fields = None;
    }
    for entry in resource.metadata.managed_fields.iter_mut().flatten() {
        entry.fields_v1 = None;
    }
}

pub(crate) fn spec(resource: &DynamicObject) -> &Value {
    resource.data.get("spec").unwrap_or(&Value::Null)
}

pub(crate) fn status(resource: &DynamicObject) -> &Value {
    resource.data.get("status").unwrap_or(&Value::Null)
}

/// `metadata.generation`: 1 for a new one.
pub(crate) fn generation(resource: &DynamicObject) -> i64 {
    resource.metadata.generation.unwrap_or_default()
}

pub(crate) fn uid(resource: &DynamicObject) -> &str {
    resource.metadata.uid.as_deref().unwrap_or_default()
}

pub(crate) fn is_deleting(resource: &DynamicObject) -> bool {
    resource.metadata.deletion_timestamp.is_some()
}

/// Whether our finalizer is on a resource, which may have been read without its content.
pub(crate) fn has_finalizer(resource: &impl ResourceExt) -> bool {
    resource
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == identity::FINALIZER)
}

/// Whether it says of itself that it is a mirror.
pub(crate) fn is_mirror(resource: &DynamicObject) -> bool {
    resource.labels().contains_key(identity::MANAGED_BY)
}

/// Whether the object that it was synced with is now owned by the API: somebody took it over.
pub(crate) fn was_synced_from_kubernetes(resource: &DynamicObject) -> bool {
    status(resource).pointer("/api/managedBy").and_then(Value::as_str) == Some(ManagedBy::Kubernetes.as_str())
}

/// Whether its status says that the database has this very generation of it.
pub(crate) fn is_synced(resource: &DynamicObject) -> bool {
    let synced = status(resource).pointer("/api/syncedGeneration");
    synced.and_then(Value::as_i64) == Some(generation(resource))
}

/// The id of the object that it showed last.
pub(crate) fn shown_id(resource: &DynamicObject) -> Option<&str> {
    status(resource).pointer("/api/id").and_then(Value::as_str)
}

/// Who wrote it last, as far as the API server tells: the newest field manager that is not us.
pub(crate) fn author(resource: &DynamicObject) -> Option<String> {
    let entries = resource.metadata.managed_fields.iter().flatten();
    let others = entries.filter(|entry| {
        entry.subresource.as_deref().unwrap_or_default().is_empty()
            && entry
                .manager
                .as_deref()
                .is_some_and(|manager| manager != FIELD_MANAGER)
    });
    let newest: Option<&ManagedFieldsEntry> = others.max_by(|left, right| left.time.cmp(&right.time));
    let manager = newest?.manager.as_deref()?;
    Some(format!("{manager} (user unknown)"))
}

/// Whether two values mean the same to Kubernetes, which writes `1.0` back as `1`.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

/// Somebody was faster: read again.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    code(error) == 409
}

pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    code(error) == 404
}

pub(crate) fn is_forbidden(error: &kube::Error) -> bool {
    code(error) == 403
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{author, same};

    /// A writer at a minute of the object itself or of a part of it.
    fn written(manager: &str, minute: u32, subresource: &str) -> Value {
        json!({
            "manager": manager,
            "operation": "Update",
            "apiVersion": "threeport.io/v1alpha1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {},
            "subresource": subresource,
            "time": format!("2026-01-01T00:{minute:02}:00Z"),
        })
    }

    #[test]
    fn who_wrote_it_is_the_newest_field_manager_that_is_not_us() {
        let told = |entries: &[Value]| {
            let found = json!({
                "apiVersion": "threeport.io/v1alpha1",
                "kind": "WorkloadDefinition",
                "metadata": {"name": "web", "managedFields": entries},
            });
            author(&serde_json::from_value(found).unwrap())
        };
        let applied = written("kubectl-client-side-apply", 1, "");
        let edited = written("kubectl-edit", 2, "");
        let ours = written("threeport-facade", 3, "");
        let status = written("somebody", 4, "status");
        let alone = told(std::slice::from_ref(&applied));
        assert_eq!(alone.as_deref(), Some("kubectl-client-side-apply (user unknown)"));
        let edit = Some("kubectl-edit (user unknown)");
        assert_eq!(told(&[applied.clone(), edited.clone()]).as_deref(), edit);
        let all = [edited, applied, ours.clone(), status.clone()];
        assert_eq!(told(&all).as_deref(), edit, "whatever comes first in the list");
        assert_eq!(told(&[ours, status]), None, "nobody but us wrote it");
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn numbers_are_equal_by_value() {
        assert!(same(&json!({"a": [1.0, 2]}), &json!({"a": [1, 2]})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": null})));
        assert!(!same(&json!("1"), &json!(1)));
    }
}
