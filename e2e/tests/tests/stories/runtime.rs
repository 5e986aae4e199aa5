//! The cluster that the control plane lives in, as its own record tells it: what `kubectl` says of it, and nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use threeport_e2e::{World, kubectl, wait_until};

use crate::steps::{condition_of, custom_resource, kind, rest_get};

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
            let ready = condition_of(&resource, "Ready").cloned().unwrap_or_default();
            Ok(if ready["status"] == "True" {
                Ok(())
            } else {
                Err(ready.to_string())
            })
        },
    )
    .await
}
