//! `kubectl wait` can't be fooled by generations that parted: a custom resource is counted by Kubernetes, an object by
//! the database, and either may be set back alone.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use threeport_client::ApplyBody;
use threeport_e2e::{World, kubectl, kubectl::run, wait_until, workload};
use threeport_model::condition;

use crate::{
    installation::{rolled_out, scale},
    scene::Scene,
    steps::{apply, custom_resource, custom_resources, kind, live, rest_get, wait_ready},
    story_3_edit::one_pod_is_ready,
};

/// The generation that a resource or a row is brought to.
const FAR: i64 = 57;
/// The generation of the row that comes back.
const RESTORED: i64 = 3;
/// A ConfigMap that the workload has at every later step.
const SINCE: &str = "since";
/// The longest that a change may take to be shown on its custom resource.
const SHOWN: Duration = Duration::from_secs(20);
/// The longest until what a restore changed is shown without anybody's edit: the facade finds out when it reaches the
/// API again.
const NOTICED: Duration = Duration::from_secs(60);
const API: &str = "deployment threeport-api";

fn pair(name: &str, image: &str, step: i64) -> [Value; 2] {
    [
        workload::definition(name, &manifests(name, image, step)),
        workload::instance(name, name, &json!({})),
    ]
}

/// A workload whose ConfigMap says which step it is at: most steps restart no pod.
fn manifests(name: &str, image: &str, step: i64) -> Vec<Value> {
    let mut manifests = workload::service(name, image);
    manifests[0]["data"]["step"] = json!(step.to_string());
    if step > RESTORED {
        manifests.push(workload::config(SINCE));
    }
    manifests
}

