//! One run for one key: read both sides, find out whose the object is, let that half do its work.

use std::{sync::Arc, time::Duration};

use kube::core::DynamicObject;
use threeport_model::{Code, KindDescriptor, ManagedBy, Object, explain};

use crate::{
    context::Context,
    intake,
    metrics::OutcomeLabel,
    mirror,
    queue::{Key, Next},
    resource, text,
};

/// Why a run did not end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The control plane's API.
    #[error("failed to ask the API")]
    Api(#[source] threeport_client::Error),
    /// Kubernetes.
    #[error("failed to ask Kubernetes")]
    Kubernetes(#[source] kube::Error),
}

impl Error {
    /// What failed, and why.
    fn told(&self) -> String {
        match self {
            Self::Api(_) => explain(self),
            Self::Kubernetes(error) => format!("{self}: {}", text::of_kubernetes(error)),
        }
    }
}

/// Which half has the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Mirror,
    Intake,
}

/// Runs `key` and says what comes next.
pub(crate) async fn reconcile(context: Arc<Context>, key: Key) -> Next {
    let result = run(&context, &key).await;
    tracing::debug!(%key, ok = result.is_ok(), "looked at");
    let (next, outcome) = match result {
        Ok(Next::Done) => (Next::Done, OutcomeLabel::done),
        Ok(next) => (next, OutcomeLabel::waiting),
        // The resource moved while we looked, or our cache is behind: soon again.
        Err(Error::Kubernetes(error)) if resource::is_conflict(&error) => {
            (Next::Retry(Duration::from_secs(5)), OutcomeLabel::waiting)
        }
        Err(error) => {
            tracing::warn!(%key, "{}, trying again", error.told());
            (Next::FAILED, OutcomeLabel::failed)
        }
    };
    context.options.metrics.count(outcome);
    next
}

/// Whether a run for this object would write nothing, as far as a list tells: then there is no need for one.
pub(crate) fn is_settled(context: &Context, kind: &'static KindDescriptor, object: &Object) -> bool {
    let found = context.found(kind, &object.metadata.name);
    let is_settled = match (side(found.as_ref(), Some(object)), &found) {
        (Side::Intake, Some(found)) => intake::is_settled(context, kind, found, object),
        _ => mirror::is_settled(context, kind, found.as_ref(), object),
    };
    if is_settled && found.is_some() {
        context.shows(kind, object, false);
    }
    is_settled
}

async fn run(context: &Context, key: &Key) -> Result<Next, Error> {
    let Some(kind) = context.kind(key.kind) else {
        return Ok(Next::Done);
    };
    // The resource first: what is written then can't be older than what somebody else wrote before.
    let found = context.found(kind.descriptor, &key.name);
    // Taken in any case: what is read now is newer.
    let news = context.news.take(key, &context.shown);
    let is_mirror = found.as_ref().is_none_or(resource::is_mirror);
    let object = match news.filter(|_| is_mirror) {
        Some(news) => Ok(Some(news)),
        None => read(context, kind.descriptor, &key.name)
            .await
            .map(|found| found.map(Arc::new)),
    };
    let result = match object {
        Ok(object) => act(context, kind.descriptor, key, found.as_ref(), object.as_deref()).await,
        Err(error) => Err(error),
    };
    if let (Err(Error::Api(error)), Some(found)) = (&result, &found) {
        intake::unreachable::say(context, kind.descriptor, found, &explain(error)).await?;
    }
    result
}

async fn act(
    context: &Context,
    kind: &'static KindDescriptor,
    key: &Key,
    found: Option<&DynamicObject>,
    object: Option<&Object>,
) -> Result<Next, Error> {
    if object.is_none() {
        context.shown.forget(key);
        context.told.forget(key);
    }
    match (side(found, object), found) {
        (Side::Intake, Some(found)) => intake::run(context, kind, key, found, object).await,
        _ => mirror::run(context, kind, found, object).await,
    }
}

/// The object as the database has it; nothing where it has none (a tombstone is none).
async fn read(context: &Context, kind: &'static KindDescriptor, name: &str) -> Result<Option<Object>, Error> {
    match context.options.api.object_get(kind, name).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.code() == Some(Code::NotFound) => Ok(None),
        // A name that the API can't have has no object; intake says so on the resource.
        Err(error) if error.code() == Some(Code::Invalid) => Ok(None),
        Err(error) => Err(Error::Api(error)),
    }
}

fn side(found: Option<&DynamicObject>, object: Option<&Object>) -> Side {
    match (found, object) {
        (None, _) => Side::Mirror,
        (Some(found), _) if resource::is_mirror(found) => Side::Mirror,
        // Somebody made the API the owner of what Kubernetes managed: its resource becomes a mirror. An edit that the
        // database did not get before is not overwritten: intake says that it is refused.
        (Some(found), Some(object))
            if object.metadata.managed_by != Some(ManagedBy::Kubernetes)
                && resource::was_synced_from_kubernetes(found)
                && resource::shown_id(found) == Some(object.id().to_string().as_str())
                && resource::is_synced(found)
                && !resource::is_deleting(found) =>
        {
            Side::Mirror
        }
        (Some(_), _) => Side::Intake,
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;
    use threeport_model::{find_kind, identity};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_failed_is_told_with_its_causes_and_kubernetes_without_its_frame() {
        let error = Error::Api(threeport_client::Error::ReadFile {
            path: "token".into(),
            source: std::io::Error::other("no such device"),
        });
        assert_eq!(
            error.told(),
            "failed to ask the API: failed to read token: no such device"
        );
        let status = kube::core::Status::failure("pods \"web\" not found", "NotFound");
        let error = Error::Kubernetes(kube::Error::Api(status.boxed()));
        assert_eq!(error.told(), "failed to ask Kubernetes: pods \"web\" not found");
    }

    #[test]
    fn one_half_has_the_word() {
        let id = Uuid::from_u128(7);
        let object = |managed_by| {
            let mut object = Object::new("WorkloadDefinition", "web", json!({}));
            object.metadata.id = Some(id);
            object.metadata.managed_by = Some(managed_by);
            object
        };
        let plain = DynamicObject::new("web", &resource::api_resource(find_kind("tpwd").unwrap()));
        let mut mirrored = plain.clone();
        mirrored
            .labels_mut()
            .insert(identity::MANAGED_BY.to_owned(), "api".to_owned());
        let mut synced = plain.clone();
        synced.metadata.generation = Some(2);
        synced.data =
            json!({"status": {"api": {"id": id, "managedBy": "kubernetes", "syncedGeneration": 2}}});
        let mut edited = synced.clone();
        edited.metadata.generation = Some(3);
        let (api, kubernetes) = (object(ManagedBy::Api), object(ManagedBy::Kubernetes));
        for (what, found, object, expected) in [
            ("to be mirrored, or made again", None, Some(&api), Side::Mirror),
            ("a mirror", Some(&mirrored), Some(&api), Side::Mirror),
            ("a mirror without an object", Some(&mirrored), None, Side::Mirror),
            ("somebody's own", Some(&plain), None, Side::Intake),
            (
                "managed by Kubernetes",
                Some(&synced),
                Some(&kubernetes),
                Side::Intake,
            ),
            ("a name that the API owns", Some(&plain), Some(&api), Side::Intake),
            ("taken over by the API", Some(&synced), Some(&api), Side::Mirror),
            (
                "edited, and taken over before the edit was sent",
                Some(&edited),
                Some(&api),
                Side::Intake,
            ),
        ] {
            assert_eq!(side(found, object), expected, "{what}");
        }
    }
}
