//! A deletion takes all that was made and nothing else.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use threeport_e2e::{World, kubectl, leftovers, wait_until, workload};

use crate::{
    scene::Scene,
    steps::{apply, condition, delete, live, uid, wait_ready},
};

/// What is in the cluster, the Jobs aside that renew the control plane's certificates once a day, whoever's turn it is.
async fn everything(world: &World) -> Result<BTreeSet<leftovers::Identity>> {
    let mut all = leftovers::everything(&world.cluster).await?;
    all.retain(|(_, namespace, name, _)| {
        !(*namespace == world.namespace && name.starts_with("threeport-renewal-"))
    });
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn story_5_after_the_deletion_the_cluster_is_as_before() -> Result<()> {
    const PLANTED: &str = "story-5-planted";
    let definition = [workload::definition(
        "gone",
        &workload::service("gone", workload::IMAGE),
    )];
    let instance = [workload::instance("gone", "gone", &json!({}))];
    Scene::of(&definition)
        .alone()
        .and(&instance)
        .play(async |world| {
            apply(world, &definition).await?;
            wait_ready(world, &definition).await?;
            let remove = format!("delete configmap {PLANTED} -n default --ignore-not-found");
            kubectl(&remove, None).await?.success()?;
            let before = everything(world).await?;
            kubectl(&format!("create configmap {PLANTED} -n default"), None)
                .await?
                .success()?;
            let planted = everything(world).await;
            kubectl(&remove, None).await?.success()?;
            let planted = planted?;
            let found: Vec<_> = before.symmetric_difference(&planted).collect();
            ensure!(
                matches!(found[..], [(kind, namespace, name, _)]
                    if kind == "ConfigMap." && namespace == "default" && name == PLANTED),
                "positive control: the planted leak is not what was found: {found:?}"
            );

            apply(world, &instance).await?;
            wait_ready(world, &instance).await?;
            let made = everything(world).await?;
            for kind in ["Namespace.", "ConfigMap.", "Service.", "Deployment.apps", "Pod."] {
                let has = made.difference(&before).any(|(made, ..)| made == kind);
                ensure!(has, "no {kind} was made");
            }
            delete(world, &instance).await?;
            wait_until("the cluster is as before", Duration::from_secs(60), || async {
                let after = everything(world).await?;
                let difference: Vec<_> = before.symmetric_difference(&after).collect();
                Ok(if difference.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{difference:?}"))
                })
            })
            .await
        })
        .await
}

/// Objects with all that they have, their resourceVersion too: nobody wrote what is equal.
async fn whole(namespace: &str, names: &[&str]) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for name in names {
        found.push(
            live(namespace, name)
                .await?
                .with_context(|| format!("there is no {name}"))?,
        );
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn story_5_what_was_there_before_and_a_neighbour_are_untouched() -> Result<()> {
    let into = json!({"namespace": "shared"});
    let objects = [
        workload::definition("one", &workload::service("one", workload::IMAGE)),
        workload::definition("two", &workload::service("two", workload::IMAGE)),
        workload::instance("one", "one", &into),
        workload::instance("two", "two", &into),
    ];
    Scene::of(&objects)
        .and_namespace("shared")
        .play(async |world| {
            kubectl("create namespace shared", None).await?.success()?;
            kubectl("-n shared create configmap foreign --from-literal=a=b", None)
                .await?
                .success()?;
            let foreign = whole("shared", &["configmap/foreign", "namespace/shared"]).await?;
            apply(world, &objects).await?;
            wait_ready(world, &objects).await?;
            ensure!(
                live("shared", "deployment/one").await?.is_some(),
                "positive control: the instance has no Deployment"
            );
            let names = ["configmap/two", "service/two"];
            let neighbour = whole("shared", &names).await?;
            let runs = uid("shared", "deployment/two").await?;
            delete(world, &objects[2..3]).await?;
            ensure!(
                live("shared", "deployment/one").await?.is_none(),
                "the deleted instance's Deployment is there"
            );
            ensure!(
                whole("shared", &names).await? == neighbour && uid("shared", "deployment/two").await? == runs,
                "the neighbour was touched"
            );
            delete(world, &objects).await?;
            let left = whole("shared", &["configmap/foreign", "namespace/shared"]).await?;
            ensure!(left == foreign, "{foreign:?} were touched: {left:?}");
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_5_creating_over_a_foreign_object_is_stalled_conflict() -> Result<()> {
    let objects = [
        workload::definition("taken", &workload::service("taken", workload::IMAGE)),
        workload::instance("taken", "taken", &json!({"namespace": "taken"})),
    ];
    Scene::of(&objects)
        .and_namespace("taken")
        .play(async |world| {
            kubectl("create namespace taken", None).await?.success()?;
            kubectl(
                "-n taken create configmap taken --from-literal=value=foreign",
                None,
            )
            .await?
            .success()?;
            let foreign = live("taken", "configmap/taken").await?;
            apply(world, &objects).await?;
            let limit = Duration::from_secs(20);
            let stalled = condition(world, "workloadinstance/taken", "Stalled", "True", limit).await?;
            ensure!(stalled["reason"] == "Conflict", "{stalled}");
            ensure!(
                stalled["message"].as_str().unwrap_or_default().contains("taken"),
                "{stalled}"
            );
            let map = live("taken", "configmap/taken").await?;
            ensure!(map == foreign, "the foreign object was written: {map:?}");
            delete(world, &objects).await?;
            let map = live("taken", "configmap/taken").await?;
            ensure!(map == foreign, "the foreign object was changed: {map:?}");
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_5_kubectl_delete_ends_in_every_order_of_the_documents() -> Result<()> {
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "only"}, "data": {"a": "b"}});
    let pair = |name: &str| {
        vec![
            workload::definition(name, std::slice::from_ref(&map)),
            workload::instance(name, name, &json!({})),
        ]
    };
    let mut backwards: Vec<Value> = pair("order-1");
    backwards.reverse();
    let rounds = [("order-0", pair("order-0")), ("order-1", backwards)];
    let scene = rounds
        .iter()
        .fold(Scene::default(), |scene, (_, objects)| scene.and(objects));
    scene
        .play(async |world| {
            for (name, objects) in &rounds {
                apply(world, objects).await?;
                wait_ready(world, objects).await?;
                ensure!(
                    live(name, "configmap/only").await?.is_some(),
                    "positive control: {name} has no ConfigMap"
                );
                delete(world, objects).await?;
                ensure!(
                    live(name, "configmap/only").await?.is_none(),
                    "{name}: the ConfigMap is there"
                );
            }
            Ok(())
        })
        .await
}
