//! Editing a definition: `kubectl wait` on what was edited returns only when every instance runs it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use threeport_e2e::{World, kubectl, workload};

use crate::steps::{apply, condition, delete, live, wait_ready};

#[tokio::test(flavor = "multi_thread")]
async fn story_3_wait_returns_only_when_new_pods_of_every_instance_are_ready() -> Result<()> {
    let world = World::connect().await?;
    let mut before = workload::service("edit", workload::IMAGE);
    before.push(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "goes"}, "data": {"a": "b"}}),
    );
    let instances = [
        workload::instance("edit-one", "edit", &json!({})),
        workload::instance("edit-two", "edit", &json!({})),
    ];
    let objects = [vec![workload::definition("edit", &before)], instances.to_vec()].concat();
    apply(&world, &objects).await?;
    wait_ready(&world, &objects).await?;
    ensure!(
        live("edit-one", "configmap/goes").await?.is_some(),
        "positive control: the document that goes is there"
    );

    let mut after = workload::service("edit", workload::OTHER_IMAGE);
    after.push(
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "comes"}, "data": {"a": "b"}}),
    );
    let edited = [workload::definition("edit", &after)];
    apply(&world, &edited).await?;
    wait_ready(&world, &edited).await?;
    for namespace in ["edit-one", "edit-two"] {
        ensure!(
            live(namespace, "configmap/comes").await?.is_some(),
            "{namespace}: the added document is missing"
        );
        ensure!(
            live(namespace, "configmap/goes").await?.is_none(),
            "{namespace}: the removed document is there"
        );
        let pods = kubectl(&format!("-n {namespace} get pods -l app=edit -o json"), None)
            .await?
            .success()?
            .json()?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let ready = pods.iter().filter(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            pod["spec"]["containers"][0]["image"] == workload::OTHER_IMAGE && status["ready"] == true
        });
        ensure!(
            ready.count() == 1,
            "{namespace}: the new pod was not ready when kubectl wait returned: {pods:?}"
        );
    }
    delete(&world, &objects).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_3_a_failing_image_is_the_top_object_s_reason_within_30_s() -> Result<()> {
    let world = World::connect().await?;
    let manifests = workload::service("noimage", workload::MISSING_IMAGE);
    let objects = [
        workload::definition("noimage", &manifests),
        workload::instance("noimage", "noimage", &json!({})),
    ];
    apply(&world, &objects).await?;
    let limit = Duration::from_secs(30);
    for what in ["workloadinstance/noimage", "workloaddefinition/noimage"] {
        let waits_for = format!("{what} names the image");
        let named = threeport_e2e::wait_until(&waits_for, limit, || async {
            let ready = condition(&world, what, "Ready", "False", limit).await?;
            let message = ready["message"].as_str().unwrap_or_default().to_owned();
            Ok(if message.contains(workload::MISSING_IMAGE) {
                Ok(message)
            } else {
                Err(ready.to_string())
            })
        });
        println!("{what}: {}", named.await?);
    }
    delete(&world, &objects).await?;
    Ok(())
}
