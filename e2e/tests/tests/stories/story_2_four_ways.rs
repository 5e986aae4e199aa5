//! The same workload by kubectl, REST, `tptctl apply` and `tptctl run`; mirrors can't be edited.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use threeport_client::{ApplyBody, Propagation};
use threeport_e2e::{World, kubectl, kubectl::run, workload};
use threeport_model::find_kind;

use crate::steps::{apply, delete, rest_get, wait_ready};

#[tokio::test(flavor = "multi_thread")]
async fn story_2_four_ways_give_equal_spec_and_status() -> Result<()> {
    let world = World::connect().await?;
    let manifests = workload::service("ways", workload::IMAGE);
    let pair = |name: &str| {
        [
            workload::definition(name, &manifests),
            workload::instance(name, name, &json!({})),
        ]
    };

    apply(&world, &pair("ways-kubectl")).await?;
    world
        .api
        .apply(ApplyBody::Objects(pair("ways-rest").to_vec()), false)
        .await?;
    run(
        "tptctl",
        &["apply", "-f", "-"],
        Some(&workload::text(&pair("ways-tptctl"))),
    )
    .await?
    .success()?;
    run(
        "tptctl",
        &["run", "ways-run", "-f", "-", "--wait"],
        Some(&workload::text(&manifests)),
    )
    .await?
    .success()?;

    let names = ["ways-kubectl", "ways-rest", "ways-tptctl", "ways-run"];
    let mut seen: Vec<(Value, Value)> = Vec::new();
    for name in names {
        wait_ready(&world, &pair(name)).await?;
        let instance = rest_get(&world, "WorkloadInstance", name).await?;
        let definition = rest_get(&world, "WorkloadDefinition", name).await?;
        seen.push((
            manifest_set(&definition.spec)?,
            without_names(instance.status, name),
        ));
    }
    for (name, other) in names.iter().zip(&seen).skip(1) {
        ensure!(other == &seen[0], "{name} differs:\n{other:#?}\n{:#?}", seen[0]);
    }
    delete(&world, &pair("ways-kubectl")).await?;
    let (instances, definitions) = (find_kind("tpwi"), find_kind("tpwd"));
    for name in &names[1..] {
        if let (Some(instances), Some(definitions)) = (instances, definitions) {
            world
                .api
                .object_delete(instances, name, Propagation::Refuse)
                .await?;
            let limit = std::time::Duration::from_secs(60);
            threeport_e2e::wait_until("the instance is gone", limit, || async {
                Ok(match world.api.object_get(instances, name).await {
                    Ok(object) => Err(object.status.to_string()),
                    Err(_) => Ok(()),
                })
            })
            .await?;
            world
                .api
                .object_delete(definitions, name, Propagation::Refuse)
                .await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_2_a_mirror_can_t_be_edited_or_deleted_even_by_system_masters() -> Result<()> {
    let world = World::connect().await?;
    let definition = workload::definition("mirrored", &workload::service("mirrored", workload::IMAGE));
    world
        .api
        .apply(ApplyBody::Objects(vec![definition.clone()]), false)
        .await?;
    wait_ready(&world, std::slice::from_ref(&definition)).await?;
    let namespace = &world.namespace;
    for attempt in [
        format!(
            r#"-n {namespace} patch workloaddefinition mirrored --type=merge -p {{"spec":{{"manifests":[]}}}}"#
        ),
        format!("-n {namespace} delete workloaddefinition mirrored --wait=false"),
    ] {
        let output = kubectl(&attempt, None).await?;
        ensure!(output.code != 0, "{attempt} succeeded");
        ensure!(
            output.stderr.contains("tptctl"),
            "the refusal names no command to use: {}",
            output.stderr
        );
    }
    let yaml = run(
        "kubectl",
        &[
            "-n",
            namespace,
            "get",
            "workloaddefinition",
            "mirrored",
            "-o",
            "yaml",
        ],
        None,
    )
    .await?;
    let again = run("tptctl", &["apply", "-f", "-"], Some(&yaml.success()?.stdout))
        .await?
        .success()?;
    ensure!(
        again.stdout.contains("unchanged"),
        "get | apply changed something: {}",
        again.stdout
    );
    if let Some(definitions) = find_kind("tpwd") {
        world
            .api
            .object_delete(definitions, "mirrored", Propagation::Refuse)
            .await?;
    }
    Ok(())
}

/// Both forms of a definition as one: its objects, sorted.
fn manifest_set(spec: &Value) -> Result<Value> {
    let spec = serde_json::from_value(spec.clone())?;
    let manifests =
        threeport_model::manifest::of_spec(&spec).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let mut texts: Vec<_> = manifests
        .into_iter()
        .map(|manifest| manifest.object.to_string())
        .collect();
    texts.sort();
    Ok(json!(texts))
}

/// A status without names and times.
fn without_names(status: Value, name: &str) -> Value {
    let mut status = status;
    if let Some(conditions) = status["conditions"].as_array_mut() {
        for condition in conditions {
            if let Some(condition) = condition.as_object_mut() {
                condition.remove("lastTransitionTime");
            }
        }
    }
    serde_json::from_str(&status.to_string().replace(name, "NAME")).unwrap_or_default()
}
