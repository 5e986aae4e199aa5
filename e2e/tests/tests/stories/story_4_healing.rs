//! Drift is healed with manners.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use threeport_e2e::{World, kubectl, wait_until, workload};

use crate::steps::{apply, delete, live, wait_ready};

const HEALED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn story_4_deleted_and_edited_objects_are_healed_within_10_s() -> Result<()> {
    let world = World::connect().await?;
    let objects = [
        workload::definition("heal", &workload::service("heal", workload::IMAGE)),
        workload::instance("heal", "heal", &json!({})),
    ];
    apply(&world, &objects).await?;
    wait_ready(&world, &objects).await?;

    let uid = |object: Option<serde_json::Value>| object.map(|object| object["metadata"]["uid"].to_string());
    let old = uid(live("heal", "deployment/heal").await?);
    kubectl("-n heal delete deployment heal", None).await?.success()?;
    wait_until("the deleted Deployment is back", HEALED, || async {
        let new = uid(live("heal", "deployment/heal").await?);
        Ok(if new.is_some() && new != old {
            Ok(())
        } else {
            Err(format!("{new:?}"))
        })
    })
    .await?;

    kubectl(
        r#"-n heal patch configmap heal --type=merge -p {"data":{"value":"tampered"}}"#,
        None,
    )
    .await?
    .success()?;
    wait_until("the edited ConfigMap is healed", HEALED, || async {
        let map = live("heal", "configmap/heal").await?.unwrap_or_default();
        Ok(if map["data"]["value"] == "value-of-heal" {
            Ok(())
        } else {
            Err(map["data"].to_string())
        })
    })
    .await?;

    let image = format!(
        r#"[{{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"{}"}}]"#,
        workload::OTHER_IMAGE
    );
    kubectl(
        &format!("-n heal patch deployment heal --type=json -p {image}"),
        None,
    )
    .await?
    .success()?;
    wait_until("the edited image is healed", HEALED, || async {
        let deployment = live("heal", "deployment/heal").await?.unwrap_or_default();
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        Ok(if image == workload::IMAGE {
            Ok(())
        } else {
            Err(image.to_string())
        })
    })
    .await?;
    delete(&world, &objects).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_4_a_job_removed_by_its_ttl_is_not_run_again_after_an_unrelated_edit() -> Result<()> {
    let world = World::connect().await?;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"},
        "spec": {"ttlSecondsAfterFinished": 1, "template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "job", "image": workload::IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["job"],
                "env": [{"name": "NAME", "value": "once"}],
            }],
        }}},
    });
    let config = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}, "data": {"a": value}});
    let objects = [
        workload::definition("once", &[job.clone(), config("1")]),
        workload::instance("once", "once", &json!({})),
    ];
    apply(&world, &objects).await?;
    wait_ready(&world, &objects).await?;
    wait_until(
        "the Job is removed by its TTL",
        Duration::from_secs(30),
        || async {
            Ok(live("once", "job/once")
                .await?
                .map_or(Ok(()), |_| Err("there".to_owned())))
        },
    )
    .await?;
    let edited = [workload::definition("once", &[job, config("2")])];
    apply(&world, &edited).await?;
    wait_ready(&world, &edited).await?;
    let map = live("once", "configmap/other").await?.unwrap_or_default();
    anyhow::ensure!(
        map["data"]["a"] == "2",
        "positive control: the edit arrived: {map}"
    );
    anyhow::ensure!(live("once", "job/once").await?.is_none(), "the Job was run again");
    delete(&world, &objects).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_4_replicas_that_an_autoscaler_owns_are_left_alone() -> Result<()> {
    let world = World::connect().await?;
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "scaled"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scaled"},
            "minReplicas": 1, "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    });
    let manifests = |value: &str| {
        let mut manifests = workload::service("scaled", workload::IMAGE);
        manifests[0]["data"]["other"] = json!(value);
        [manifests, vec![scaler.clone()]].concat()
    };
    let objects = [
        workload::definition("scaled", &manifests("1")),
        workload::instance("scaled", "scaled", &json!({})),
    ];
    apply(&world, &objects).await?;
    wait_until("the Deployment is there", Duration::from_secs(30), || async {
        Ok(live("scaled", "deployment/scaled")
            .await?
            .map(|_| ())
            .ok_or_else(|| "absent".to_owned()))
    })
    .await?;
    kubectl("-n scaled scale deployment scaled --replicas=2", None)
        .await?
        .success()?;
    apply(&world, &[workload::definition("scaled", &manifests("2"))]).await?;
    wait_until("the edit arrived", Duration::from_secs(30), || async {
        let map = live("scaled", "configmap/scaled").await?.unwrap_or_default();
        Ok(if map["data"]["other"] == "2" {
            Ok(())
        } else {
            Err(map["data"].to_string())
        })
    })
    .await?;
    let deployment = live("scaled", "deployment/scaled").await?.unwrap_or_default();
    anyhow::ensure!(
        deployment["spec"]["replicas"] == 2,
        "the scale was taken back: {}",
        deployment["spec"]["replicas"]
    );
    delete(&world, &objects).await?;
    Ok(())
}
