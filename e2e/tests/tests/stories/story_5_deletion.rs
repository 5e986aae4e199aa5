//! A deletion takes all that was made and nothing else.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use threeport_e2e::{World, kubectl, leftovers, wait_until, workload};

use crate::{
    scene::Scene,
    steps::{apply, condition, custom_resource, delete, is_true, live, wait_ready},
};

/// What is in the cluster, the Jobs aside that renew the control plane's certificates once a day, whoever's turn it is.
async fn everything(world: &World) -> Result<BTreeSet<leftovers::Identity>> {
    let mut all = leftovers::everything(&world.cluster).await?;
    all.retain(|(_, namespace, name, _)| {
        !(*namespace == world.namespace && name.starts_with("threeport-renewal-"))
    });
    Ok(all)
}

/// The same, once two looks find it: what Kubernetes makes of a CRD by itself goes a moment after that.
async fn everything_at_rest(world: &World) -> Result<BTreeSet<leftovers::Identity>> {
    wait_until("the cluster is at rest", Duration::from_secs(30), || async {
        let (first, second) = (everything(world).await?, everything(world).await?);
        let moved: BTreeSet<_> = first.symmetric_difference(&second).cloned().collect();
        Ok(if moved.is_empty() {
            Ok(second)
        } else {
            Err(format!("{moved:?}"))
        })
    })
    .await
}

/// One object of every sort, and what reaches farther: a ClusterRole, and a claim that Kubernetes makes for a
/// StatefulSet and leaves when that goes.
fn far_reaching(name: &str) -> Vec<Value> {
    let mut manifests = workload::every_sort(name);
    for set in manifests
        .iter_mut()
        .filter(|object| object["kind"] == "StatefulSet")
    {
        set["spec"]["volumeClaimTemplates"] = json!([{
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }]);
    }
    manifests.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
    }));
    manifests
}

/// What must be there before it can be gone; of the group `gone.example.com` is the CRD's own kind.
const MADE: [&str; 13] = [
    "ClusterRole.rbac.authorization.k8s.io",
    "ConfigMap.",
    "CustomResourceDefinition.apiextensions.k8s.io",
    "Deployment.apps",
    "Job.batch",
    "Namespace.",
    "PersistentVolumeClaim.",
    "Pod.",
    "Recipe.gone.example.com",
    "ReplicaSet.apps",
    "Secret.",
    "Service.",
    "StatefulSet.apps",
];

#[tokio::test(flavor = "multi_thread")]
async fn story_5_after_the_deletion_the_cluster_is_as_before() -> Result<()> {
    const PLANTED: &str = "story-5-planted";
    let definition = [workload::definition("gone", &far_reaching("gone"))];
    let instance = [workload::instance("gone", "gone", &json!({}))];
    Scene::of(&definition)
        .alone()
        .and(&instance)
        .play(async |world| {
            apply(world, &definition).await?;
            wait_ready(world, &definition).await?;
            let remove = format!("delete configmap {PLANTED} -n default --ignore-not-found");
            kubectl(&remove, None).await?.success()?;
            let before = everything_at_rest(world).await?;
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
            for kind in MADE {
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

/// What runs of a Deployment: itself, in the generation that any write of its specification raises, and its pods.
async fn running(namespace: &str, name: &str) -> Result<BTreeSet<String>> {
    let deployment = live(namespace, &format!("deployment/{name}")).await?;
    let deployment = deployment.with_context(|| format!("there is no Deployment {name}"))?;
    let pods = live(namespace, &format!("pods -l app={name}")).await?;
    let pods = pods.with_context(|| format!("{name} has no pods"))?;
    let objects = pods["items"].as_array().into_iter().flatten();
    let described = objects.chain([&deployment]).map(|object| {
        let metadata = &object["metadata"];
        format!("{} {}", metadata["uid"], metadata["generation"])
    });
    Ok(described.collect())
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
            let runs = running("shared", "two").await?;
            ensure!(
                runs.len() == 2,
                "positive control: a Deployment and a pod run: {runs:?}"
            );
            delete(world, &objects[2..3]).await?;
            ensure!(
                live("shared", "deployment/one").await?.is_none(),
                "the deleted instance's Deployment is there"
            );
            let kept = running("shared", "two").await?;
            ensure!(
                whole("shared", &names).await? == neighbour && kept == runs,
                "the neighbour was touched: {runs:?} ran and {kept:?} run"
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
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "beside"}, "data": {"a": "b"}});
    let beside = [
        workload::definition("beside", &[map]),
        workload::instance("beside", "beside", &json!({})),
    ];
    Scene::of(&objects)
        .and(&beside)
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
            apply(world, &beside).await?;
            wait_ready(world, &beside).await?;
            let stalled = custom_resource(world, "workloadinstance/taken")
                .await?
                .unwrap_or_default();
            ensure!(
                is_true(&stalled, "Stalled"),
                "it is stalled no more, so the other one did not go on beside it: {stalled}"
            );
            delete(world, &objects).await?;
            let map = live("taken", "configmap/taken").await?;
            ensure!(map == foreign, "the foreign object was changed: {map:?}");
            Ok(())
        })
        .await
}

/// Every order of three documents.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// A definition and two instances of it, the second of which waits for the first: each refers to those before it.
fn chain(name: &str) -> [Value; 3] {
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "only"}, "data": {"a": "b"}});
    let first = format!("{name}-first");
    let after = json!({"dependsOn": [{"kind": "WorkloadInstance", "name": first}]});
    [
        workload::definition(name, &[map]),
        workload::instance(&first, name, &json!({})),
        workload::instance(name, name, &after),
    ]
}

/// Applies documents and deletes them in the order in which they are given.
async fn comes_and_goes(world: &World, name: &str, documents: &[Value]) -> Result<()> {
    apply(world, documents).await?;
    wait_ready(world, documents).await?;
    let namespaces = [name.to_owned(), format!("{name}-first")];
    for namespace in &namespaces {
        ensure!(
            live(namespace, "configmap/only").await?.is_some(),
            "positive control: {namespace} has no ConfigMap"
        );
    }
    delete(world, documents).await?;
    for namespace in &namespaces {
        ensure!(
            live(namespace, "configmap/only").await?.is_none(),
            "{namespace}: the ConfigMap is there"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_5_kubectl_delete_ends_in_every_order_of_the_documents() -> Result<()> {
    let rounds = ORDERS.map(|order| {
        let name = format!("order-{}{}{}", order[0], order[1], order[2]);
        let documents = chain(&name);
        (name, order.map(|place| documents[place].clone()))
    });
    let scene = rounds
        .iter()
        .fold(Scene::default(), |scene, (_, documents)| scene.and(documents));
    scene
        .play(async |world| {
            // Beside each other: what takes its time is that namespaces go.
            let told = rounds
                .iter()
                .map(|(name, documents)| comes_and_goes(world, name, documents));
            try_join_all(told).await.map(drop)
        })
        .await
}
