//! Writes of custom resources: each with a precondition, so that a stale view changes nothing.

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
    core::DynamicObject,
};
use serde_json::Value;
use threeport_crds::CustomResource;
use threeport_failpoint::around;

use super::project;
use crate::{
    reconcile::Error,
    resource::{self, FIELD_MANAGER, is_not_found},
    writes,
};

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Creates by POST: a race with somebody else ends in a conflict, never in a change of what is his.
pub(crate) async fn create(api: &Api<CustomResource>, made: DynamicObject) -> Result<DynamicObject, Error> {
    let (made, parameters) = (CustomResource(made), parameters());
    let created = around(writes::RESOURCE_CREATE, api.create(&parameters, &made)).await;
    let CustomResource(created) = created.map_err(Error::Kubernetes)?;
    tracing::info!(resource = %made.name_any(), "made a custom resource");
    Ok(created)
}

/// Replaces; nothing where the API server refuses the content itself (422).
pub(crate) async fn replace(
    api: &Api<CustomResource>,
    changed: DynamicObject,
) -> Result<Option<DynamicObject>, Error> {
    let (name, parameters, changed) = (changed.name_any(), parameters(), CustomResource(changed));
    match around(
        writes::RESOURCE_REPLACE,
        api.replace(&name, &parameters, &changed),
    )
    .await
    {
        Ok(CustomResource(written)) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if status.code == 422 => {
            tracing::warn!(resource = %changed.name_any(), message = status.message, "a mirror could not be changed and is made anew");
            Ok(None)
        }
        Err(error) => Err(Error::Kubernetes(error)),
    }
}

/// Writes the status if it differs; answers with what it wrote.
pub(crate) async fn status(
    api: &Api<CustomResource>,
    found: &DynamicObject,
    status: Value,
) -> Result<Option<DynamicObject>, Error> {
    if project::same_status(resource::status(found), &status) {
        return Ok(None);
    }
    let mut changed = found.clone();
    changed.metadata.managed_fields = None;
    changed.data["status"] = status;
    let (name, parameters, changed) = (found.name_any(), parameters(), CustomResource(changed));
    let written = api.replace_status(&name, &parameters, &changed);
    let written = around(writes::RESOURCE_STATUS, written).await;
    written
        .map(|CustomResource(written)| Some(written))
        .map_err(Error::Kubernetes)
}

/// Deletes this very resource, not another of its name.
pub(crate) async fn delete(api: &Api<CustomResource>, found: &DynamicObject) -> Result<(), Error> {
    let preconditions = Preconditions {
        uid: found.uid(),
        resource_version: None,
    };
    let parameters = DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    let name = found.name_any();
    match around(writes::RESOURCE_DELETE, api.delete(&name, &parameters)).await {
        Ok(_) => {
            tracing::info!(resource = %found.name_any(), "removed a mirror");
            Ok(())
        }
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) => Err(Error::Kubernetes(error)),
    }
}
