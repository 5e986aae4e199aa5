//! Editing a definition: `kubectl wait` on what was edited returns only when every instance runs it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use threeport_e2e::{kubectl, wait_until, workload};

use crate::{
    scene::Scene,
    steps::{apply, condition_of, custom_resource, live, wait_ready},
};

/// Within this time the top object names what is wrong with an image.
const NAMED: Duration = Duration::from_secs(30);

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
}

/// Fails unless exactly one pod of the app runs, of that image, and is ready.
pub(crate) async fn one_pod_is_ready(namespace: &str, app: &str, image: &str) -> Result<()> {
    let pods = kubectl(&format!("-n {namespace} get pods -l app={app} -o json"), None)
        .await?
        .success()?
        .json()?;
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let ready = pods.iter().filter(|pod| {
        let status = &pod["status"]["containerStatuses"][0];
        pod["spec"]["containers"][0]["image"] == image && status["ready"] == true
    });
    ensure!(
        ready.count() == 1,
        "{namespace}: the new pod was not ready when kubectl wait returned: {pods:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_3_wait_returns_only_when_new_pods_of_every_instance_are_ready() -> Result<()> {
    let mut before = workload::service("edit", workload::IMAGE);
    before.push(map("goes"));
    let mut after = workload::service("edit", workload::OTHER_IMAGE);
    after.push(map("comes"));
    let objects = [
        workload::definition("edit", &before),
        workload::instance("edit-one", "edit", &json!({})),
        workload::instance("edit-two", "edit", &json!({})),
    ];
    Scene::of(&objects)
        .play(async |world| {
            apply(world, &objects).await?;
            wait_ready(world, &objects).await?;
            ensure!(
                live("edit-one", "configmap/goes").await?.is_some(),
                "positive control: the document that goes is there"
            );

            let edited = [workload::definition("edit", &after)];
            apply(world, &edited).await?;
            wait_ready(world, &edited).await?;
            for namespace in ["edit-one", "edit-two"] {
                ensure!(
                    live(namespace, "configmap/comes").await?.is_some(),
                    "{namespace}: the added document is missing"
                );
                ensure!(
                    live(namespace, "configmap/goes").await?.is_none(),
                    "{namespace}: the removed document is there"
                );
                one_pod_is_ready(namespace, "edit", workload::OTHER_IMAGE).await?;
            }
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_3_a_failing_image_is_the_top_object_s_reason_within_30_s() -> Result<()> {
    let manifests = workload::service("noimage", workload::MISSING_IMAGE);
    let objects = [
        workload::definition("noimage", &manifests),
        workload::instance("noimage", "noimage", &json!({})),
    ];
    Scene::of(&objects)
        .play(async |world| {
            let begin = Instant::now();
            apply(world, &objects).await?;
            let cause = format!("ImagePullBackOff: image {}", workload::MISSING_IMAGE);
            for (what, reason) in [
                ("workloadinstance/noimage", "ResourceFailed"),
                // A definition counts its instances: what ails the worst of them is in its message.
                ("workloaddefinition/noimage", "Progressing"),
            ] {
                let left = NAMED.saturating_sub(begin.elapsed());
                let message = wait_until(&format!("{what} names the image"), left, || async {
                    let object = custom_resource(world, what).await?.context("absent")?;
                    let ready = condition_of(&object, "Ready").cloned().unwrap_or_default();
                    let message = ready["message"].as_str().unwrap_or_default();
                    let is_named = ready["status"] == "False" && message.contains(&cause);
                    Ok(if is_named && ready["reason"] == reason {
                        Ok(message.to_owned())
                    } else {
                        Err(ready.to_string())
                    })
                })
                .await?;
                println!("{what} after {:.1} s: {message}", begin.elapsed().as_secs_f32());
            }
            Ok(())
        })
        .await
}
