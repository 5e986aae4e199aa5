//! Deleting all definitions of custom resources loses no workload: they come back by themselves, and with them what
//! they showed.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use threeport_client::ApplyBody;
use threeport_e2e::{World, kubectl, wait_until, workload};
use threeport_model::{GROUP, kinds};

use crate::{
    scene::Scene,
    steps::{apply, custom_resource, delete, gone, live, rest_get, uid, wait_ready},
};

/// Name -> uid of Threeport's definitions of custom resources.
pub(crate) async fn definitions() -> Result<BTreeMap<String, String>> {
    let list = kubectl("get crds -o json", None).await?.success()?.json()?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let ours = items.iter().filter(|crd| crd["spec"]["group"] == GROUP);
    Ok(ours
        .map(|crd| {
            let name = crd["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            (name, crd["metadata"]["uid"].to_string())
        })
        .collect())
}

/// The pods of the control plane, and how often they were started: whether anything was restarted. Those of Jobs aside, which
/// renew its certificates once a day.
pub(crate) async fn pods(namespace: &str) -> Result<BTreeMap<String, Value>> {
    let selector = "app.kubernetes.io/name=threeport";
    let list = kubectl(&format!("-n {namespace} get pods -l {selector} -o json"), None)
        .await?
        .success()?
        .json()?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items
        .iter()
        .filter(|pod| pod["metadata"]["ownerReferences"][0]["kind"] != "Job")
        .map(|pod| {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            (
                name,
                pod["status"]["containerStatuses"][0]["restartCount"].clone(),
            )
        })
        .collect())
}

/// A definition and an instance of one name, with a ConfigMap of this value.
pub(crate) fn pair(name: &str, value: &str) -> [Value; 2] {
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "only"}, "data": {"a": value}});
    [
        workload::definition(name, std::slice::from_ref(&map)),
        workload::instance(name, name, &json!({})),
    ]
}

/// Brings objects of both owners, and waits until they are Ready.
pub(crate) async fn place(world: &World, mirrored: &[Value], own: &[Value]) -> Result<()> {
    world
        .api
        .apply(ApplyBody::Objects(mirrored.to_vec()), false)
        .await?;
    apply(world, own).await?;
    wait_ready(world, mirrored).await?;
    wait_ready(world, own).await.map(drop)
}

/// What must be the same afterwards: the objects' ids in the database, and the uids of what runs.
pub(crate) async fn identities(world: &World, names: &[&str]) -> Result<Vec<String>> {
    let mut identities = Vec::new();
    for name in names {
        for kind in ["tpwd", "tpwi"] {
            identities.push(rest_get(world, kind, name).await?.id().to_string());
        }
        identities.push(uid(name, "configmap/only").await?);
    }
    Ok(identities)
}

/// Waits until all definitions were made anew, and the custom resources of the objects of these names.
pub(crate) async fn are_back(world: &World, before: &BTreeMap<String, String>, names: &[&str]) -> Result<()> {
    let limit = Duration::from_secs(60);
    wait_until("all definitions are back", limit, || async {
        let now = definitions().await?;
        let back =
            now.keys().eq(before.keys()) && now.iter().all(|(name, uid)| before.get(name) != Some(uid));
        Ok(if back { Ok(()) } else { Err(format!("{now:?}")) })
    })
    .await?;
    wait_until("all custom resources are back", limit, || async {
        for name in names {
            for kind in ["workloaddefinition", "workloadinstance"] {
                let what = format!("{kind}/{name}");
                if custom_resource(world, &what).await?.is_none() {
                    return Ok(Err(format!("{what} is absent")));
                }
            }
        }
        Ok(Ok(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_5_deleting_the_crds_loses_no_workload_and_they_come_back() -> Result<()> {
    let pair = |name: &str| pair(name, "b");
    let (mirrored, own) = (pair("crds-mirrored"), pair("crds-own"));
    let names = ["crds-mirrored", "crds-own"];
    Scene::of(&mirrored)
        .alone()
        .and(&own)
        .play(async |world| {
            place(world, &mirrored, &own).await?;
            let before = definitions().await?;
            let expected = kinds::ALL.iter().filter(|kind| kind.custom_resource).count();
            ensure!(before.len() == expected, "the definitions are {before:?}");
            let (running, same) = (pods(&world.namespace).await?, identities(world, &names).await?);

            let all = before.keys().cloned().collect::<Vec<_>>().join(" ");
            kubectl(&format!("delete crd {all} --timeout=60s"), None)
                .await?
                .success()?;
            are_back(world, &before, &names).await?;
            wait_ready(world, &mirrored).await?;
            wait_ready(world, &own).await?;
            ensure!(
                identities(world, &names).await? == same,
                "an object or its workload is not the one of before"
            );
            ensure!(
                pods(&world.namespace).await? == running,
                "a part of the control plane was restarted"
            );

            // What Kubernetes managed is still its own: it is edited and deleted there.
            delete(world, &own).await?;
            gone("crds-own", "configmap/only", Duration::from_secs(60)).await?;
            ensure!(
                live("crds-mirrored", "configmap/only").await?.is_some(),
                "the other workload is gone too"
            );
            Ok(())
        })
        .await
}
