//! Our finalizer: while it is on a custom resource, its deletion waits for us.

use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;
use threeport_crds::CustomResource;
use threeport_failpoint::around;
use threeport_model::identity::FINALIZER;

use crate::{
    reconcile::Error,
    resource::{self, FIELD_MANAGER, is_conflict, is_not_found},
    writes,
};

const TRIES: usize = 5;

/// Puts it on, if the resource is still as it was found.
pub(crate) async fn add(api: &Api<CustomResource>, found: &DynamicObject) -> Result<DynamicObject, Error> {
    let mut finalizers = found.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    let held = around(writes::FINALIZER_ADD, write(api, found, &finalizers)).await;
    let CustomResource(mut held) = held.map_err(Error::Kubernetes)?;
    resource::trim(&mut held);
    Ok(held)
}

/// Takes it off, if the resource is still as it was found; one that is gone is fine.
pub(crate) async fn remove(api: &Api<CustomResource>, found: &DynamicObject) -> Result<(), Error> {
    let rest = without(found);
    match around(writes::FINALIZER_REMOVE, write(api, found, &rest)).await {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) => Err(Error::Kubernetes(error)),
    }
}

/// Takes it off whatever the resource looks like now: for one that goes with its namespace.
pub(crate) async fn release(api: &Api<CustomResource>, name: &str) -> Result<(), kube::Error> {
    release_if(api, name, |_| true).await
}

/// The same for this very resource, not another of its name.
pub(crate) async fn remove_now(api: &Api<CustomResource>, name: &str, uid: &str) -> Result<(), Error> {
    let is_it = |found: &CustomResource| found.uid().as_deref() == Some(uid);
    release_if(api, name, is_it).await.map_err(Error::Kubernetes)
}

async fn release_if(
    api: &Api<CustomResource>,
    name: &str,
    wanted: impl Fn(&CustomResource) -> bool,
) -> Result<(), kube::Error> {
    for attempt in 1.. {
        let Some(found) = resource::metadata_of(api, name).await? else {
            return Ok(());
        };
        if !resource::has_finalizer(&found) || !wanted(&found) {
            return Ok(());
        }
        let rest = without(&found);
        match around(writes::FINALIZER_RELEASE, write(api, &found, &rest)).await {
            Ok(_) => return Ok(()),
            Err(error) if is_not_found(&error) => return Ok(()),
            Err(error) if is_conflict(&error) && attempt < TRIES => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn without(resource: &impl ResourceExt) -> Vec<String> {
    resource
        .finalizers()
        .iter()
        .filter(|finalizer| *finalizer != FINALIZER)
        .cloned()
        .collect()
}

async fn write(
    api: &Api<CustomResource>,
    found: &impl Resource,
    finalizers: &[String],
) -> Result<CustomResource, kube::Error> {
    let patch = json!({"metadata": {
        "resourceVersion": found.meta().resource_version,
        "uid": found.meta().uid,
        "finalizers": finalizers,
    }});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    api.patch(
        found.meta().name.as_deref().unwrap_or_default(),
        &parameters,
        &Patch::Merge(patch),
    )
    .await
}
