//! A second control plane in a second namespace: the same names, no crosstalk, CRDs shared.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use threeport_e2e::{World, kubectl, kubectl::run, wait_until, workload, world::variable};

use crate::steps::{apply, delete, live, wait_ready};

const OTHER: &str = "threeport-other";

#[tokio::test(flavor = "multi_thread")]
async fn story_9_two_control_planes_share_a_cluster_without_crosstalk() -> Result<()> {
    let world = World::connect().await?;
    let chart = variable("THREEPORT_HELM_CHART")?;
    let values = run(
        "helm",
        &["get", "values", "threeport", "-n", &world.namespace, "-o", "yaml"],
        None,
    )
    .await?
    .success()?;
    // The first one's fixed node port can't be had twice.
    let service = "api.service.type=ClusterIP";
    let install = [
        "install",
        "threeport",
        &chart,
        "-n",
        OTHER,
        "--create-namespace",
        "-f",
        "-",
        "--set",
        service,
        "--wait",
        "--timeout",
        "180s",
    ];
    run("helm", &install, Some(&values.stdout)).await?.success()?;

    let mine = [
        workload::definition("same", &workload::service("same", workload::IMAGE)),
        workload::instance("same", "same", &json!({})),
    ];
    apply(&world, &mine).await?;
    wait_ready(&world, &mine).await?;
    let text = workload::text(&mine);
    kubectl(&format!("-n {OTHER} apply -f -"), Some(&text))
        .await?
        .success()?;
    kubectl(
        &format!("-n {OTHER} wait --for=condition=Ready --timeout=90s -f -"),
        Some(&text),
    )
    .await?
    .success()?;
    let other = live(OTHER, "workloadinstance/same").await?.unwrap_or_default();
    let namespace = other["status"]["namespace"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(
        !namespace.is_empty() && namespace != "same",
        "both control planes use namespace {namespace:?}"
    );
    let uid = live("same", "deployment/same").await?.unwrap_or_default()["metadata"]["uid"].clone();
    ensure!(
        live(&namespace, "deployment/same").await?.is_some(),
        "the other's Deployment is missing"
    );

    kubectl(&format!("-n {OTHER} delete --timeout=90s -f -"), Some(&text))
        .await?
        .success()?;
    wait_until(
        "the other's workload is gone",
        Duration::from_secs(60),
        || async {
            Ok(live(&namespace, "deployment/same")
                .await?
                .map_or(Ok(()), |_| Err("there".to_owned())))
        },
    )
    .await?;
    let after = live("same", "deployment/same").await?.unwrap_or_default()["metadata"]["uid"].clone();
    ensure!(
        after == uid && !uid.is_null(),
        "the first control plane's workload was touched"
    );
    run(
        "helm",
        &[
            "uninstall",
            "threeport",
            "-n",
            OTHER,
            "--wait",
            "--timeout",
            "120s",
        ],
        None,
    )
    .await?
    .success()?;
    kubectl(&format!("delete namespace {OTHER} --timeout=90s"), None)
        .await?
        .success()?;
    wait_ready(&world, &mine).await?;
    delete(&world, &mine).await?;
    Ok(())
}
