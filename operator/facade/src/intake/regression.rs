//! A custom resource that is behind what was taken from it: its generation went back, so the cluster's etcd was restored
//! from a backup. The database is the only truth, so the resource gets back what the database has, and the database
//! learns the new count. A resource that is being deleted meanwhile is deleted: that was asked for after the restore.
//!
//! A cache that is behind looks the same; so the resource is read from the cluster itself before anything is written.

use std::time::Duration;

use kube::core::DynamicObject;
use threeport_model::{KindDescriptor, Object};

use super::{act, plan};
use crate::{
    context::Context,
    mirror::{project, write},
    queue::{Key, Next},
    reconcile::Error,
    resource,
};

/// How soon a cache that is behind is looked at again; its watch wakes the key, too.
const BEHIND: Duration = Duration::from_secs(5);

/// Whether the object was taken from a later state of this very resource.
pub(super) fn is_behind(found: &DynamicObject, object: &Object) -> bool {
    let taken = object.metadata.source.as_ref().map(|source| source.generation);
    plan::is_of(object, found) && taken > Some(resource::generation(found))
}

/// Brings the two together.
pub(super) async fn mend(
    context: &Context,
    kind: &'static KindDescriptor,
    key: &Key,
    found: &DynamicObject,
    object: &Object,
) -> Result<Next, Error> {
    let api = context.api(kind);
    let now = api.get_opt(&key.name).await.map_err(Error::Kubernetes)?;
    let now = now.map(|now| now.0);
    let Some(mut now) = now.filter(|now| resource::uid(now) == resource::uid(found)) else {
        return Ok(Next::Done);
    };
    if !is_behind(&now, object) {
        return Ok(Next::Retry(BEHIND));
    }
    if resource::is_deleting(&now) {
        return act(context, kind, key, &now, Some(object), true).await;
    }
    tracing::warn!(
        %key,
        generation = resource::generation(&now),
        "the custom resource is older than what the database took from it: it gets back what the database has"
    );
    if !(resource::same(resource::spec(&now), &object.spec) && plan::has_metadata_of(object, &now)) {
        let restored = project::restored(kind, &now, object);
        match write::replace(&api, restored).await? {
            Some(written) => now = written,
            None => return Ok(Next::FAILED),
        }
    }
    act(context, kind, key, &now, Some(object), true).await
}
