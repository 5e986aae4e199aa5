//! Steps that more than one story takes.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use threeport_e2e::{Output, World, kubectl, wait_until, workload};
use threeport_model::{Object, find_kind};

/// The longest that a small workload may take to be Ready on two cores.
pub(crate) const READY: Duration = Duration::from_secs(60);

/// `kubectl apply -f -` in the control plane's namespace.
pub(crate) async fn apply(world: &World, objects: &[Value]) -> Result<Output> {
    kubectl(
        &format!("-n {} apply -f -", world.namespace),
        Some(&workload::text(objects)),
    )
    .await?
    .success()
}

/// `kubectl wait --for=condition=Ready` on everything in `objects`.
pub(crate) async fn wait_ready(world: &World, objects: &[Value]) -> Result<Output> {
    let arguments = format!(
        "-n {} wait --for=condition=Ready --timeout={}s -f -",
        world.namespace,
        READY.as_secs()
    );
    kubectl(&arguments, Some(&workload::text(objects)))
        .await?
        .success()
}

/// `kubectl delete -f -`, waiting until all is gone.
pub(crate) async fn delete(world: &World, objects: &[Value]) -> Result<Output> {
    let arguments = format!(
        "-n {} delete --ignore-not-found --timeout=90s -f -",
        world.namespace
    );
    kubectl(&arguments, Some(&workload::text(objects)))
        .await?
        .success()
}

/// An object as the REST API has it.
pub(crate) async fn rest_get(world: &World, kind: &str, name: &str) -> Result<Object> {
    let Some(descriptor) = find_kind(kind) else {
        anyhow::bail!("{kind} is not a kind")
    };
    Ok(world.api.object_get(descriptor, name).await?)
}

/// A live object as `kubectl get -o json` shows it; nothing where it is absent.
pub(crate) async fn live(namespace: &str, what: &str) -> Result<Option<Value>> {
    let output = kubectl(
        &format!("-n {namespace} get {what} --ignore-not-found -o json"),
        None,
    )
    .await?
    .success()?;
    if output.stdout.trim().is_empty() {
        Ok(None)
    } else {
        Ok(Some(output.json()?))
    }
}

/// Waits until a condition of a custom resource has the wanted status, and answers with the condition.
pub(crate) async fn condition(
    world: &World,
    what: &str,
    kind: &str,
    status: &str,
    limit: Duration,
) -> Result<Value> {
    wait_until(&format!("{what} {kind}={status}"), limit, || async {
        let Some(object) = live(&world.namespace, what).await? else {
            return Ok(Err("absent".to_owned()));
        };
        let conditions = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        Ok(match found {
            Some(condition) if condition["status"] == status => Ok(condition.clone()),
            _ => Err(Value::Array(conditions).to_string()),
        })
    })
    .await
}

/// Asks `urls` from inside the cluster, by a Job of the sample's image in a namespace of its own; what it printed.
pub(crate) async fn ask_inside(job: &str, urls: &[String]) -> Result<String> {
    let container = serde_json::json!({
        "name": "get", "image": workload::IMAGE, "imagePullPolicy": "IfNotPresent",
        "args": std::iter::once("get".to_owned()).chain(urls.iter().cloned()).collect::<Vec<_>>(),
    });
    let manifest = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job, "namespace": "default"},
        "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    });
    kubectl("delete job -n default --ignore-not-found --wait", None)
        .await
        .ok();
    kubectl("apply -f -", Some(&manifest.to_string()))
        .await?
        .success()?;
    let ended = wait_until("the asking Job ends", Duration::from_secs(60), || async {
        let Some(live) = live("default", &format!("job/{job}")).await? else {
            return Ok(Err("absent".to_owned()));
        };
        let status = &live["status"];
        let done = status["succeeded"].as_i64().unwrap_or(0) + status["failed"].as_i64().unwrap_or(0) > 0;
        Ok(if done {
            Ok(status["succeeded"] == 1)
        } else {
            Err(status.to_string())
        })
    })
    .await?;
    let printed = kubectl(&format!("-n default logs job/{job}"), None).await?.stdout;
    kubectl(&format!("-n default delete job {job} --ignore-not-found"), None).await?;
    ensure!(ended, "not every URL answered:\n{printed}");
    Ok(printed)
}
