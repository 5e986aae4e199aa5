//! That what was refused left nothing: neither in the database nor, at error level, in a log.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use threeport_e2e::{World, kubectl, logs, workload};
use uuid::Uuid;

use crate::steps::{apply, versions, wait_ready};

const PLANTED: &str = "story-8-planted";

/// What the API has stored.
#[derive(Debug, PartialEq)]
pub(crate) struct Stored {
    versions: BTreeMap<String, (i64, Option<i64>)>,
    /// The newest of those that changed something.
    operations: Vec<Uuid>,
}

impl Stored {
    pub(crate) async fn read(world: &World) -> Result<Self> {
        let operations = world.api.operations(Some(20)).await?;
        let operations = operations
            .into_iter()
            .filter(|operation| !operation.objects.is_empty());
        Ok(Self {
            versions: versions(world).await?,
            operations: operations.map(|operation| operation.id).collect(),
        })
    }
}

/// The control, before anything is tried: what is stored is seen. `good` is an object that is there afterwards.
pub(crate) async fn what_is_stored_would_be_seen(world: &World, good: &[Value]) -> Result<()> {
    let before = Stored::read(world).await?;
    apply(world, good).await?;
    // It has come to rest when it is Ready.
    wait_ready(world, good).await?;
    ensure!(
        Stored::read(world).await? != before,
        "positive control: what was stored is not seen"
    );
    Ok(())
}

/// The control, before anything is tried: an error is found.
pub(crate) async fn an_error_would_be_found(namespace: &str) -> Result<()> {
    let since = Timestamp::now();
    let planted = plant_an_error(namespace).await;
    let found = logs::lines_with(namespace, since, logs::ERROR).await;
    kubectl(
        &format!("-n {namespace} delete pod {PLANTED} --ignore-not-found"),
        None,
    )
    .await?
    .success()?;
    planted?;
    let found = found?;
    ensure!(
        found.len() == 1 && found[0].contains(PLANTED),
        "positive control: the planted error is not what was found: {found:?}"
    );
    Ok(())
}

/// Fails if a pod of the control plane logged an error since then.
pub(crate) async fn no_error_is_logged(namespace: &str, since: Timestamp) -> Result<()> {
    let told = logs::lines_with(namespace, since, logs::INFO).await?;
    ensure!(!told.is_empty(), "positive control: nobody logged anything");
    let errors = logs::lines_with(namespace, since, logs::ERROR).await?;
    ensure!(errors.is_empty(), "errors were logged: {errors:#?}");
    Ok(())
}

/// A pod that says what an error's line says, in the clothes of the control plane.
async fn plant_an_error(namespace: &str) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": PLANTED, "namespace": namespace, "labels": {"app.kubernetes.io/name": "threeport"}},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "planted", "image": workload::IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["job"],
                "env": [{"name": "NAME", "value": format!("{{{}}}", logs::ERROR)}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    kubectl("create -f -", Some(&pod.to_string())).await?.success()?;
    let done = "--for=jsonpath={.status.phase}=Succeeded";
    kubectl(
        &format!("-n {namespace} wait pod/{PLANTED} {done} --timeout=60s"),
        None,
    )
    .await?
    .success()
    .map(drop)
}
