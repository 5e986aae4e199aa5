//! Drift is healed with manners.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use threeport_e2e::{World, audit, kubectl, wait_until, workload};

use crate::{
    scene::Scene,
    steps::{apply, gone, live, uid, wait_ready},
};

const HEALED: Duration = Duration::from_secs(10);

fn pair(name: &str, manifests: &[Value]) -> [Value; 2] {
    [
        workload::definition(name, manifests),
        workload::instance(name, name, &json!({})),
    ]
}

/// Waits until a value of a live object is again as wanted.
async fn healed(namespace: &str, what: &str, pointer: &str, wanted: &str) -> Result<()> {
    wait_until(&format!("the edited {what} is healed"), HEALED, || async {
        let object = live(namespace, what).await?.unwrap_or_default();
        Ok(match object.pointer(pointer) {
            Some(value) if value == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_4_deleted_and_edited_objects_are_healed_within_10_s() -> Result<()> {
    let objects = pair("heal", &workload::service("heal", workload::IMAGE));
    Scene::of(&objects)
        .play(async |world| {
            apply(world, &objects).await?;
            wait_ready(world, &objects).await?;

            let old = uid("heal", "deployment/heal").await?;
            kubectl("-n heal delete deployment heal", None).await?.success()?;
            wait_until("the deleted Deployment is back", HEALED, || async {
                let new = live("heal", "deployment/heal").await?;
                let new = new.map(|object| object["metadata"]["uid"].to_string());
                Ok(match new {
                    Some(new) if new != old => Ok(()),
                    other => Err(format!("{other:?}")),
                })
            })
            .await?;

            let edit = r#"-n heal patch configmap heal --type=merge -p {"data":{"value":"tampered"}}"#;
            kubectl(edit, None).await?.success()?;
            healed("heal", "configmap/heal", "/data/value", "value-of-heal").await?;

            let pointer = "/spec/template/spec/containers/0/image";
            let image = workload::OTHER_IMAGE;
            let edit = format!(r#"[{{"op":"replace","path":"{pointer}","value":"{image}"}}]"#);
            kubectl(
                &format!("-n heal patch deployment heal --type=json -p {edit}"),
                None,
            )
            .await?
            .success()?;
            healed("heal", "deployment/heal", pointer, workload::IMAGE).await?;

            let pointer = "/metadata/labels/threeport.io~1instance";
            let map = live("heal", "configmap/heal").await?.unwrap_or_default();
            let instance = map.pointer(pointer).and_then(Value::as_str);
            let instance = instance.unwrap_or_default().to_owned();
            kubectl("-n heal label configmap heal threeport.io/instance-", None)
                .await?
                .success()?;
            healed("heal", "configmap/heal", pointer, &instance).await
        })
        .await
}

/// How often a Job of that name was made, by whomever, since then.
fn job_creates(world: &World, since: u64, name: &str) -> Result<usize> {
    let created = |entry: &audit::Entry| {
        let object = entry.object_ref.as_ref();
        entry.is_create()
            && object.is_some_and(|object| {
                // A POST names what it makes in its body.
                object.resource == "jobs" && object.namespace == name && ["", name].contains(&&*object.name)
            })
    };
    let entries = audit::since(&world.audit_log, since)?;
    Ok(entries.iter().filter(|entry| created(entry)).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_4_a_job_removed_by_its_ttl_is_not_run_again_after_an_unrelated_edit() -> Result<()> {
    let job = |ttl: i64| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"},
            "spec": {"ttlSecondsAfterFinished": ttl, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "job", "image": workload::IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["job"],
                    "env": [{"name": "NAME", "value": "once"}],
                }],
            }}},
        })
    };
    let config = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}, "data": {"a": value}});
    let objects = pair("once", &[job(1), config("1")]);
    Scene::of(&objects)
        .play(async |world| {
            let since = audit::end(&world.audit_log)?;
            apply(world, &objects).await?;
            wait_ready(world, &objects).await?;
            gone("once", "job/once", Duration::from_secs(30)).await?;
            ensure!(
                job_creates(world, since, "once")? == 1,
                "the Job was not made once"
            );

            // Its TTL would hide a second run from who looks for the Job; the audit log has every create.
            let edited = [workload::definition("once", &[job(1), config("2")])];
            apply(world, &edited).await?;
            wait_ready(world, &edited).await?;
            let map = live("once", "configmap/other").await?.unwrap_or_default();
            ensure!(
                map["data"]["a"] == "2",
                "positive control: the edit arrived: {map}"
            );
            let creates = job_creates(world, since, "once")?;
            ensure!(creates == 1, "the Job was made {creates} times");

            // The control: an edit of the Job itself runs it again, and is counted.
            let edited = [workload::definition("once", &[job(600), config("2")])];
            apply(world, &edited).await?;
            wait_ready(world, &edited).await?;
            let creates = job_creates(world, since, "once")?;
            ensure!(
                creates == 2,
                "after an edit of its own the Job was made {creates} times"
            );
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_4_replicas_that_an_autoscaler_owns_are_left_alone() -> Result<()> {
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "scaled"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scaled"},
            "minReplicas": 1, "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    });
    // Each edit is one of the Deployment itself, so that it is written; its pods are the same.
    let manifests = |edit: &str| {
        let mut deployment = workload::deployment("scaled", workload::IMAGE, 1);
        deployment["metadata"]["annotations"] = json!({"edit": edit});
        [workload::config("scaled"), deployment, scaler.clone()]
    };
    let objects = pair("scaled", &manifests("none"));
    Scene::of(&objects)
        .play(async |world| {
            apply(world, &objects).await?;
            wait_ready(world, &objects).await?;
            let deployment = live("scaled", "deployment/scaled").await?.unwrap_or_default();
            ensure!(
                deployment["spec"]["replicas"] == 1,
                "before the scale: {deployment}"
            );
            for (edit, replicas, scale) in [
                ("first", 2, "scale deployment scaled --replicas=2"),
                // Not through the scale subresource: only the autoscaler's reference tells whose they are.
                (
                    "second",
                    3,
                    r#"patch deployment scaled --type=merge -p {"spec":{"replicas":3}}"#,
                ),
            ] {
                kubectl(&format!("-n scaled {scale}"), None).await?.success()?;
                let edited = [workload::definition("scaled", &manifests(edit))];
                apply(world, &edited).await?;
                // Ready is said of what was seen after everything of the edit was applied: nothing more is to come.
                wait_ready(world, &edited).await?;
                let deployment = live("scaled", "deployment/scaled").await?.unwrap_or_default();
                ensure!(
                    deployment["metadata"]["annotations"]["edit"] == edit,
                    "positive control: the edit arrived: {deployment}"
                );
                ensure!(
                    deployment["spec"]["replicas"] == replicas,
                    "{scale} was taken back: {}",
                    deployment["spec"]["replicas"]
                );
            }
            Ok(())
        })
        .await
}
