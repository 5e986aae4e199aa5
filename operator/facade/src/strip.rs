//! Letting go: taking our finalizers off everything in a namespace, so that nothing that only we could end stands
//! in the way of its end. Since Kubernetes 1.34 pods go first when a namespace does: afterwards nobody is left to do it.
//!
//! Where the control plane goes and the namespace stays, so go the mirrors, which the admission policy lets nobody else
//! delete, and the namespace's mark, with which it would take new resources that nobody reads.

use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use threeport_crds::CustomResource;
use threeport_failpoint::around;
use threeport_model::{KindDescriptor, identity, kinds};
use threeport_telemetry::DRAIN;

use crate::{
    intake::finalizer,
    mirror::write,
    namespace,
    reconcile::Error,
    resource::{self, is_conflict, is_not_found},
    writes,
};

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(250);
/// How soon what could not be let go at the end of the process is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How many mirrors are listed at once.
const PAGE: u32 = 500;

/// Takes our finalizers off all custom resources of `namespace`; what the chart's pre-delete hook runs. `deployment`
/// is the facade's, which goes with its control plane: it is scaled to nothing first, and its pods waited for, so that
/// intake does not put them back; after it mirrors go, and the namespace's mark. Harmless to repeat; within 60 s, and 60 s
/// more for what comes after, or an error.
pub async fn strip_finalizers(
    kube: &kube::Client,
    namespace: &str,
    deployment: Option<&str>,
) -> anyhow::Result<()> {
    let mut waited_for = Vec::new();
    let work = async {
        if let Some(deployment) = deployment {
            stop(kube, namespace, deployment, &mut waited_for).await?;
        }
        strip(kube, namespace).await
    };
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.with_context(|| late(&waited_for))??;
    if deployment.is_none() {
        return Ok(());
    }
    let left = tokio::time::timeout(DEADLINE, leave(kube, namespace)).await;
    left.context("mirrors were not removed within 60 s; the next try goes on")?
}

/// What was not done in time, and for which pods it waited.
fn late(waited_for: &[String]) -> String {
    let late = "finalizers were not taken off within 60 s";
    match waited_for {
        [] => late.to_owned(),
        pods => format!(
            "{late}: these pods of the facade did not end: {}",
            pods.join(", ")
        ),
    }
}

/// At the end of the process: lets go where the namespace goes too. Nobody is left to do it later, so what fails is tried
/// again until the process has to end.
pub(crate) async fn on_shutdown(kube: &kube::Client, namespace: &str) -> anyhow::Result<()> {
    let mut failed = None;
    let work = async {
        while let Err(error) = let_go(kube, namespace).await {
            tracing::warn!(
                namespace,
                "failed to let go of custom resources, trying again: {error:#}"
            );
            failed = Some(error);
            tokio::time::sleep(RETRY).await;
        }
    };
    let done = tokio::time::timeout(DRAIN, work).await;
    done.map_err(|late| failed.unwrap_or_else(|| late.into()))
        .context("the process ends and may hold custom resources still")
}

async fn let_go(kube: &kube::Client, namespace: &str) -> anyhow::Result<()> {
    let terminating = namespace::is_terminating(kube, namespace).await;
    match terminating.with_context(|| format!("failed to read namespace {namespace}"))? {
        true => strip(kube, namespace).await,
        false => Ok(()),
    }
}

/// What can't be let go holds up nothing else; the first failure is told.
async fn strip(kube: &kube::Client, namespace: &str) -> anyhow::Result<()> {
    let mut all = Ok(());
    for kind in kinds::ALL.iter().filter(|kind| kind.custom_resource) {
        let stripped = strip_kind(kube, namespace, kind).await;
        all = all.and(stripped);
    }
    all
}

