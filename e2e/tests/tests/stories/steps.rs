//! Steps that more than one story takes.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use kube::{
    Api,
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;
use threeport_crds::CustomResource;
use threeport_e2e::{Output, World, kubectl, wait_until, workload};
use threeport_model::{Code, GROUP, KindDescriptor, Object, VERSION, find_kind, kinds};

/// The longest that a small workload may take to be Ready on two cores.
pub(crate) const READY: Duration = Duration::from_secs(60);

/// A kind by any of its names.
pub(crate) fn kind(word: &str) -> Result<&'static KindDescriptor> {
    find_kind(word).with_context(|| format!("{word} is not a kind"))
}

/// `kubectl apply -f -` in the control plane's namespace.
pub(crate) async fn apply(world: &World, objects: &[Value]) -> Result<Output> {
    kubectl(
        &format!("-n {} apply -f -", world.namespace),
        Some(&workload::text(objects)),
    )
    .await?
    .success()
}

/// `kubectl wait --for=condition=Ready` on everything in `objects`; it fails where there is nothing to wait on, so what
/// REST made is waited for until it has its mirror.
pub(crate) async fn wait_ready(world: &World, objects: &[Value]) -> Result<Output> {
    for object in objects {
        let what = custom_resource_name(object)?;
        wait_until(&format!("{what} is there"), READY, || async {
            let found = custom_resource(world, &what).await?;
            Ok(found.map(drop).ok_or_else(|| "absent".to_owned()))
        })
        .await?;
    }
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

/// Asks for the deletion of a custom resource, if it is there, and waits for nothing.
pub(crate) async fn delete_later(world: &World, object: &Value) -> Result<()> {
    let what = custom_resource_name(object)?;
    if custom_resource(world, &what).await?.is_none() {
        return Ok(());
    }
    let arguments = format!(
        "-n {} delete {what} --ignore-not-found --wait=false",
        world.namespace
    );
    kubectl(&arguments, None).await?.success().map(drop)
}

/// `workloadinstance/web`, as kubectl takes it.
fn custom_resource_name(object: &Value) -> Result<String> {
    let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
    let (kind, name) = kind.as_str().zip(name.as_str()).context("it has no name")?;
    Ok(format!("{}/{name}", self::kind(kind)?.singular))
}

/// An object as the REST API has it.
pub(crate) async fn rest_get(world: &World, kind: &str, name: &str) -> Result<Object> {
    Ok(world.api.object_get(self::kind(kind)?, name).await?)
}

/// Waits until the REST API says that there is no such object.
pub(crate) async fn rest_gone(world: &World, kind: &str, name: &str) -> Result<()> {
    let descriptor = self::kind(kind)?;
    wait_until(
        &format!("{kind}/{name} is gone"),
        Duration::from_secs(120),
        || async {
            match world.api.object_get(descriptor, name).await {
                Ok(object) => Ok(Err(object.status.to_string())),
                Err(error) if error.code() == Some(Code::NotFound) => Ok(Ok(())),
                Err(error) => Err(error.into()),
            }
        },
    )
    .await
}

/// The name of the control plane's record of itself.
pub(crate) async fn own_record(world: &World) -> Result<String> {
    let (records, _) = world
        .api
        .object_list_all(kind("ControlPlaneInstance")?, None)
        .await?;
    let own = records.into_iter().find(|record| record.status["isSelf"] == true);
    Ok(own
        .context("the control plane has no record of itself")?
        .metadata
        .name)
}

/// Generation and resourceVersion of every object that the REST API has, by `Kind/name`: whether anything was changed.
pub(crate) async fn versions(world: &World) -> Result<BTreeMap<String, (i64, Option<i64>)>> {
    let mut versions = BTreeMap::new();
    for kind in kinds::ALL.iter().filter(|kind| kind.custom_resource) {
        let (objects, _) = world.api.object_list_all(kind, None).await?;
        versions.extend(objects.iter().map(|object| {
            let version = object.metadata.resource_version;
            (object.reference(), (object.generation(), version))
        }));
    }
    Ok(versions)
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

/// The uid of a live object that must be there.
pub(crate) async fn uid(namespace: &str, what: &str) -> Result<String> {
    let object = live(namespace, what)
        .await?
        .with_context(|| format!("{namespace} has no {what}"))?;
    Ok(object["metadata"]["uid"].to_string())
}

/// Waits until a live object is gone.
pub(crate) async fn gone(namespace: &str, what: &str, limit: Duration) -> Result<()> {
    wait_until(&format!("{what} of {namespace} is gone"), limit, || async {
        Ok(live(namespace, what)
            .await?
            .map_or(Ok(()), |_| Err("there".to_owned())))
    })
    .await
}

/// The custom resources of a kind in the control plane's namespace.
pub(crate) fn custom_resources(world: &World, kind: &KindDescriptor) -> Api<CustomResource> {
    let gvk = GroupVersionKind::gvk(GROUP, VERSION, kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    Api::namespaced_with(world.cluster.clone(), &world.namespace, &resource)
}

/// A custom resource of the control plane (`workloadinstance/web`); nothing where it, or its definition, is absent.
/// Read without a process of its own, so that short limits can be kept.
pub(crate) async fn custom_resource(world: &World, what: &str) -> Result<Option<Value>> {
    let (kind, name) = what
        .split_once('/')
        .with_context(|| format!("{what} has no name"))?;
    match custom_resources(world, self::kind(kind)?).get(name).await {
        Ok(found) => Ok(Some(serde_json::to_value(found)?)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A condition of an object.
pub(crate) fn condition_of<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut conditions = object["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == kind)
}

/// Whether a condition of an object is true.
pub(crate) fn is_true(object: &Value, kind: &str) -> bool {
    condition_of(object, kind).is_some_and(|condition| condition["status"] == "True")
}

/// Whether an object is Ready.
pub(crate) fn is_ready(object: &Value) -> bool {
    is_true(object, "Ready")
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
        let Some(object) = custom_resource(world, what).await? else {
            return Ok(Err("absent".to_owned()));
        };
        Ok(match condition_of(&object, kind) {
            Some(condition) if condition["status"] == status => Ok(condition.clone()),
            _ => Err(object["status"]["conditions"].to_string()),
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
    let remove = format!("-n default delete job {job} --ignore-not-found --timeout=60s");
    kubectl(&remove, None).await?.success()?;
    kubectl("create -f -", Some(&manifest.to_string()))
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
    kubectl(&remove, None).await?.success()?;
    if !ended {
        bail!("not every URL answered:\n{printed}");
    }
    ensure!(!printed.is_empty(), "the asking Job printed nothing");
    Ok(printed)
}
