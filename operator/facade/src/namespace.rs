//! The namespace that is served: its label, and whether it is on its way out.
//!
//! In a terminating namespace nobody's wish can be told from the collector's work, so the facade lets go of everything
//! there: it strips its finalizers and adds none.

use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use k8s_openapi::{
    api::{authentication::v1::SelfSubjectReview, core::v1::Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{Event, watcher},
    },
};
use serde_json::json;
use threeport_failpoint::around;
use threeport_model::{GROUP, KindDescriptor, explain, identity};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    resource::{FIELD_MANAGER, is_forbidden, is_not_found},
    writes,
};

/// When a mark that could not be set is set again: no event tells of it once more.
const RETRY: Duration = Duration::from_secs(10);

/// Annotation of a served namespace: the user that its facade is to Kubernetes, for the admission policy.
pub(crate) const FACADE_USER: &str = "threeport.io/facade-user";

/// Labels the namespace as served, and says by whom: that user.
pub(crate) async fn ensure_served(kube: &kube::Client, namespace: &str) -> anyhow::Result<String> {
    let api: Api<Namespace> = Api::all(kube.clone());
    let found = api
        .get(namespace)
        .await
        .with_context(|| format!("failed to read namespace {namespace}"))?;
    let user = whoami(kube)
        .await
        .context("failed to ask Kubernetes who the facade is")?;
    if lacks_mark(&found) || found.annotations().get(FACADE_USER) != Some(&user) {
        mark(&api, namespace, &user).await?;
    }
    Ok(user)
}

/// Without it the policy refuses every new custom resource, our mirrors too. Whoever keeps the namespace's labels as a
/// file may take it off.
fn lacks_mark(namespace: &Namespace) -> bool {
    !namespace.labels().contains_key(identity::SERVED) || !namespace.annotations().contains_key(FACADE_USER)
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

async fn mark(api: &Api<Namespace>, namespace: &str, user: &str) -> anyhow::Result<()> {
    let patch =
        json!({"metadata": {"labels": {identity::SERVED: "true"}, "annotations": {FACADE_USER: user}}});
    let (parameters, patch) = (parameters(), Patch::Merge(patch));
    match around(writes::SERVED, api.patch(namespace, &parameters, &patch)).await {
        Ok(_) => Ok(()),
        Err(error) if is_forbidden(&error) => anyhow::bail!(
            "namespace {namespace} is not marked as served, and the operator may not do it; run: kubectl label namespace \
             {namespace} {}=true && kubectl annotate namespace {namespace} {FACADE_USER}={user}",
            identity::SERVED,
        ),
        Err(error) => Err(error).with_context(|| format!("failed to label namespace {namespace}")),
    }
}

/// Takes the label off, so that nothing is taken that nobody would read. The annotation stays: without it the policy would
/// keep whoever does this again from the mirrors that are left.
pub(crate) async fn unmark(kube: &kube::Client, namespace: &str) -> anyhow::Result<()> {
    let api: Api<Namespace> = Api::all(kube.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": {identity::SERVED: null}}}));
    let parameters = parameters();
    match around(writes::UNSERVED, api.patch(namespace, &parameters, &patch)).await {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        // Then somebody else set it, and no end of a control plane waits for him.
        Err(error) if is_forbidden(&error) => {
            tracing::warn!(
                "namespace {namespace} is still marked as served, and the operator may not change that; run: kubectl label \
                 namespace {namespace} {}-",
                identity::SERVED,
            );
            Ok(())
        }
        Err(error) => {
            Err(error).with_context(|| format!("failed to take the label off namespace {namespace}"))
        }
    }
}

async fn whoami(kube: &kube::Client) -> anyhow::Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(kube.clone());
    let review = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    let user = review
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username);
    user.context("the answer names no user")
}

/// Whether the namespace is terminating, as a cached watch sees it: enough to let go early, not enough to take a
/// deletion as meant. Where it is not and loses its mark, it is marked anew for `user`.
pub(crate) fn watch(
    kube: kube::Client,
    namespace: String,
    user: String,
    shutdown: CancellationToken,
) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let api: Api<Namespace> = Api::all(kube);
        let only = threeport_cluster::watch_config().fields(&format!("metadata.name={namespace}"));
        let stream = watcher(api.clone(), only).default_backoff();
        let mut events = std::pin::pin!(stream.take_until(shutdown.cancelled_owned()));
        let (mut listed, mut unmarked) = (false, false);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = tokio::time::sleep(RETRY), if unmarked => {
                    unmarked = !is_marked(&api, &namespace, &user).await;
                    continue;
                }
            };
            match event {
                None => return,
                Some(Ok(event)) => {
                    if let Some(terminating) = says_terminating(&event, &mut listed) {
                        sender.send_if_modified(|now| std::mem::replace(now, terminating) != terminating);
                    }
                    if let Some(lacks_mark) = says_unmarked(&event) {
                        unmarked = lacks_mark && !is_marked(&api, &namespace, &user).await;
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(error = %explain(&error), namespace, "failed to watch the namespace, trying again");
                }
            }
        }
    });
    receiver
}