async fn strip_kind(kube: &kube::Client, namespace: &str, kind: &KindDescriptor) -> anyhow::Result<()> {
    let api = resource::api(kube, namespace, kind);
    let found = match resource::metadata(kube, namespace, kind, &ListParams::default()).await {
        Ok(found) => found.items,
        // No definition, no resources.
        Err(error) if is_not_found(&error) => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("failed to list {}", kind.plural)),
    };
    let held = found.into_iter().filter(resource::has_finalizer);
    let stripped = stream::iter(held).map(|resource| {
        let api = api.clone();
        async move { finalizer::release(&api, &resource.name_any()).await }
    });
    let stripped: Vec<Result<(), kube::Error>> = stripped.buffer_unordered(8).collect().await;
    let all: Result<(), kube::Error> = stripped.into_iter().collect();
    all.with_context(|| format!("failed to take finalizers off {}", kind.plural))
}

/// Takes away what means nothing without a facade.
async fn leave(kube: &kube::Client, namespace: &str) -> anyhow::Result<()> {
    for kind in kinds::ALL.iter().filter(|kind| kind.custom_resource) {
        let removed = remove_mirrors(kube, namespace, kind).await;
        removed.with_context(|| format!("failed to remove the mirrors among {}", kind.plural))?;
    }
    namespace::unmark(kube, namespace).await
}

async fn remove_mirrors(kube: &kube::Client, namespace: &str, kind: &KindDescriptor) -> Result<(), Error> {
    let api = resource::api(kube, namespace, kind);
    let mut parameters = ListParams::default().labels(identity::MANAGED_BY).limit(PAGE);
    loop {
        let page = match resource::metadata(kube, namespace, kind, &parameters).await {
            Ok(page) => page,
            // No definition, no mirrors.
            Err(error) if is_not_found(&error) => return Ok(()),
            Err(error) => return Err(Error::Kubernetes(error)),
        };
        let removed = stream::iter(page.items).map(|CustomResource(mirror)| {
            let api = api.clone();
            async move {
                match write::delete(&api, &mirror).await {
                    // Another one has its name by now.
                    Err(Error::Kubernetes(error)) if is_conflict(&error) => Ok(()),
                    done => done,
                }
            }
        });
        removed.buffer_unordered(8).try_collect::<Vec<()>>().await?;
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => parameters = parameters.continue_token(&token),
            _ => return Ok(()),
        }
    }
}

