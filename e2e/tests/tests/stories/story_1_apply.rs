//! `kubectl apply` of the sample: at least 12 Services answer by DNS name within a minute, each with its own name and
//! its ConfigMap's value.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use threeport_e2e::{kubectl, world::variable};
use threeport_model::{
    manifest::{self, Manifest},
    yaml,
};

use crate::{
    scene::Scene,
    steps::{ask_inside, live},
};

/// The sample's file, and its objects.
pub(crate) fn sample() -> Result<(String, Vec<Value>)> {
    let file = variable("THREEPORT_SAMPLE")?;
    let text = std::fs::read_to_string(&file).context("failed to read the sample")?;
    let documents = yaml::documents(&text).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok((
        file,
        documents.into_iter().map(|document| document.value).collect(),
    ))
}

fn manifests(objects: &[Value]) -> Result<Vec<Manifest>> {
    let definition = objects
        .iter()
        .find(|object| object["kind"] == "WorkloadDefinition")
        .context("the sample has no WorkloadDefinition")?;
    let spec = serde_json::from_value(definition["spec"].clone())?;
    manifest::of_spec(&spec).map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

/// The Services by name, and what each must say: itself, and the value that its manifest's ConfigMap holds.
fn expectations(manifests: &[Manifest]) -> Result<Vec<(String, String)>> {
    let of_kind = |kind: &'static str| {
        manifests
            .iter()
            .filter(move |manifest| manifest.identity.kind == kind)
    };
    let expectations = of_kind("Service").map(|service| {
        let name = service.identity.name.clone();
        let map = of_kind("ConfigMap").find(|map| map.identity.name == name);
        let value = map.and_then(|map| map.object["data"]["value"].as_str());
        let value = value.with_context(|| format!("the sample has no ConfigMap {name} with a value"))?;
        let expected = format!("name={name} value={value} version=");
        Ok((name, expected))
    });
    expectations.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn story_1_kubectl_apply_to_answering_services() -> Result<()> {
    let (file, objects) = sample()?;
    let manifests = manifests(&objects)?;
    let services = expectations(&manifests)?;
    ensure!(services.len() >= 12, "the sample has {} Services", services.len());
    for kind in [
        "Deployment",
        "StatefulSet",
        "ConfigMap",
        "Secret",
        "Job",
        "CustomResourceDefinition",
        "Recipe",
    ] {
        let has = manifests.iter().any(|manifest| manifest.identity.kind == kind);
        ensure!(has, "the sample has no {kind}");
    }
    let definition = "crd/recipes.sample.example.com";
    Scene::of(&objects)
        .play(async |world| {
            ensure!(
                live("default", definition).await?.is_none(),
                "{definition} is there before the sample"
            );
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
            ensure!(
                live("default", definition).await?.is_some(),
                "{definition} is missing"
            );

            let urls: Vec<_> = services
                .iter()
                .map(|(name, _)| format!("http://{name}.sample.svc.cluster.local/"))
                .collect();
            let printed = ask_inside("story-1", &urls).await?;
            for (name, expected) in &services {
                let mut lines = printed.lines();
                let line = lines.find(|line| line.contains(&format!("//{name}.")));
                let line = line.with_context(|| format!("{name} was not asked"))?;
                ensure!(
                    line.contains(expected),
                    "{name} answered {line:?}, not {expected:?}"
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
        })
        .await
}