/// The uid of what the workload was given since the backup.
async fn since(name: &str) -> Result<String> {
    let map = live(name, &format!("configmap/{SINCE}")).await?;
    let map = map.with_context(|| format!("what {name} was given since the backup is gone"))?;
    Ok(map["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
}

/// Waits until the instance says, or no longer says, that the database has no record of what it was given since.
async fn is_unrecorded(world: &World, name: &str, wanted: bool) -> Result<()> {
    let resource = format!("workloadinstance/{name}");
    wait_until(
        &format!("{resource}: Unrecorded is {wanted}"),
        NOTICED,
        || async {
            let found = custom_resource(world, &resource).await?.context("absent")?;
            let conditions = found["status"]["conditions"].as_array();
            let said = conditions.and_then(|all| {
                all.iter()
                    .find(|condition| condition["type"] == condition::UNRECORDED)
            });
            let named = said.is_some_and(|said| said["message"].to_string().contains(SINCE));
            Ok(if named == wanted {
                Ok(())
            } else {
                Err(found["status"].to_string())
            })
        },
    )
    .await
}

/// The step that the workload itself is at.
async fn live_step(name: &str) -> Result<String> {
    let map = live(name, &format!("configmap/{name}"))
        .await?
        .unwrap_or_default();
    Ok(map["data"]["step"].as_str().unwrap_or_default().to_owned())
}

fn step_patch(name: &str, image: &str, step: i64) -> Value {
    json!({"spec": {"manifests": manifests(name, image, step)}})
}

async fn patch_by_rest(world: &World, name: &str, image: &str, step: i64) -> Result<i64> {
    let patch = step_patch(name, image, step);
    let patched = world
        .api
        .object_patch(kind("tpwd")?, name, &patch)
        .await
        .with_context(|| format!("step {step}"))?;
    Ok(patched.generation())
}

/// Waits until the definition's custom resource is as wanted, and answers with it.
async fn definition(
    world: &World,
    name: &str,
    what: &str,
    limit: Duration,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let resource = format!("workloaddefinition/{name}");
    wait_until(&format!("{resource}: {what}"), limit, || async {
        let found = custom_resource(world, &resource).await?.context("absent")?;
        Ok(if wanted(&found) {
            Ok(found)
        } else {
            Err(found.to_string())
        })
    })
    .await
}

fn generation(resource: &Value) -> Option<i64> {
    resource["metadata"]["generation"].as_i64()
}

fn row(resource: &Value) -> Option<i64> {
    resource["status"]["api"]["generation"].as_i64()
}

/// As only Kubernetes' own collectors may, whom the policy exempts: what a lost etcd or a removed namespace does.
async fn delete_as_the_collector(world: &World, name: &str) -> Result<()> {
    let collector = "--as=system:serviceaccount:kube-system:namespace-controller --as-group=system:masters";
    kubectl(
        &format!(
            "-n {} delete workloaddefinition {name} {collector} --wait=false",
            world.namespace
        ),
        None,
    )
    .await?
    .success()
    .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn story_3_a_mirror_of_57_made_anew_at_1_and_edited_does_not_fool_wait() -> Result<()> {
    let objects = pair("anew", workload::IMAGE, 1);
    Scene::of(&objects)
        .alone()
        .play(async |world| {
            world
                .api
                .apply(ApplyBody::Objects(objects.to_vec()), false)
                .await?;
            for step in 2..=FAR {
                let reached = patch_by_rest(world, "anew", workload::IMAGE, step).await?;
                ensure!(reached == step, "step {step} is generation {reached}");
            }
            definition(world, "anew", "shows 57", SHOWN, |found| row(found) == Some(FAR)).await?;
            wait_ready(world, &objects).await?;
            let step = live_step("anew").await?;
            ensure!(step == FAR.to_string(), "kubectl wait returned at step {step}");

            let before = definition(world, "anew", "is there", SHOWN, |_| true).await?;
            delete_as_the_collector(world, "anew").await?;
            let anew = definition(world, "anew", "is made anew", SHOWN, |found| {
                found["metadata"]["uid"] != before["metadata"]["uid"] && row(found) == Some(FAR)
            })
            .await?;
            ensure!(generation(&anew) == Some(1), "it was made anew at {anew}");
            wait_ready(world, &objects).await?;

            // The edit that needs new pods. A mirror has it a moment after the API; from then on nobody may be fooled.
            patch_by_rest(world, "anew", workload::OTHER_IMAGE, FAR + 1).await?;
            let edited = definition(world, "anew", "has the edit", SHOWN, |found| {
                found["spec"].to_string().contains(workload::OTHER_IMAGE)
            })
            .await?;
            ensure!(generation(&edited) == Some(2), "the edit made {edited}");
            wait_ready(world, &objects[..1]).await?;
            one_pod_is_ready("anew", "anew", workload::OTHER_IMAGE).await
        })
        .await
}

/// The folder of the embedded database, on this machine: the testbed's node is this machine.
async fn database_folder(world: &World) -> Result<PathBuf> {
    let claim = live(&world.namespace, "pvc/threeport-database")
        .await?
        .context("the control plane has no volume: this story is one of the embedded database")?;
    let volume = claim["spec"]["volumeName"]
        .as_str()
        .context("the claim has no volume")?;
    let volume = live("default", &format!("pv/{volume}"))
        .await?
        .context("the claim's volume is gone")?;
    let path = volume["spec"]["local"]["path"].as_str();
    Ok(path.context("the volume is no folder of this machine")?.into())
}

async fn stop_api(world: &World) -> Result<()> {
    scale(&world.namespace, API, 0).await?;
    let pods = "pods -l app.kubernetes.io/name=threeport,app.kubernetes.io/component=api";
    wait_until("the API's pod is gone", Duration::from_secs(60), || async {
        let pods = kubectl(&format!("-n {} get {pods} -o name", world.namespace), None)
            .await?
            .success()?
            .stdout;
        Ok(if pods.is_empty() { Ok(()) } else { Err(pods) })
    })
    .await
}

async fn start_api(world: &World) -> Result<()> {
    scale(&world.namespace, API, 1).await?;
    rolled_out(&world.namespace, API).await?;
    wait_until("the API answers", Duration::from_secs(30), || async {
        Ok(world
            .api
            .ready()
            .await
            .map(drop)
            .map_err(|error| format!("{error:#}")))
    })
    .await
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Every file of one folder into another, which has no other files then; owners as they were.
async fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for old in files(to)? {
        fs::remove_file(&old).with_context(|| format!("failed to remove {}", old.display()))?;
    }
    let (from, to) = (format!("{}/.", from.display()), to.display().to_string());
    run("cp", &["--archive", &from, &to], None)
        .await?
        .success()
        .map(drop)
}

/// Edits a definition that Kubernetes manages, as `kubectl edit` does.
async fn patch_by_kubectl(world: &World, name: &str, image: &str, step: i64) -> Result<()> {
    custom_resources(world, kind("tpwd")?)
        .patch(
            name,
            &PatchParams::default(),
            &Patch::Merge(step_patch(name, image, step)),
        )
        .await
        .with_context(|| format!("step {step}"))?;
    Ok(())
}

/// Brings both definitions from one generation to another. The mirror follows each step, so that it is counted as often
/// as the row; the row of what Kubernetes manages may leave steps out.
async fn bring(world: &World, from: i64, to: i64) -> Result<()> {
    for step in from + 1..=to {
        patch_by_rest(world, "set-back", workload::IMAGE, step).await?;
        patch_by_kubectl(world, "own-back", workload::IMAGE, step).await?;
        definition(world, "set-back", &format!("is at {step}"), SHOWN, |found| {
            generation(found) == Some(step) && row(found) == Some(step)
        })
        .await?;
    }
    definition(world, "own-back", &format!("is synced at {to}"), SHOWN, |found| {
        generation(found) == Some(to) && found["status"]["api"]["syncedGeneration"] == to
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_3_a_resource_at_57_over_a_restored_row_at_3_does_not_hang_wait() -> Result<()> {
    let mirrored = pair("set-back", workload::IMAGE, 1);
    let own = pair("own-back", workload::IMAGE, 1);
    let backup = std::env::temp_dir().join(format!("threeport-e2e-{}", uuid::Uuid::new_v4()));
    Scene::of(&mirrored)
        .alone()
        .and(&own)
        .and_changes_of_the_installation()
        .play(async |world| {
            let database = database_folder(world).await?;
            world
                .api
                .apply(ApplyBody::Objects(mirrored.to_vec()), false)
                .await?;
            apply(world, &own).await?;
            // Else the first edit may be part of what the row begins with.
            bring(world, 1, 1).await?;
            for step in 1..RESTORED {
                bring(world, step, step + 1).await?;
            }
            wait_ready(world, &mirrored).await?;
            wait_ready(world, &own).await?;
            stop_api(world).await?;
            copy(&database, &backup).await?;
            start_api(world).await?;
            bring(world, RESTORED, FAR).await?;
            wait_ready(world, &mirrored).await?;
            wait_ready(world, &own).await?;
            let given = [since("set-back").await?, since("own-back").await?];

            stop_api(world).await?;
            copy(&backup, &database).await?;
            start_api(world).await?;
            let restored = rest_get(world, "tpwd", "set-back").await?;
            ensure!(
                restored.generation() == RESTORED,
                "the restored row is at {}",
                restored.generation()
            );

            // What the API owns is again what the database says; its resource, at 58 by then, says so of itself.
            let shown = definition(world, "set-back", "shows the restored row", NOTICED, |found| {
                row(found) == Some(RESTORED)
            })
            .await?;
            ensure!(generation(&shown) == Some(FAR + 1), "the mirror is {shown}");
            wait_until("the workload is set back", NOTICED, || async {
                let step = live_step("set-back").await?;
                Ok(if step == RESTORED.to_string() {
                    Ok(())
                } else {
                    Err(step)
                })
            })
            .await?;
            wait_ready(world, &mirrored).await?;
            // What it was given since is nothing that came late: it stays until somebody says what is to become of it.
            is_unrecorded(world, "set-back", true).await?;
            patch_by_rest(world, "set-back", workload::OTHER_IMAGE, RESTORED + 1).await?;
            definition(world, "set-back", "has the edit", SHOWN, |found| {
                found["spec"].to_string().contains(workload::OTHER_IMAGE)
            })
            .await?;
            wait_ready(world, &mirrored[..1]).await?;
            one_pod_is_ready("set-back", "set-back", workload::OTHER_IMAGE).await?;

            // What Kubernetes owns is what the resource says: the row catches up, and the resource stays at 57.
            let caught_up = definition(world, "own-back", "is brought to the row", NOTICED, |found| {
                row(found) == Some(RESTORED + 1)
            })
            .await?;
            ensure!(generation(&caught_up) == Some(FAR), "the resource is {caught_up}");
            wait_ready(world, &own).await?;
            patch_by_kubectl(world, "own-back", workload::OTHER_IMAGE, FAR + 1).await?;
            wait_ready(world, &own[..1]).await?;
            one_pod_is_ready("own-back", "own-back", workload::OTHER_IMAGE).await?;
            is_unrecorded(world, "set-back", false).await?;
            let left = [since("set-back").await?, since("own-back").await?];
            ensure!(left == given, "{given:?} became {left:?}");
            fs::remove_dir_all(&backup)?;
            Ok(())
        })
        .await
}