/// `waited_for`: the pods that had not ended when they were looked at last.
async fn stop(
    kube: &kube::Client,
    namespace: &str,
    deployment: &str,
    waited_for: &mut Vec<String>,
) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(kube.clone(), namespace);
    // By its scale alone: the right to change a whole Deployment would be the right to read any Secret.
    let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
    let parameters = PatchParams::default();
    let scaled = deployments.patch_scale(deployment, &parameters, &patch);
    let scale = match around(writes::SCALE_DOWN, scaled).await {
        Ok(scale) => scale,
        Err(error) if is_not_found(&error) => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("failed to scale down {deployment}")),
    };
    let selector = scale
        .status
        .and_then(|status| status.selector)
        .unwrap_or_default();
    anyhow::ensure!(
        !selector.is_empty(),
        "deployment {deployment} selects its pods by no label"
    );
    let pods: Api<Pod> = Api::namespaced(kube.clone(), namespace);
    // What has ended may stay listed for ever, as a pod that was evicted does.
    let parameters = ListParams::default()
        .labels(&selector)
        .fields("status.phase!=Failed,status.phase!=Succeeded");
    loop {
        let found = pods
            .list_metadata(&parameters)
            .await
            .context("failed to list the facade's pods")?;
        *waited_for = found.items.iter().map(ResourceExt::name_any).collect();
        if waited_for.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use axum::http::{Method, Request, Response, StatusCode};
    use kube::client::Body;
    use serde_json::Value;
    use tokio::time::Instant;

    use super::*;

    /// A cluster in which one pod of the facade was evicted and another one never ends.
    fn cluster() -> kube::Client {
        let service = tower::service_fn(|request: Request<Body>| async move {
            let pod = |name: &str| json!({"metadata": {"name": name}});
            let said = if request.method() == Method::PATCH {
                json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "facade"},
                    "spec": {"replicas": 0}, "status": {"replicas": 1, "selector": "app=facade"}})
            } else {
                let query = request.uri().query().unwrap_or_default();
                let mut pods = vec![pod("hung")];
                pods.extend((!query.contains("Failed")).then(|| pod("evicted")));
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "items": pods,
                    "metadata": {"resourceVersion": "1"}})
            };
            let response = Response::new(Body::from(said.to_string().into_bytes()));
            Ok::<_, Infallible>(response)
        });
        kube::Client::new(service, "here")
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_facade_s_pods_in_vain_names_those_that_did_not_end() {
        let waited = strip_finalizers(&cluster(), "here", Some("facade")).await;
        let said = format!("{:#}", waited.unwrap_err());
        assert!(
            said.contains("did not end: hung") && !said.contains("evicted"),
            "{said}"
        );
    }

    fn answer(code: StatusCode, body: &Value) -> Response<Body> {
        let mut response = Response::new(Body::from(body.to_string().into_bytes()));
        *response.status_mut() = code;
        response
    }

    fn refusal(code: StatusCode) -> Response<Body> {
        let status = json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "message": "no"});
        answer(code, &status)
    }

    /// A custom resource as what is asked for without its content.
    fn metadata(name: &str, held: bool) -> Value {
        let finalizers: Vec<&str> = held.then_some(identity::FINALIZER).into_iter().collect();
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": name, "uid": name, "resourceVersion": "1", "finalizers": finalizers}})
    }

    /// What is held in the namespace of [`going`], by kind and name.
    fn held() -> Arc<Mutex<BTreeSet<String>>> {
        let all = [
            "workloaddefinitions/a",
            "workloaddefinitions/b",
            "workloadinstances/c",
        ];
        Arc::new(Mutex::new(all.map(str::to_owned).into()))
    }

    /// A cluster whose namespace is terminating. It refuses the first question for that, and so many writes of `a`.
    fn going(held: Arc<Mutex<BTreeSet<String>>>, mut refusals: usize) -> kube::Client {
        let mut is_asked = false;
        let service = tower::service_fn(move |request: Request<Body>| {
            let (place, kinds) = ("/namespaces/here", ["/workloaddefinitions", "/workloadinstances"]);
            let (_, path) = request.uri().path().split_once(place).unwrap();
            let mut held = held.lock().unwrap();
            let said = if path.is_empty() {
                let first = !std::mem::replace(&mut is_asked, true);
                let going =
                    json!({"metadata": {"name": "here", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
                match first {
                    true => refusal(StatusCode::INTERNAL_SERVER_ERROR),
                    false => answer(StatusCode::OK, &going),
                }
            } else if kinds.contains(&path) {
                let of_kind = held.iter().filter_map(|held| held.strip_prefix(&path[1..]));
                let items: Vec<Value> = of_kind.map(|name| metadata(&name[1..], true)).collect();
                let list = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
                    "items": items, "metadata": {"resourceVersion": "1"}});
                answer(StatusCode::OK, &list)
            } else if let Some((_, name)) = path[1..].split_once('/') {
                let is_write = request.method() == Method::PATCH;
                if is_write && name == "a" && refusals > 0 {
                    refusals -= 1;
                    refusal(StatusCode::INTERNAL_SERVER_ERROR)
                } else {
                    let released = is_write && held.remove(&path[1..]);
                    answer(StatusCode::OK, &metadata(name, !released))
                }
            } else {
                refusal(StatusCode::NOT_FOUND)
            };
            async move { Ok::<_, Infallible>(said) }
        });
        kube::Client::new(service, "here")
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_at_the_end_of_the_process_is_tried_again() {
        let held = held();
        on_shutdown(&going(Arc::clone(&held), 1), "here").await.unwrap();
        assert_eq!(*held.lock().unwrap(), BTreeSet::new());
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_let_go_holds_up_nothing_else_and_not_the_end() {
        let (held, begun) = (held(), Instant::now());
        let kube = going(Arc::clone(&held), usize::MAX);
        let failed = on_shutdown(&kube, "here").await.unwrap_err();
        let said = format!("{failed:#}");
        assert!(
            said.contains("failed to take finalizers off workloaddefinitions"),
            "{said}"
        );
        assert!(begun.elapsed() < DRAIN * 2, "it would never end by itself");
        let left: Vec<String> = held.lock().unwrap().iter().cloned().collect();
        assert_eq!(left, ["workloaddefinitions/a"]);
    }
}
