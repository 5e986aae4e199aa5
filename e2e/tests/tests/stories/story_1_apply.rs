//! `kubectl apply` of the sample: at least 12 Services answer by DNS name within a minute.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use threeport_e2e::{World, kubectl, world::variable};
use threeport_model::{manifest, yaml};

use crate::steps::ask_inside;

#[tokio::test(flavor = "multi_thread")]
async fn story_1_kubectl_apply_to_answering_services() -> Result<()> {
    let world = World::connect().await?;
    let file = variable("THREEPORT_SAMPLE")?;
    let text = std::fs::read_to_string(&file).context("failed to read the sample")?;
    let documents = yaml::documents(&text).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let definition = documents
        .iter()
        .find(|document| document.value["kind"] == "WorkloadDefinition");
    let definition = definition.context("the sample has no WorkloadDefinition")?;
    let spec = serde_json::from_value(definition.value["spec"].clone())?;
    let manifests = manifest::of_spec(&spec).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let services: Vec<_> = manifests
        .iter()
        .filter(|manifest| manifest.identity.kind == "Service")
        .map(|manifest| &manifest.identity)
        .collect();
    ensure!(services.len() >= 12, "the sample has {} Services", services.len());

    let begin = Instant::now();
    kubectl(&format!("-n {} apply -f {file}", world.namespace), None)
        .await?
        .success()?;
    let wait = format!(
        "-n {} wait --for=condition=Ready --timeout=90s -f {file}",
        world.namespace
    );
    kubectl(&wait, None).await?.success()?;
    let took = begin.elapsed();
    println!(
        "kubectl apply to kubectl wait: {:.1} s, {} Services",
        took.as_secs_f32(),
        services.len()
    );

    let urls: Vec<_> = services
        .iter()
        .map(|service| format!("http://{}.sample.svc.cluster.local/", service.name))
        .collect();
    let printed = ask_inside("story-1", &urls).await?;
    for service in &services {
        let expected = format!("name={} ", service.name);
        let line = printed
            .lines()
            .find(|line| line.contains(&format!("//{}.", service.name)));
        let line = line.with_context(|| format!("{} was not asked", service.name))?;
        ensure!(
            line.contains(&expected) && !line.contains("value= "),
            "{} answered {line:?}",
            service.name
        );
    }
    kubectl(
        &format!("-n {} delete --timeout=120s -f {file}", world.namespace),
        None,
    )
    .await?
    .success()?;
    ensure!(took < Duration::from_secs(60), "took {:.1} s", took.as_secs_f32());
    Ok(())
}
