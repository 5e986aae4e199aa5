//! With many instances that are as they should be, nobody of ours writes anything to the cluster: neither while nothing
//! happens nor while a component is started anew. Mirrors are in the same cluster, so this holds for them too.
//!
//! A component that was restarted has looked at everything when it has had its part in healing an object that somebody
//! deleted. That is the control too: the same filter finds this healing.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use kube::api::ListParams;
use serde_json::{Value, json};
use threeport_client::ApplyBody;
use threeport_e2e::{World, audit, form, kubectl, metrics, wait_until, workload};

use crate::{
    installation::rolled_out,
    scene::Scene,
    steps::{condition_of, custom_resources, kind, rest_get},
};

/// How many instances: short form, long form.
const INSTANCES: [usize; 2] = [20, 300];
/// How long nothing happens.
const IDLE: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(300)];
/// How long it may take until all is settled.
const SETTLED: [Duration; 2] = [Duration::from_secs(90), Duration::from_secs(400)];
const HEALED: Duration = Duration::from_secs(30);
const NAME: &str = "stillness";
const PARTS: [&str; 5] = [
    "statefulset threeport-nats",
    "deployment threeport-api",
    "deployment threeport-controllers",
    "deployment threeport-facade",
    "deployment threeport-agent",
];

fn instance(index: usize) -> String {
    format!("{NAME}-{index}")
}

fn objects(instances: usize) -> Vec<Value> {
    let mut manifests = workload::service(NAME, workload::IMAGE);
    // Without pods: the node is not what this is about.
    if let Some(deployment) = manifests.last_mut() {
        deployment["spec"]["replicas"] = json!(0);
    }
    let placed = (0..instances).map(|index| workload::instance(&instance(index), NAME, &json!({})));
    std::iter::once(workload::definition(NAME, &manifests))
        .chain(placed)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_2_nothing_is_written_while_idle_or_when_a_component_restarts() -> Result<()> {
    let instances = form::choose(INSTANCES);
    let objects = objects(instances);
    Scene::of(&objects)
        .alone()
        .play(async |world| {
            world
                .api
                .apply(ApplyBody::Objects(objects.clone()), false)
                .await?;
            is_settled(world, instances).await?;

            let idle = form::choose(IDLE);
            let offset = audit::end(&world.audit_log)?;
            tokio::time::sleep(idle).await;
            let written = writes(world, offset)?;
            ensure!(written.is_empty(), "{idle:?} idle: {written:#?}");
            heal(world, offset, instances).await?;

            for part in PARTS {
                let offset = audit::end(&world.audit_log)?;
                kubectl(&format!("-n {} rollout restart {part}", world.namespace), None)
                    .await?
                    .success()?;
                rolled_out(&world.namespace, part).await?;
                heal(world, offset, instances).await?;
                let mut written = writes(world, offset)?;
                written.retain(|call, _| !is_of_healing(call, &world.namespace, instances - 1));
                ensure!(written.is_empty(), "{part} was restarted: {written:#?}");
            }
            Ok(())
        })
        .await
}

/// What our accounts asked to change since `offset` of the audit log, by how often.
fn writes(world: &World, offset: u64) -> Result<BTreeMap<String, usize>> {
    let entries = audit::since(&world.audit_log, offset)?;
    let ours = entries
        .iter()
        .filter(|entry| entry.is_write() && entry.is_by(&world.namespace));
    Ok(audit::count(ours))
}

/// Somebody deletes an object of the last instance: its healing is found in the audit log since `offset`, and shows in
/// every status.
async fn heal(world: &World, offset: u64, instances: usize) -> Result<()> {
    let namespace = instance(instances - 1);
    kubectl(&format!("-n {namespace} delete configmap {NAME}"), None)
        .await?
        .success()?;
    let expected = healing_of(instances - 1);
    wait_until("the healing of a deleted object is found", HEALED, || async {
        let found = writes(world, offset)?;
        Ok(if found.contains_key(&expected) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        })
    })
    .await?;
    is_settled(world, instances).await
}

fn healing_of(index: usize) -> String {
    format!("patch 201 configmaps. {}/{NAME}", instance(index))
}

/// What hangs on it: the object itself, and the mirrors and Events of its instance and of the definition.
fn is_of_healing(call: &str, namespace: &str, index: usize) -> bool {
    let name = instance(index);
    let mirrors = [
        format!(" workloadinstances.threeport.io {namespace}/{name}"),
        format!(" workloaddefinitions.threeport.io {namespace}/{NAME}"),
    ];
    call == healing_of(index)
        || mirrors.iter().any(|mirror| call.ends_with(mirror))
        || call.contains(&format!(" events.events.k8s.io {namespace}/{name}."))
}

/// All instances are Ready, in the database and in their mirrors, and none is pending.
async fn is_settled(world: &World, instances: usize) -> Result<()> {
    wait_until("all is settled", form::choose(SETTLED), || async {
        let status = rest_get(world, "tpwd", NAME).await?.status;
        if status["instances"]["ready"] != instances {
            return Ok(Err(status["instances"].to_string()));
        }
        let mirrors = custom_resources(world, kind("tpwi")?)
            .list(&ListParams::default())
            .await?;
        let mut ready = 0;
        for mirror in &mirrors {
            ready += usize::from(is_ready(&serde_json::to_value(mirror)?));
        }
        if ready != instances {
            return Ok(Err(format!("{ready} mirrors are Ready")));
        }
        let samples = metrics::of_deployment(&world.namespace, "api").await?;
        let pending = metrics::sum(&samples, "threeport_pending", &["WorkloadInstance"]);
        Ok(if pending == 0.0 {
            Ok(())
        } else {
            Err(format!("{pending} are pending"))
        })
    })
    .await
}

fn is_ready(resource: &Value) -> bool {
    let name = resource["metadata"]["name"].as_str().unwrap_or_default();
    let ready = condition_of(resource, "Ready");
    name.starts_with(NAME) && ready.is_some_and(|condition| condition["status"] == "True")
}
