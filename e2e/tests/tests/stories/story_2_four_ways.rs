//! The same workload by kubectl, REST, `tptctl apply` and `tptctl run`; mirrors can't be edited.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use threeport_client::{ApplyBody, Propagation};
use threeport_e2e::{World, kubectl, kubectl::run, workload};

use crate::{
    scene::Scene,
    steps::{apply, delete, kind, rest_get, rest_gone, versions, wait_ready},
};

const NAMES: [&str; 4] = ["ways-kubectl", "ways-rest", "ways-tptctl", "ways-run"];

fn pair(name: &str, manifests: &[Value]) -> [Value; 2] {
    [
        workload::definition(name, manifests),
        workload::instance(name, name, &json!({})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn story_2_four_ways_give_equal_spec_and_status() -> Result<()> {
    let manifests = workload::service("ways", workload::IMAGE);
    let pair = |name: &str| pair(name, &manifests);
    let scene = NAMES
        .iter()
        .fold(Scene::default().alone(), |scene, name| scene.and(&pair(name)));
    scene
        .play(async |world| {
            apply(world, &pair("ways-kubectl")).await?;
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

            let mut seen = Vec::new();
            for name in NAMES {
                wait_ready(world, &pair(name)).await?;
                seen.push(description(world, name).await?);
            }
            for (name, other) in NAMES.iter().zip(&seen).skip(1) {
                ensure!(other == &seen[0], "{name} differs:\n{other:#}\n{:#}", seen[0]);
            }
            delete(world, &pair("ways-kubectl")).await?;
            for name in &NAMES[1..] {
                for kind_of in ["WorkloadInstance", "WorkloadDefinition"] {
                    world
                        .api
                        .object_delete(kind(kind_of)?, name, Propagation::Refuse)
                        .await?;
                    rest_gone(world, kind_of, name).await?;
                }
            }
            Ok(())
        })
        .await
}

/// Specification and status of a definition and its instance, without names and times.
async fn description(world: &World, name: &str) -> Result<Value> {
    let definition = rest_get(world, "WorkloadDefinition", name).await?;
    let instance = rest_get(world, "WorkloadInstance", name).await?;
    ensure!(
        instance.status["conditions"].is_array() && definition.status["conditions"].is_array(),
        "there is no status to compare: {instance:?} {definition:?}"
    );
    let described = json!({
        "definition": {"spec": manifest_set(&definition.spec)?, "status": definition.status},
        "instance": {"spec": instance.spec, "status": instance.status},
    });
    Ok(without_times(serde_json::from_str(
        &described.to_string().replace(name, "NAME"),
    )?))
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

fn without_times(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_times).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| name != "lastTransitionTime")
            .map(|(name, value)| (name, without_times(value)))
            .collect(),
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn story_2_a_mirror_can_t_be_edited_or_deleted_even_by_system_masters() -> Result<()> {
    let objects = pair("mirrored", &workload::service("mirrored", workload::IMAGE));
    Scene::of(&objects)
        .play(async |world| {
            let namespace = &world.namespace;
            let myself = kubectl("auth whoami -o json", None).await?.success()?;
            ensure!(
                myself.stdout.contains("system:masters"),
                "this is not told by system:masters: {}",
                myself.stdout
            );
            world
                .api
                .apply(ApplyBody::Objects(objects.to_vec()), false)
                .await?;
            wait_ready(world, &objects).await?;

            let before = versions(world).await?;
            for (what, edit) in [
                ("WorkloadDefinition/mirrored", r#"{"spec":{"manifests":[]}}"#),
                ("WorkloadInstance/mirrored", r#"{"spec":{"suspend":true}}"#),
            ] {
                let patch = format!("-n {namespace} patch {what} --type=merge -p {edit}");
                is_refused(&patch, what, "tptctl apply -f").await?;
                let delete = format!("-n {namespace} delete {what} --wait=false");
                let plural = format!("{}s mirrored", what.to_lowercase().trim_end_matches("/mirrored"));
                is_refused(&delete, what, &format!("tptctl delete {plural}")).await?;
            }
            ensure!(versions(world).await? == before, "what was refused was done");

            let yaml = kubectl(
                &format!("-n {namespace} get workloaddefinition/mirrored workloadinstance/mirrored -o yaml"),
                None,
            )
            .await?
            .success()?
            .stdout;
            let again = run("tptctl", &["apply", "-f", "-"], Some(&yaml))
                .await?
                .success()?;
            ensure!(
                again.stdout.matches("unchanged").count() == 2,
                "get | apply changed something: {}",
                again.stdout
            );
            let after = versions(world).await?;
            ensure!(after == before, "get | apply: {before:?} became {after:?}");

            // The control: an edit that is no refusal and no repetition is seen by the same comparison.
            let edited = yaml.replace("value-of-mirrored", "another-value");
            ensure!(edited != yaml, "the value is not in the definition: {yaml}");
            run("tptctl", &["apply", "-f", "-"], Some(&edited))
                .await?
                .success()?;
            let changed = versions(world).await?;
            let differing: Vec<_> = changed
                .iter()
                .filter(|(name, version)| before.get(*name) != Some(version))
                .map(|(name, _)| name.as_str())
                .collect();
            ensure!(
                differing == ["WorkloadDefinition/mirrored"],
                "positive control: {differing:?}"
            );
            Ok(())
        })
        .await
}

/// Runs a command that must be refused, saying whose the object is and which command to use instead.
async fn is_refused(command: &str, what: &str, instead: &str) -> Result<()> {
    let output = kubectl(command, None).await?;
    ensure!(output.code != 0, "{command} succeeded");
    let said = &output.stderr;
    for expected in [
        format!("{what} is owned by the Threeport API (managed-by: api)"),
        instead.to_owned(),
    ] {
        ensure!(said.contains(&expected), "{command}: {said} lacks {expected:?}");
    }
    Ok(())
}
