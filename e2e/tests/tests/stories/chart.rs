//! The chart as an operator of a control plane lives with it: test, upgrade, uninstall and install again.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use threeport_e2e::{World, audit, kubectl, kubectl::run, wait_until, workload, world::variable};
use threeport_model::identity;

use crate::{
    installation::{RELEASE, helm, install, uninstall},
    scene::Scene,
    steps::{READY, gone, live},
};

#[tokio::test(flavor = "multi_thread")]
async fn chart_test_delivers_a_workload() -> Result<()> {
    let world = World::connect().await?;
    // What a test that was broken off left is no hindrance.
    let name = format!("{RELEASE}-helm-test");
    let leftover = workload::text(&[
        workload::definition(&name, &[workload::config(&name)]),
        workload::instance(&name, &name, &json!({"suspend": true})),
    ]);
    run("tptctl", &["apply", "-f", "-"], Some(&leftover))
        .await?
        .success()?;
    let offset = audit::end(&world.audit_log)?;
    helm(&["test", RELEASE, "--timeout", "170s"], &world.namespace).await?;
    let mut written = audit::since(&world.audit_log, offset)?;
    written.retain(|entry| entry.is_write() && entry.is_by(&world.namespace));
    let written = audit::count(&written);
    let made = format!("patch 201 deployments.apps {RELEASE}-helm-test/helm-test");
    ensure!(
        written.get(&made) == Some(&1),
        "{made} is not there once: {written:#?}"
    );
    let left = kubectl(&format!("-n {} get threeport -o name", world.namespace), None)
        .await?
        .success()?
        .stdout;
    ensure!(
        left.contains("kubernetesruntimeinstance"),
        "positive control: what is there is not listed: {left}"
    );
    ensure!(!left.contains("helm-test"), "helm test left {left}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn chart_s_images_know_no_failpoints() -> Result<()> {
    let world = World::connect().await?;
    for (component, program) in [
        ("api", "threeport-api"),
        ("facade", "threeport-operator"),
        ("controllers", "threeport-operator"),
        ("agent", "threeport-agent"),
    ] {
        let run = format!(
            "-n {} exec deploy/{RELEASE}-{component} -- {program}",
            world.namespace
        );
        // The control: the program is there and answers.
        kubectl(&format!("{run} --version"), None).await?.success()?;
        let listed = kubectl(&format!("{run} failpoints"), None).await?;
        ensure!(
            listed.code != 0 && listed.stderr.contains("failpoints"),
            "{component} was built with failpoints: {listed:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn chart_upgrade_without_a_change_restarts_no_pod() -> Result<()> {
    let world = World::connect().await?;
    let chart = variable("THREEPORT_HELM_CHART")?;
    let upgrade = async |more: &[&str]| {
        let common = [
            "upgrade",
            RELEASE,
            &chart,
            "--reset-then-reuse-values",
            "--wait",
            "--timeout",
            "170s",
        ];
        helm(&[common.as_slice(), more].concat(), &world.namespace).await
    };
    let before = pods(&world.namespace).await?;
    ensure!(before.len() >= 5, "only these pods run: {before:?}");

    // The control: a change that matters is seen by the same comparison, and restarts nobody else.
    upgrade(&["--set", "agent.logLevel=debug"]).await?;
    let changed = pods(&world.namespace).await?;
    let kept = changed
        .iter()
        .filter(|(name, uid)| before.get(*name) == Some(uid))
        .count();
    ensure!(
        kept == before.len() - 1,
        "pods were {before:?} and are {changed:?}"
    );

    upgrade(&[]).await?;
    let after = pods(&world.namespace).await?;
    ensure!(changed == after, "pods were {changed:?} and are {after:?}");
    upgrade(&["--set", "agent.logLevel=info"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn chart_uninstall_leaves_workloads_and_a_new_install_takes_them_over() -> Result<()> {
    const NAMESPACE: &str = "threeport-again";
    let objects = [
        workload::definition("again", &workload::service("again", workload::IMAGE)),
        workload::instance("again", "again", &json!({"namespace": "again"})),
    ];
    let text = workload::text(&objects);
    let wait = format!("-n {NAMESPACE} wait --for=condition=Ready --timeout=90s -f -");
    let scene = Scene::default()
        .and_namespace("again")
        .and_control_plane(NAMESPACE);
    scene
        .play(async |world| {
            let notes = install(world, NAMESPACE).await?;
            for said in [
                "tptctl --namespace threeport-again --token-file admin-token doctor",
                "helm test -n threeport-again threeport",
                "the running workloads, the custom resources that you wrote and their definitions, the volume \
                 threeport-database",
                "the Secrets threeport-*",
                "a new install of the same name in the same namespace takes it over",
                "The mirrors of what the API owns go",
            ] {
                ensure!(notes.contains(said), "the notes don't say {said:?}:\n{notes}");
            }
            kubectl(&format!("-n {NAMESPACE} apply -f -"), Some(&text))
                .await?
                .success()?;
            kubectl(&wait, Some(&text)).await?.success()?;
            let workload_pods = pods("again").await?;
            ensure!(!workload_pods.is_empty(), "the workload has no pod");
            let id = database_id(NAMESPACE).await?;
            let mirrored = mirrors(NAMESPACE).await?;
            ensure!(
                mirrored.contains("kubernetesruntimeinstance"),
                "positive control: mirrors are not listed: {mirrored}"
            );

            let said = uninstall(NAMESPACE).await?;
            // The Secrets, which helm doesn't know, the notes have told.
            ensure!(
                said.contains("threeport-database"),
                "it is not said that the volume stays:\n{said}"
            );
            ensure!(
                pods("again").await? == workload_pods,
                "uninstalling touched the workload"
            );
            for kept in [
                "pvc/threeport-database",
                "secret/threeport-encryption-key",
                "workloadinstance/again",
            ] {
                ensure!(live(NAMESPACE, kept).await?.is_some(), "{kept} is gone");
            }
            let resource = live(NAMESPACE, "workloadinstance/again")
                .await?
                .unwrap_or_default();
            ensure!(
                resource["metadata"]["finalizers"].is_null(),
                "finalizers were left: {}",
                resource["metadata"]
            );
            let left = mirrors(NAMESPACE).await?;
            ensure!(left.is_empty(), "nobody may delete these mirrors: {left}");
            let late = workload::text(&[workload::definition("late", &[workload::config("late")])]);
            let late = kubectl(&format!("-n {NAMESPACE} apply -f -"), Some(&late)).await?;
            let refusal = format!("no Threeport control plane serves namespace {NAMESPACE}");
            ensure!(
                late.code != 0 && late.stderr.contains(&refusal),
                "nobody would read what was taken: {late:?}"
            );

            install(world, NAMESPACE).await?;
            kubectl(&wait, Some(&text)).await?.success()?;
            ensure!(
                database_id(NAMESPACE).await? == id,
                "the new install does not know the object"
            );
            wait_until("the mirrors are back", READY, || async {
                let now = mirrors(NAMESPACE).await?;
                Ok(if now == mirrored { Ok(()) } else { Err(now) })
            })
            .await?;
            ensure!(
                pods("again").await? == workload_pods,
                "installing again touched the workload"
            );

            kubectl(&format!("-n {NAMESPACE} delete --timeout=90s -f -"), Some(&text))
                .await?
                .success()?;
            gone("again", "deployment/again", Duration::from_secs(60)).await
        })
        .await
}

/// Running pods that belong to a controller that keeps them, with uid and restarts.
pub(crate) async fn pods(namespace: &str) -> Result<BTreeMap<String, String>> {
    let list = kubectl(&format!("-n {namespace} get pods -o json"), None)
        .await?
        .success()?
        .json()?;
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    let is_kept = |pod: &Value| pod["metadata"]["ownerReferences"][0]["kind"] != "Job";
    Ok(pods
        .iter()
        .filter(|pod| is_kept(pod) && pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| {
            let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
            let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            (name, format!("{} {restarts}", pod["metadata"]["uid"]))
        })
        .collect())
}

/// The names of the mirrors in a namespace.
async fn mirrors(namespace: &str) -> Result<String> {
    let get = format!("-n {namespace} get threeport -l {} -o name", identity::MANAGED_BY);
    Ok(kubectl(&get, None).await?.success()?.stdout)
}

/// The id that the database knows the instance by.
async fn database_id(namespace: &str) -> Result<Value> {
    let resource = live(namespace, "workloadinstance/again")
        .await?
        .context("the instance is gone")?;
    Ok(resource["status"]["api"]["id"].clone())
}
