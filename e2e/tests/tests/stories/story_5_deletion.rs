//! A deletion takes all that was made and nothing else.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use threeport_client::{ApplyBody, Propagation};
use threeport_e2e::{World, kubectl, leftovers, wait_until, workload};
use threeport_model::find_kind;

use crate::steps::{apply, condition, delete, live, wait_ready};

#[tokio::test(flavor = "multi_thread")]
async fn story_5_after_the_deletion_the_cluster_is_as_before() -> Result<()> {
    let world = World::connect().await?;
    let definition = [workload::definition(
        "gone",
        &workload::service("gone", workload::IMAGE),
    )];
    apply(&world, &definition).await?;
    wait_ready(&world, &definition).await?;
    let before = leftovers::everything(&world.cluster).await?;
    kubectl("create configmap story-5-planted -n default", None)
        .await?
        .success()?;
    let planted = leftovers::everything(&world.cluster).await?;
    ensure!(
        planted.len() == before.len() + 1,
        "positive control: the planted leak was not found"
    );
    kubectl("delete configmap story-5-planted -n default", None)
        .await?
        .success()?;

    let instance = [workload::instance("gone", "gone", &json!({}))];
    apply(&world, &instance).await?;
    wait_ready(&world, &instance).await?;
    ensure!(
        leftovers::everything(&world.cluster).await?.len() > before.len(),
        "nothing was made"
    );
    delete(&world, &instance).await?;
    wait_until("the cluster is as before", Duration::from_secs(60), || async {
        let after = leftovers::everything(&world.cluster).await?;
        let difference: Vec<_> = before.symmetric_difference(&after).collect();
        Ok(if difference.is_empty() {
            Ok(())
        } else {
            Err(format!("{difference:?}"))
        })
    })
    .await?;
    delete(&world, &definition).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_5_what_was_there_before_and_a_neighbour_are_untouched() -> Result<()> {
    let world = World::connect().await?;
    kubectl("create namespace shared", None).await?.success()?;
    kubectl("-n shared create configmap foreign --from-literal=a=b", None)
        .await?
        .success()?;
    let uid = live("shared", "configmap/foreign").await?.unwrap_or_default()["metadata"]["uid"].clone();
    let into = json!({"namespace": "shared"});
    let objects = [
        workload::definition("one", &workload::service("one", workload::IMAGE)),
        workload::definition("two", &workload::service("two", workload::IMAGE)),
        workload::instance("one", "one", &into),
        workload::instance("two", "two", &into),
    ];
    apply(&world, &objects).await?;
    wait_ready(&world, &objects).await?;
    let neighbour = live("shared", "deployment/two").await?.unwrap_or_default()["metadata"]["uid"].clone();
    delete(&world, &objects[2..3]).await?;
    ensure!(
        live("shared", "deployment/one").await?.is_none(),
        "the deleted instance's Deployment is there"
    );
    let after = live("shared", "deployment/two").await?.unwrap_or_default()["metadata"]["uid"].clone();
    ensure!(after == neighbour, "the neighbour was touched");
    delete(&world, &objects).await?;
    let foreign = live("shared", "configmap/foreign").await?.unwrap_or_default()["metadata"]["uid"].clone();
    ensure!(foreign == uid, "the foreign ConfigMap was touched");
    kubectl("delete namespace shared", None).await?.success()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_5_creating_over_a_foreign_object_is_stalled_conflict() -> Result<()> {
    let world = World::connect().await?;
    kubectl("create namespace taken", None).await?.success()?;
    kubectl(
        "-n taken create configmap taken --from-literal=value=foreign",
        None,
    )
    .await?
    .success()?;
    let objects = [
        workload::definition("taken", &workload::service("taken", workload::IMAGE)),
        workload::instance("taken", "taken", &json!({"namespace": "taken"})),
    ];
    apply(&world, &objects).await?;
    let stalled = condition(
        &world,
        "workloadinstance/taken",
        "Stalled",
        "True",
        Duration::from_secs(20),
    )
    .await?;
    ensure!(stalled["reason"] == "Conflict", "{stalled}");
    ensure!(
        stalled["message"].as_str().unwrap_or_default().contains("taken"),
        "{stalled}"
    );
    let map = live("taken", "configmap/taken").await?.unwrap_or_default();
    ensure!(
        map["data"]["value"] == "foreign",
        "the foreign object was written: {map}"
    );
    delete(&world, &objects).await?;
    ensure!(
        live("taken", "configmap/taken").await?.is_some(),
        "the foreign object was deleted"
    );
    kubectl("delete namespace taken", None).await?.success()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_5_kubectl_delete_ends_in_every_order_of_the_documents() -> Result<()> {
    let world = World::connect().await?;
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "only"}, "data": {"a": "b"}});
    for (round, reversed) in [false, true].into_iter().enumerate() {
        let name = format!("order-{round}");
        let mut objects = vec![
            workload::definition(&name, std::slice::from_ref(&map)),
            workload::instance(&name, &name, &json!({})),
        ];
        if reversed {
            objects.reverse();
        }
        apply(&world, &objects).await?;
        wait_ready(&world, &objects).await?;
        delete(&world, &objects).await?;
        ensure!(
            live(&name, "configmap/only").await?.is_none(),
            "reversed: {reversed}: the ConfigMap is there"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_5_deleting_the_crds_loses_no_workload_and_they_come_back() -> Result<()> {
    let world = World::connect().await?;
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "only"}, "data": {"a": "b"}});
    let objects = [
        workload::definition("crds", &[map]),
        workload::instance("crds", "crds", &json!({})),
    ];
    world
        .api
        .apply(ApplyBody::Objects(objects.to_vec()), false)
        .await?;
    wait_ready(&world, &objects).await?;
    let uid = live("crds", "configmap/only").await?.unwrap_or_default()["metadata"]["uid"].clone();
    let crds = "workloadinstances.threeport.io workloaddefinitions.threeport.io";
    kubectl(&format!("delete crd {crds} --timeout=60s"), None)
        .await?
        .success()?;
    // A restart is what brings the kinds back in any case; whether it is needed is the facade's business.
    kubectl(
        &format!(
            "-n {} rollout restart deployment threeport-facade",
            world.namespace
        ),
        None,
    )
    .await?
    .success()?;
    wait_until("the mirrors are back", Duration::from_secs(90), || async {
        Ok(live(&world.namespace, "workloadinstance/crds")
            .await?
            .map(|_| ())
            .ok_or_else(|| "absent".to_owned()))
    })
    .await?;
    wait_ready(&world, &objects).await?;
    let after = live("crds", "configmap/only").await?.unwrap_or_default()["metadata"]["uid"].clone();
    ensure!(
        after == uid && !uid.is_null(),
        "the workload was touched: {uid} {after}"
    );
    let Some(kind) = find_kind("WorkloadDefinition") else {
        anyhow::bail!("no such kind")
    };
    world
        .api
        .object_delete(kind, "crds", Propagation::Cascade)
        .await?;
    wait_until("the workload is gone", Duration::from_secs(60), || async {
        Ok(live("crds", "configmap/only")
            .await?
            .map_or(Ok(()), |_| Err("there".to_owned())))
    })
    .await?;
    Ok(())
}
