//! The rows of docs/failures.md that no story of a number tells: what a person sees while a part is down, that workloads
//! run on, and that all of it is caught up with once the part is back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use threeport_e2e::{World, kubectl, kubectl::run, metrics, wait_until, workload};
use threeport_model::Object;

use crate::{
    installation::{rolled_out, scale},
    scene::Scene,
    steps::{
        apply, condition, condition_of, custom_resource, delete_later, gone, is_ready, is_true, kind, live,
        rest_get, wait_ready,
    },
};

const NOTICED: Duration = Duration::from_secs(30);
const CAUGHT_UP: Duration = Duration::from_secs(60);

/// A definition and an instance of it.
fn pair(name: &str) -> [Value; 2] {
    [
        workload::definition(name, &workload::service(name, workload::IMAGE)),
        workload::instance(name, name, &json!({})),
    ]
}

/// The same of a ConfigMap alone, of that value.
fn map(name: &str, value: &str) -> [Value; 2] {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}});
    [
        workload::definition(name, &[map]),
        workload::instance(name, name, &json!({})),
    ]
}

/// What runs of a workload, which nobody may touch while a part is down.
async fn pods(name: &str) -> Result<Vec<String>> {
    let list = live(name, &format!("pods -l app={name}"))
        .await?
        .context("kubectl printed no list")?;
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    ensure!(!pods.is_empty(), "{name} has no pods");
    Ok(pods
        .iter()
        .map(|pod| {
            let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
            format!("{} {restarts}", pod["metadata"]["uid"])
        })
        .collect())
}

/// Takes a part away and waits until none of it runs.
async fn without(world: &World, part: &str) -> Result<()> {
    scale(&world.namespace, &format!("deployment threeport-{part}"), 0).await?;
    let pods = format!("pods -l app.kubernetes.io/component={part}");
    gone(&world.namespace, &pods, CAUGHT_UP).await
}

