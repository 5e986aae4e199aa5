//! With many instances that are as they should be, nobody of ours writes anything to the cluster: neither while nothing
//! happens nor while a component is started anew. Mirrors are in the same cluster, so this holds for them too.
//!
//! The control comes first: somebody deletes an object, and the filter finds its healing. A component that was restarted
//! has looked at everything when it has had its part in another one. What is healed is of a definition of its own, so that
//! nothing needs to be forgiven of all that is to be still.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::api::ListParams;
use serde_json::{Value, json};
use threeport_client::ApplyBody;
use threeport_e2e::{World, audit, form, kubectl, metrics, wait_until, workload};

use crate::{
    installation::rolled_out,
    scene::Scene,
    steps::{custom_resources, is_ready, kind, rest_get},
};

/// How many instances: short form, long form.
const INSTANCES: [usize; 2] = [20, 300];
/// How long nothing happens.
const IDLE: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(300)];
/// How long it may take until all is settled.
const SETTLED: [Duration; 2] = [Duration::from_secs(90), Duration::from_secs(400)];
/// For so long nothing is written before a healing counts as over.
const QUIET: Duration = Duration::from_secs(3);
const FOUND: Duration = Duration::from_secs(30);
const NAME: &str = "stillness";
/// A definition, its one instance, the namespace of that and its objects: of these one is deleted now and then.
const HEALED: &str = "stillness-healed";
const HEALING: &str = "patch 201 configmaps. stillness-healed/stillness-healed";
const PARTS: [&str; 5] = [
    "statefulset threeport-nats",
    "deployment threeport-api",
    "deployment threeport-controllers",
    "deployment threeport-facade",
    "deployment threeport-agent",
];

fn manifests(name: &str) -> Vec<Value> {
    let mut manifests = workload::service(name, workload::IMAGE);
    // Without pods: the node is not what this is about.
    if let Some(deployment) = manifests.last_mut() {
        deployment["spec"]["replicas"] = json!(0);
    }
    manifests
}

fn objects(instances: usize) -> Vec<Value> {
    let placed = (0..instances).map(|index| workload::instance(&format!("{NAME}-{index}"), NAME, &json!({})));
    [NAME, HEALED]
        .into_iter()
        .map(|name| workload::definition(name, &manifests(name)))
        .chain(placed)
        .chain([workload::instance(HEALED, HEALED, &json!({}))])
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
            heal(world, audit::end(&world.audit_log)?, instances).await?;
            is_quiet(world).await?;

            let idle = form::choose(IDLE);
            let offset = audit::end(&world.audit_log)?;
            tokio::time::sleep(idle).await;
            let written = audit::count(&writes(world, offset)?);
            ensure!(written.is_empty(), "{idle:?} idle: {written:#?}");

            for part in PARTS {
                let offset = audit::end(&world.audit_log)?;
                kubectl(&format!("-n {} rollout restart {part}", world.namespace), None)
                    .await?
                    .success()?;
                rolled_out(&world.namespace, part).await?;
                heal(world, offset, instances).await?;
                let mut written = writes(world, offset)?;
                written.retain(|entry| !is_of_healing(entry, &world.namespace));
                ensure!(
                    written.is_empty(),
                    "{part} was restarted: {:#?}",
                    audit::count(&written)
                );
            }
            Ok(())
        })
        .await
}

/// What our accounts asked to change since `offset` of the audit log.
fn writes(world: &World, offset: u64) -> Result<Vec<audit::Entry>> {
    let mut entries = audit::since(&world.audit_log, offset)?;
    entries.retain(|entry| entry.is_write() && entry.is_by(&world.namespace));
    Ok(entries)
}

/// Somebody deletes an object: its healing, once, is found in the audit log since `offset`, and shows in every status.
async fn heal(world: &World, offset: u64, instances: usize) -> Result<()> {
    kubectl(&format!("-n {HEALED} delete configmap {HEALED}"), None)
        .await?
        .success()?;
    let healings = || {
        anyhow::Ok(
            audit::count(&writes(world, offset)?)
                .remove(HEALING)
                .unwrap_or_default(),
        )
    };
    wait_until("the healing of a deleted object is found", FOUND, || async {
        Ok(if healings()? > 0 {
            Ok(())
        } else {
            Err("it is not".to_owned())
        })
    })
    .await?;
    is_settled(world, instances).await?;
    let times = healings()?;
    ensure!(times == 1, "it was healed {times} times");
    Ok(())
}

/// What hangs on a healing. The object is made; the instance is not Ready for a moment, and its definition counts it as
/// such, which the status of both resources shows (and nothing else of them changes); Events tell of it.
fn is_of_healing(entry: &audit::Entry, namespace: &str) -> bool {
    let object = entry.object_ref.clone().unwrap_or_default();
    let is_shown = object.namespace == namespace;
    match (object.resource.as_str(), entry.verb.as_str()) {
        ("configmaps", _) => entry.summary() == HEALING,
        ("workloadinstances" | "workloaddefinitions", "update") => {
            is_shown && object.name == HEALED && object.subresource == "status"
        }
        ("events", "create" | "patch") => is_shown && object.name.starts_with(&format!("{HEALED}.")),
        _ => false,
    }
}

/// Waits until what a healing set off has ended: Events may come after all is Ready again.
async fn is_quiet(world: &World) -> Result<()> {
    wait_until("nothing is written any more", form::choose(SETTLED), || async {
        let offset = audit::end(&world.audit_log)?;
        tokio::time::sleep(QUIET).await;
        let written = audit::count(&writes(world, offset)?);
        Ok(if written.is_empty() {
            Ok(())
        } else {
            Err(format!("{written:?}"))
        })
    })
    .await
}

/// All instances are Ready, in the database and in their mirrors, and none is pending.
async fn is_settled(world: &World, instances: usize) -> Result<()> {
    wait_until("all is settled", form::choose(SETTLED), || async {
        for (name, placed) in [(NAME, instances), (HEALED, 1)] {
            let status = rest_get(world, "tpwd", name).await?.status;
            if status["instances"]["ready"] != placed {
                return Ok(Err(format!("{name}: {}", status["instances"])));
            }
        }
        let mirrors = custom_resources(world, kind("tpwi")?)
            .list(&ListParams::default())
            .await?;
        let mut ready = 0;
        for mirror in &mirrors {
            ready += usize::from(is_ours_and_ready(&serde_json::to_value(mirror)?));
        }
        if ready != instances + 1 {
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

fn is_ours_and_ready(resource: &Value) -> bool {
    let name = resource["metadata"]["name"].as_str().unwrap_or_default();
    name.starts_with(NAME) && is_ready(resource)
}
