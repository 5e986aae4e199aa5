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

/// At the end of the process: lets go where the namespace goes too.
pub(crate) async fn on_shutdown(kube: &kube::Client, namespace: &str) -> anyhow::Result<()> {
    let terminating = namespace::is_terminating(kube, namespace).await;
    match terminating.with_context(|| format!("failed to read namespace {namespace}"))? {
        true => strip(kube, namespace).await,
        false => Ok(()),
    }
}

async fn strip(kube: &kube::Client, namespace: &str) -> anyhow::Result<()> {
    for kind in kinds::ALL.iter().filter(|kind| kind.custom_resource) {
        let api = resource::api(kube, namespace, kind);
        let found = match resource::metadata(kube, namespace, kind, &ListParams::default()).await {
            Ok(found) => found.items,
            // No definition, no resources.
            Err(error) if is_not_found(&error) => continue,
            Err(error) => return Err(error).with_context(|| format!("failed to list {}", kind.plural)),
        };
        let held = found.into_iter().filter(resource::has_finalizer);
        let stripped = stream::iter(held).map(|resource| {
            let api = api.clone();
            async move { finalizer::release(&api, &resource.name_any()).await }
        });
        stripped
            .buffer_unordered(8)
            .try_collect::<Vec<()>>()
            .await
            .with_context(|| format!("failed to take finalizers off {}", kind.plural))?;
    }
    Ok(())
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
    use std::convert::Infallible;

    use axum::http::{Method, Request, Response};
    use kube::client::Body;

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
}