async fn back(world: &World, part: &str) -> Result<()> {
    let part = format!("deployment threeport-{part}");
    scale(&world.namespace, &part, 1).await?;
    rolled_out(&world.namespace, &part).await
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_without_the_api_resources_say_so_and_are_caught_up_with() -> Result<()> {
    let (steady, late) = (pair("steady"), pair("late"));
    let (before_edit, edited) = (map("edited", "one"), map("edited", "two"));
    let going = map("going", "one");
    Scene::of(&steady)
        .and(&late)
        .and(&edited)
        .and(&going)
        .and_changes_of_the_installation()
        .play(async |world| {
            apply(world, &steady).await?;
            apply(world, &before_edit).await?;
            apply(world, &going).await?;
            wait_ready(world, &steady).await?;
            wait_ready(world, &before_edit).await?;
            wait_ready(world, &going).await?;
            let before = pods("steady").await?;

            without(world, "api").await?;
            ensure!(world.api.ready().await.is_err(), "the API answers");
            let asked = run("tptctl", &["get", "workloadinstances"], None).await?;
            ensure!(
                asked.code == 1 && asked.stderr.contains("failed to reach the API"),
                "{asked:?}"
            );
            kubectl("-n edited delete configmap edited", None)
                .await?
                .success()?;
            apply(world, &edited[..1]).await?;
            apply(world, &late).await?;
            delete_later(world, &going[1]).await?;
            for what in [
                "workloaddefinition/edited",
                "workloaddefinition/late",
                "workloadinstance/late",
            ] {
                let synced = condition(world, what, "Synced", "Unknown", NOTICED).await?;
                ensure!(synced["reason"] == "ApiUnavailable", "{what}: {synced}");
            }
            let instance = "workloadinstance/going";
            let blocked = condition(world, instance, "DeletionBlocked", "True", NOTICED).await?;
            ensure!(blocked["reason"] == "ApiUnavailable", "{instance}: {blocked}");
            for what in ["workloadinstance/steady", "workloadinstance/edited"] {
                let kept = custom_resource(world, what).await?;
                let kept = kept.context("the instance is gone")?;
                ensure!(
                    is_true(&kept, "Synced") && is_ready(&kept),
                    "an outage rewrote what it does not concern: {kept}"
                );
            }
            for (namespace, what) in [("late", "deployment/late"), ("edited", "configmap/edited")] {
                let made = live(namespace, what).await?;
                ensure!(made.is_none(), "somebody made it meanwhile: {made:?}");
            }

            back(world, "api").await?;
            wait_ready(world, &late).await?;
            wait_until("the edit arrives", CAUGHT_UP, || async {
                let map = live("edited", "configmap/edited").await?.unwrap_or_default();
                Ok(if map["data"]["value"] == "two" {
                    Ok(())
                } else {
                    Err(map.to_string())
                })
            })
            .await?;
            gone(&world.namespace, instance, CAUGHT_UP).await?;
            ensure!(pods("steady").await? == before, "its pods were touched");
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_without_the_controllers_work_waits_and_its_age_is_told() -> Result<()> {
    let (steady, late) = (pair("steady"), pair("late"));
    Scene::of(&steady)
        .and(&late)
        .and_changes_of_the_installation()
        .play(async |world| {
            apply(world, &steady).await?;
            wait_ready(world, &steady).await?;
            let before = pods("steady").await?;

            without(world, "controllers").await?;
            apply(world, &late).await?;
            // Its definition may come a moment after it.
            wait_until("the instance is said to be in progress", NOTICED, || async {
                let instance = custom_resource(world, "workloadinstance/late").await?;
                let instance = instance.context("absent")?;
                let ready = condition_of(&instance, "Ready").cloned().unwrap_or_default();
                Ok(
                    if ready["status"] == "False" && ready["reason"] == "Progressing" {
                        Ok(())
                    } else {
                        Err(ready.to_string())
                    },
                )
            })
            .await?;
            wait_until("the oldest pending work has an age", NOTICED, || async {
                let samples = metrics::of_deployment(&world.namespace, "api").await?;
                let labels = [r#"kind="WorkloadInstance""#];
                let age = metrics::sum(&samples, "threeport_oldest_pending_seconds", &labels);
                Ok(if age >= 5.0 { Ok(()) } else { Err(age.to_string()) })
            })
            .await?;
            ensure!(
                live("late", "deployment/late").await?.is_none(),
                "somebody applied it"
            );
            let kept = custom_resource(world, "workloadinstance/steady").await?;
            let kept = kept.context("the instance is gone")?;
            ensure!(is_ready(&kept), "it does not stay as it was last: {kept}");

            back(world, "controllers").await?;
            wait_ready(world, &late).await?;
            ensure!(pods("steady").await? == before, "its pods were touched");
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_without_the_facade_rest_goes_on_and_kubectl_is_caught_up_with() -> Result<()> {
    let (by_rest, by_kubectl) = (pair("by-rest"), pair("by-kubectl"));
    Scene::of(&by_rest)
        .and(&by_kubectl)
        .and_changes_of_the_installation()
        .play(async |world| {
            without(world, "facade").await?;
            apply(world, &by_kubectl).await?;
            for object in &by_rest {
                let object: Object = serde_json::from_value(object.clone())?;
                world.api.object_create(kind(&object.kind)?, &object).await?;
            }
            wait_until("what REST made is Ready", CAUGHT_UP, || async {
                let object = rest_get(world, "WorkloadInstance", "by-rest").await?;
                Ok(if is_ready(&serde_json::to_value(&object)?) {
                    Ok(())
                } else {
                    Err(object.status.to_string())
                })
            })
            .await?;
            let unseen = custom_resource(world, "workloadinstance/by-kubectl").await?;
            let unseen = unseen.context("the resource is gone")?;
            ensure!(
                unseen["status"].is_null(),
                "somebody wrote its status without the facade: {unseen}"
            );
            let mirror = custom_resource(world, "workloadinstance/by-rest").await?;
            ensure!(mirror.is_none(), "somebody mirrored it: {mirror:?}");

            back(world, "facade").await?;
            wait_ready(world, &by_kubectl).await?;
            condition(world, "workloadinstance/by-rest", "Ready", "True", CAUGHT_UP)
                .await
                .map(drop)
        })
        .await
}
