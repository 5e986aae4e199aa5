//! A custom resource that is being deleted: is it meant, and what stands against it.

use std::time::Duration;

use kube::{ResourceExt, core::DynamicObject};
use threeport_client::Error as ApiError;
use threeport_failpoint::around;
use threeport_model::{Code, KindDescriptor, Object};

use super::{Outcome, finalizer, sending};
use crate::{
    context::Context,
    mirror::project::{Blocked, Synced},
    namespace,
    queue::{Key, Next},
    reconcile::Error,
    resource, text, writes,
};

/// Its end wakes it; this is for when that was missed, and for the end of its definition, of which nothing tells what is
/// being deleted already.
const WAITING: Duration = Duration::from_secs(60);

/// Deletes the object where the deletion is meant; nothing is left to say where the resource was let go.
pub(crate) async fn remove(
    context: &Context,
    kind: &'static KindDescriptor,
    key: &Key,
    found: &DynamicObject,
    object: Option<&Object>,
    regressed: bool,
) -> Result<Option<Outcome>, Error> {
    let api = context.api(kind);
    // The deletionTimestamp was seen before, so this tells whether somebody deleted more than the resource: maybe later,
    // while that waits for the end of its object, which may take for ever.
    let stays = namespace::both_stay(&context.options.kube, &context.options.namespace, kind).await;
    if !stays.map_err(Error::Kubernetes)? {
        tracing::info!(%key, "its namespace or definition is being deleted: let go, its object stays what it is");
        finalizer::remove(&api, found).await?;
        return Ok(None);
    }
    if let Some(going) = object.filter(|object| object.is_deleting()) {
        return Ok(Some(outcome(Synced::yes(), Some(going.clone()), None)));
    }
    let (uid, generation) = (resource::uid(found), resource::generation(found));
    let name = found.name_any();
    let deleted = context
        .options
        .api
        .source_delete(uid, kind.kind, &name, generation, regressed);
    match around(writes::SOURCE_DELETE, deleted).await {
        Ok(object) => Ok(Some(outcome(Synced::yes(), Some(object), None))),
        Err(error) if matches!(error.code(), Some(Code::NotFound | Code::OwnedBy)) => {
            finalizer::remove(&api, found).await?;
            Ok(None)
        }
        Err(ApiError::Refused(problem)) if !sending::is_transient(&problem) => {
            context
                .waiters
                .wait(key, &problem.referrers.iter().cloned().collect());
            let blocked = Blocked {
                reason: format!("{:?}", problem.code),
                message: text::cut(&sending::message(&problem), text::MESSAGE),
            };
            let synced = Synced::no(blocked.reason.clone(), blocked.message.clone());
            Ok(Some(outcome(synced, object.cloned(), Some(blocked))))
        }
        Err(error) => Err(Error::Api(error)),
    }
}

fn outcome(synced: Synced, object: Option<Object>, deletion_blocked: Option<Blocked>) -> Outcome {
    Outcome {
        synced,
        object,
        deletion_blocked,
        operation_id: None,
        next: Next::Retry(WAITING),
    }
}
