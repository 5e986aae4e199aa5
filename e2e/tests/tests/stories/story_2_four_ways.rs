//! The same workload by kubectl, REST, `tptctl apply` and `tptctl run`; mirrors can't be edited.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use threeport_client::{ApplyBody, Propagation};
use threeport_e2e::{World, kubectl, kubectl::run, wait_until, workload};
use threeport_model::{
    kinds::{workload_definition, workload_instance},
    manifest,
};

use crate::{
    scene::Scene,
    steps::{
        apply, condition_of, custom_resource, delete, kind, live, rest_get, rest_gone, versions, wait_ready,
    },
};

/// Kubernetes' own way, and those through the API.
const NAMES: [&str; 4] = ["ways-kubectl", "ways-rest", "ways-tptctl", "ways-run"];
/// From Ready to a status that changes no more: images are told of pods, a moment after them.
const SETTLED: Duration = Duration::from_secs(30);

fn pair(name: &str, manifests: &[Value]) -> [Value; 2] {
    [
        workload::definition(name, manifests),
        workload::instance(name, name, &json!({})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn story_2_four_ways_give_equal_spec_and_status() -> Result<()> {
    let pair = |name: &str| pair(name, &workload::every_sort(name));
    let [by_kubectl, by_rest, by_apply, by_run] = NAMES;
    let scene = NAMES
        .iter()
        .fold(Scene::default().alone(), |scene, name| scene.and(&pair(name)));
    scene
        .play(async |world| {
            apply(world, &pair(by_kubectl)).await?;
            world
                .api
                .apply(ApplyBody::Objects(pair(by_rest).to_vec()), false)
                .await?;
            run(
                "tptctl",
                &["apply", "-f", "-"],
                Some(&workload::text(&pair(by_apply))),
            )
            .await?
            .success()?;
            run(
                "tptctl",
                &["run", by_run, "-f", "-", "--wait"],
                Some(&workload::text(&workload::every_sort(by_run))),
            )
            .await?
            .success()?;

            for name in NAMES {
                wait_ready(world, &pair(name)).await?;
            }
            wait_until("the four ways give the same", SETTLED, || async {
                let mut seen = Vec::new();
                for name in NAMES {
                    seen.push(description(world, name).await?);
                }
                let differing = NAMES.iter().zip(&seen).find(|(_, other)| **other != seen[0]);
                Ok(match differing {
                    None => Ok(()),
                    Some((name, other)) => Err(format!("{name} differs:\n{other:#}\n{:#}", seen[0])),
                })
            })
            .await?;
            for name in NAMES {
                the_secret_is_where_it_was_put(world, name, name == by_kubectl).await?;
            }

            // Namespaces take seconds to go, so all four go at once.
            let (of_kubectl, of_rest) = (pair(by_kubectl), [by_rest, by_apply, by_run]);
            tokio::try_join!(delete(world, &of_kubectl), delete_by_rest(world, &of_rest))?;
            Ok(())
        })
        .await
}

async fn delete_by_rest(world: &World, names: &[&str]) -> Result<()> {
    for kind_of in ["WorkloadInstance", "WorkloadDefinition"] {
        for name in names {
            world
                .api
                .object_delete(kind(kind_of)?, name, Propagation::Refuse)
                .await?;
        }
        for name in names {
            rest_gone(world, kind_of, name).await?;
        }
    }
    Ok(())
}

/// Specification and status of a definition and its instance, by REST and as `kubectl get` shows them, without names
/// and times.
async fn description(world: &World, name: &str) -> Result<Value> {
    let definition = rest_get(world, "WorkloadDefinition", name).await?;
    let instance = rest_get(world, "WorkloadInstance", name).await?;
    ensure!(
        instance.status["conditions"].is_array() && definition.status["conditions"].is_array(),
        "there is no status to compare: {instance:?} {definition:?}"
    );
    let mut shown_definition = shown(world, "workloaddefinition", name).await?;
    let mut shown_instance = shown(world, "workloadinstance", name).await?;
    let mut objects = by_kind(&shown_definition["spec"])?;
    // Where its values are is what the ways differ in: see `the_secret_is_where_it_was_put`.
    objects.remove("Secret").context("no Secret is shown")?;
    shown_definition["spec"] = json!(objects);
    // A mirror also has the defaults, which the author of a custom resource may leave out.
    let spec: workload_instance::Spec = serde_json::from_value(shown_instance["spec"].take())?;
    shown_instance["spec"] = serde_json::to_value(spec)?;

    let described = json!({
        "definition": {"spec": by_kind(&definition.spec)?, "status": definition.status},
        "instance": {"spec": instance.spec, "status": instance.status},
        "shown": [shown_definition, shown_instance],
    });
    Ok(without_times(serde_json::from_str(
        &described.to_string().replace(name, "NAME"),
    )?))
}

/// Specification and status of a custom resource. Not what it says of itself: `status.api`, and `Synced`, which warns of
/// Secrets where a person wrote it.
async fn shown(world: &World, kind: &str, name: &str) -> Result<Value> {
    let what = format!("{kind}/{name}");
    let resource = custom_resource(world, &what).await?;
    let mut resource = resource.with_context(|| format!("there is no {what}"))?;
    let mut status = resource["status"].take();
    let own = status.as_object_mut().and_then(|fields| fields.remove("api"));
    let conditions = status["conditions"].as_array_mut();
    let conditions = conditions.with_context(|| format!("{what} has no conditions"))?;
    let all = conditions.len();
    conditions.retain(|condition| condition["type"] != "Synced");
    ensure!(
        own.is_some() && conditions.len() + 1 == all,
        "{what} says nothing of itself: {status}"
    );
    Ok(json!({"spec": resource["spec"], "status": status}))
}

/// The objects of a definition, in either of its forms; of each kind it has one.
fn by_kind(spec: &Value) -> Result<BTreeMap<String, Value>> {
    let spec: workload_definition::Spec = serde_json::from_value(spec.clone())?;
    let manifests = manifest::of_spec(&spec).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let count = manifests.len();
    let objects: BTreeMap<_, _> = manifests
        .into_iter()
        .map(|manifest| (manifest.identity.kind, manifest.object))
        .collect();
    ensure!(objects.len() == count, "two objects of {count} are of one kind");
    Ok(objects)
}

/// Whichever way a Secret came, the workload has its value, and REST a digest of it, the same for all. The custom
/// resource differs by design: kubectl's keeps what was written, in etcd, and its Synced says what to do instead; a
/// mirror shows what REST shows, so the value is nowhere in it.
async fn the_secret_is_where_it_was_put(world: &World, name: &str, by_kubectl: bool) -> Result<()> {
    let made = live(name, &format!("secret/{name}")).await?.unwrap_or_default();
    ensure!(
        made["data"]["key"] == STANDARD.encode(workload::SECRET_VALUE),
        "the workload of {name} has another value: {made}"
    );
    let definition = rest_get(world, "WorkloadDefinition", name).await?;
    let resource = custom_resource(world, &format!("workloaddefinition/{name}")).await?;
    let resource = resource.with_context(|| format!("{name} is not shown"))?;
    let in_clear = |whole: String| whole.contains(workload::SECRET_VALUE);
    ensure!(
        !in_clear(definition.spec.to_string()) && in_clear(resource.to_string()) == by_kubectl,
        "the value is where it should not be, or is not where it was written: {:?} {resource}",
        definition.spec
    );
    let (stored, shown) = (by_kind(&definition.spec)?, by_kind(&resource["spec"])?);
    let expected = if by_kubectl {
        workload::secret(name)
    } else {
        stored["Secret"].clone()
    };
    ensure!(shown["Secret"] == expected, "{name} shows {}", shown["Secret"]);
    let synced = condition_of(&resource, "Synced").context("Synced is not said")?;
    let warns = synced["message"]
        .as_str()
        .is_some_and(|message| message.contains("warning: the values of Secret"));
    ensure!(
        synced["status"] == "True" && warns == by_kubectl,
        "{name}: {synced}"
    );
    Ok(())
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
            an_edit_is_seen(world, &objects).await?;

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
            Ok(())
        })
        .await
}

/// The control of a comparison that is to find nothing: it finds an edit that is made as it should be, of the definition
/// alone. Its mirror shows it afterwards.
async fn an_edit_is_seen(world: &World, objects: &[Value]) -> Result<()> {
    const EDITED: &str = "another-value";
    let before = versions(world).await?;
    let edited = workload::text(objects).replace("value-of-mirrored", EDITED);
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
    wait_until("the edit is mirrored", SETTLED, || async {
        let mirror = custom_resource(world, "workloaddefinition/mirrored").await?;
        let spec = mirror.context("it has no mirror")?["spec"].to_string();
        Ok(if spec.contains(EDITED) { Ok(()) } else { Err(spec) })
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