/// Whether the namespace is terminating or gone, where an event of its watch says so; `listed`: whether the list has it.
fn says_terminating(event: &Event<Namespace>, listed: &mut bool) -> Option<bool> {
    match event {
        Event::Init => {
            *listed = false;
            None
        }
        Event::InitApply(found) => {
            *listed = true;
            Some(found.metadata.deletion_timestamp.is_some())
        }
        Event::InitDone => (!*listed).then_some(true),
        Event::Apply(found) => Some(found.metadata.deletion_timestamp.is_some()),
        Event::Delete(_) => Some(true),
    }
}

/// Whether the namespace stays and lacks its mark, where an event of its watch says so.
fn says_unmarked(event: &Event<Namespace>) -> Option<bool> {
    match event {
        Event::InitApply(found) | Event::Apply(found) => {
            Some(found.metadata.deletion_timestamp.is_none() && lacks_mark(found))
        }
        Event::Delete(_) => Some(false),
        Event::Init | Event::InitDone => None,
    }
}

/// Marks the namespace anew. Whether that is done.
async fn is_marked(api: &Api<Namespace>, namespace: &str, user: &str) -> bool {
    let marked = mark(api, namespace, user).await;
    if let Err(error) = &marked {
        tracing::warn!(
            namespace,
            "failed to mark the namespace as served anew, trying again: {error:#}"
        );
    }
    marked.is_ok()
}

/// Whether namespace and definition stay, read from the API server itself. Asked after a deletionTimestamp was seen:
/// a namespace's or a definition's own deletion is recorded before anything in it is deleted.
pub(crate) async fn both_stay(
    kube: &kube::Client,
    namespace: &str,
    kind: &KindDescriptor,
) -> Result<bool, kube::Error> {
    Ok(!is_terminating(kube, namespace).await? && {
        let api: Api<CustomResourceDefinition> = Api::all(kube.clone());
        let found = api.get_metadata_opt(&format!("{}.{GROUP}", kind.plural)).await?;
        found.is_some_and(|found| found.metadata.deletion_timestamp.is_none())
    })
}

/// Whether the namespace is terminating or gone, read from the API server itself.
pub(crate) async fn is_terminating(kube: &kube::Client, namespace: &str) -> Result<bool, kube::Error> {
    let api: Api<Namespace> = Api::all(kube.clone());
    let found = api.get_metadata_opt(namespace).await?;
    Ok(found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()))
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use axum::http::{Method, Request, Response, StatusCode};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::client::Body;

    use super::*;

    #[test]
    fn a_namespace_goes_when_it_says_so_and_when_a_list_lacks_it() {
        let stays = Namespace::default();
        let mut goes = stays.clone();
        goes.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        let mut listed = false;
        let said = [
            Event::Init,
            Event::InitApply(stays.clone()),
            Event::InitDone,
            Event::Apply(goes.clone()),
            Event::Apply(stays),
            Event::Delete(goes.clone()),
            Event::Init,
            Event::InitApply(goes),
            Event::InitDone,
            Event::Init,
            Event::InitDone,
        ]
        .map(|event| says_terminating(&event, &mut listed));
        let (yes, no) = (Some(true), Some(false));
        let expected = [None, no, None, yes, no, yes, None, yes, None, None, yes];
        assert_eq!(said, expected);
    }

    /// A cluster with a namespace that nobody marked, which refuses the first `refusals` writes; `writes` counts them all.
    fn cluster(refusals: usize, writes: Arc<AtomicUsize>) -> kube::Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let writes = Arc::clone(&writes);
            async move {
                let namespace =
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "here"}});
                let refusal = json!({"kind": "Status", "status": "Failure", "code": 500, "message": "no",
                    "reason": "InternalError"});
                let (code, said) = if request.method() == Method::PATCH {
                    if writes.fetch_add(1, Ordering::SeqCst) < refusals {
                        (StatusCode::INTERNAL_SERVER_ERROR, refusal)
                    } else {
                        (StatusCode::OK, namespace)
                    }
                } else if request
                    .uri()
                    .query()
                    .is_some_and(|query| query.contains("watch="))
                {
                    // Nothing happens to it any more.
                    std::future::pending().await
                } else {
                    let list = json!({"apiVersion": "v1", "kind": "NamespaceList", "items": [namespace],
                        "metadata": {"resourceVersion": "1"}});
                    (StatusCode::OK, list)
                };
                let mut response = Response::new(Body::from(said.to_string().into_bytes()));
                *response.status_mut() = code;
                Ok::<_, Infallible>(response)
            }
        });
        kube::Client::new(service, "here")
    }

    #[tokio::test]
    async fn who_may_not_take_the_mark_off_ends_all_the_same() {
        let service = tower::service_fn(|_: Request<Body>| async {
            let refusal = json!({"kind": "Status", "status": "Failure", "code": 403, "message": "no",
                "reason": "Forbidden"});
            let mut response = Response::new(Body::from(refusal.to_string().into_bytes()));
            *response.status_mut() = StatusCode::FORBIDDEN;
            Ok::<_, Infallible>(response)
        });
        let kube = kube::Client::new(service, "here");
        unmark(&kube, "here").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_that_could_not_be_set_is_set_again_until_it_is() {
        let (writes, shutdown) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let kube = cluster(2, Arc::clone(&writes));
        let _closing = watch(kube, "here".to_owned(), "user".to_owned(), shutdown.clone());
        tokio::time::sleep(RETRY * 20).await;
        shutdown.cancel();
        assert_eq!(writes.load(Ordering::SeqCst), 3, "and not once it is set");
    }
}
