//! The cluster that the control plane lives in, and the control plane itself, as their own records tell them: what
//! `kubectl` says of them, and nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use threeport_e2e::{World, kubectl, wait_until};

use crate::{
    installation::PARTS,
    steps::{custom_resource, is_ready, kind, own_record, rest_get},
};

/// Parts that are all ready are looked at once a minute.
const LOOKED_AT: Duration = Duration::from_secs(90);

async fn asked(arguments: &str) -> Result<Value> {
    kubectl(arguments, None).await?.success()?.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn runtime_s_record_tells_version_nodes_agent_and_that_it_is_reachable() -> Result<()> {
    let world = World::connect().await?;
    let (records, _) = world
        .api
        .object_list_all(kind("KubernetesRuntimeInstance")?, None)
        .await?;
    let record = records
        .first()
        .context("the control plane's cluster has no record")?;
    let version = asked("version -o json").await?["serverVersion"]["gitVersion"].clone();
    let nodes = asked("get nodes -o json").await?["items"]
        .as_array()
        .map_or(0, Vec::len);
    ensure!(
        nodes > 0 && version.is_string(),
        "kubectl tells {nodes} nodes, version {version}"
    );

    let what = format!("kubernetesruntimeinstance/{}", record.metadata.name);
    wait_until(
        "the record tells the cluster",
        Duration::from_secs(30),
        || async {
            let resource = custom_resource(&world, &what)
                .await?
                .context("it has no mirror")?;
            for status in [
                &rest_get(&world, "tpkri", &record.metadata.name).await?.status,
                &resource["status"],
            ] {
                let told = status["version"] == version
                    && status["nodes"]["total"] == nodes
                    && status["nodes"]["ready"] == nodes
                    && status["agent"]["connected"] == true
                    && status["reachable"]["status"] == "True"
                    && status["agent"]["version"]
                        .as_str()
                        .is_some_and(|version| !version.is_empty());
                if !told {
                    return Ok(Err(status.to_string()));
                }
            }
            Ok(if is_ready(&resource) {
                Ok(())
            } else {
                Err(resource["status"]["conditions"].to_string())
            })
        },
    )
    .await
}

/// The parts of a control plane, as its record is to have them.
async fn parts(namespace: &str) -> Result<Vec<Value>> {
    let names = PARTS.map(|part| part.replace(' ', "/")).join(" ");
    let listed = asked(&format!("-n {namespace} get {names} -o json")).await?;
    let listed = listed["items"].as_array().context("no parts are listed")?;
    let component = |part: &Value| {
        json!({
            "name": part["metadata"]["name"],
            "ready": part["status"]["readyReplicas"],
            "desired": part["spec"]["replicas"],
            "image": part["spec"]["template"]["spec"]["containers"][0]["image"],
        })
    };
    let mut parts: Vec<_> = listed.iter().map(component).collect();
    parts.sort_by_key(|part| part["name"].to_string());
    Ok(parts)
}

#[tokio::test(flavor = "multi_thread")]
async fn control_plane_s_record_of_itself_tells_its_parts_and_what_version_runs() -> Result<()> {
    let world = World::connect().await?;
    let name = own_record(&world).await?;
    let what = format!("controlplaneinstance/{name}");
    let running = world.api.version().await?;
    let endpoint = format!("https://threeport-api.{}.svc", world.namespace);
    wait_until("the record tells the control plane", LOOKED_AT, || async {
        let parts = parts(&world.namespace).await?;
        if parts.len() != PARTS.len() || parts.iter().any(|part| part["ready"] != part["desired"]) {
            return Ok(Err(format!("not all parts are ready: {parts:?}")));
        }
        let parts = Value::from(parts);
        let resource = custom_resource(&world, &what)
            .await?
            .context("it has no mirror")?;
        for status in [
            &rest_get(&world, "tpcpi", &name).await?.status,
            &resource["status"],
        ] {
            let told = status["isSelf"] == true
                && status["apiEndpoint"] == endpoint
                && status["version"] == running.version
                && status["schemaVersion"] == running.schema_version
                && status["components"] == parts;
            if !told {
                return Ok(Err(format!("{status}; {running:?} runs, {parts}")));
            }
        }
        Ok(if is_ready(&resource) {
            Ok(())
        } else {
            Err(resource["status"]["conditions"].to_string())
        })
    })
    .await
}
