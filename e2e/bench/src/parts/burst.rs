//! Many instances at once, and their end. It begins with the first POST and ends when the last apply was accepted; the
//! deletion ends, for both, when the namespaces are gone.
//!
//! How fast the machine is, the loop tells alone: fewer instances, with the controller manager paused. That its client
//! rate is no limit makes it work at the same time as what is measured, on the same cores, for both; 177 instances per
//! second were seen where its work came afterwards, and only alike can be compared with it.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use threeport_client::Propagation;
use threeport_e2e::audit;
use threeport_model::kinds::{WorkloadDefinition, WorkloadInstance};

use super::loop_first;
use crate::{
    accepted::{self, Applier},
    driver::{drive, per_second},
    figures::{BURST, CPU, DELETE, LOOP_FLOOR, REPORTED},
    objects::{self, RESOURCES},
    processes::{self, CONTROL_PLANE, CONTROLLER_MANAGER},
    report::Figures,
    statistics::{Distribution, Spread},
    world::{World, kind_of, say},
};

/// How many instances the loop applies alone: enough to tell its rate.
const ALONE: usize = 200;

/// One run of both.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    loop_alone_per_second: f64,
    loop_per_second: f64,
    loop_deleted_per_second: f64,
    per_second: f64,
    ratio: f64,
    posted_seconds: f64,
    applied_seconds: f64,
    ready_seconds: f64,
    mirrored_seconds: f64,
    /// From the POST of an instance to its last apply.
    applied_milliseconds: Distribution,
    deleted_per_second: f64,
    deleted_ratio: f64,
    /// Milliseconds per instance, by component.
    cpu_milliseconds: BTreeMap<String, f64>,
    control_plane_cpu_milliseconds: f64,
}

struct Own {
    posted: f64,
    applied: f64,
    ready: f64,
    mirrored: f64,
    latencies: Vec<f64>,
    cpu: BTreeMap<String, f64>,
    deleted: f64,
}

pub(super) async fn measure(
    world: &World,
    runs: usize,
    instances: usize,
    figures: &mut Figures<'_>,
) -> Result<()> {
    let mut done = Vec::new();
    for run in 0..runs {
        say(&format!("burst of {instances}, run {} of {runs}", run + 1));
        let alone = of_loop_alone(world, run, instances.min(ALONE)).await?;
        let (bare, own) = if loop_first(run) {
            let bare = of_loop(world, run, instances).await?;
            (bare, of_control_plane(world, run, instances).await?)
        } else {
            let own = of_control_plane(world, run, instances).await?;
            (of_loop(world, run, instances).await?, own)
        };
        let run = summed(instances, alone, bare, own);
        say(&format!(
            "  loop {:.1}/s (alone {:.1}/s), {:.1}/s deleted; control plane {:.1}/s ({:.2}), {:.1}/s deleted ({:.2}), Ready after {:.1} s",
            run.loop_per_second,
            run.loop_alone_per_second,
            run.loop_deleted_per_second,
            run.per_second,
            run.ratio,
            run.deleted_per_second,
            run.deleted_ratio,
            run.ready_seconds
        ));
        done.push(run);
    }
    let of = |value: fn(&Run) -> f64| Spread::of(done.iter().map(value));
    let alone = of(|run| run.loop_alone_per_second);
    let floor = format!("loop alone: instances applied (below {LOOP_FLOOR}/s a run says nothing)");
    figures.add(&floor, "/s", REPORTED, alone);
    figures.add(
        "loop: instances applied",
        "/s",
        REPORTED,
        of(|run| run.loop_per_second),
    );
    figures.add(
        "loop: instances deleted",
        "/s",
        REPORTED,
        of(|run| run.loop_deleted_per_second),
    );
    figures.add(
        "burst: instances applied",
        "/s",
        REPORTED,
        of(|run| run.per_second),
    );
    figures.add_compared(&BURST, of(|run| run.ratio), alone);
    figures.add(
        "burst: last one applied",
        "s",
        REPORTED,
        of(|run| run.applied_seconds),
    );
    figures.add(
        "burst: last one Ready",
        "s",
        REPORTED,
        of(|run| run.ready_seconds),
    );
    figures.add(
        "burst: last custom resource Ready",
        "s",
        REPORTED,
        of(|run| run.mirrored_seconds),
    );
    figures.add(
        "delete: instances",
        "/s",
        REPORTED,
        of(|run| run.deleted_per_second),
    );
    // What the loop applied tells how fast the machine is: how fast namespaces go is for both the controller manager's.
    figures.add_compared(&DELETE, of(|run| run.deleted_ratio), alone);
    figures.add(
        "CPU per instance, create to Ready, database included",
        "ms",
        CPU,
        of(|run| run.control_plane_cpu_milliseconds),
    );
    for component in CONTROL_PLANE
        .into_iter()
        .chain(["kube-apiserver", "etcd", CONTROLLER_MANAGER])
    {
        let cpu = Spread::of(
            done.iter()
                .filter_map(|run| run.cpu_milliseconds.get(component).copied()),
        );
        figures.add(&format!("  {component}"), "ms", REPORTED, cpu);
    }
    figures.detail("burst", &done)
}

/// The instances per second of the loop alone.
async fn of_loop_alone(world: &World, run: usize, instances: usize) -> Result<f64> {
    let prefix = format!("alone-{run}");
    let names = objects::names(&prefix, instances);
    world.settle().await?;
    let paused = processes::pause(&world.site, CONTROLLER_MANAGER)?;
    let applied = applied_by_loop(world, &prefix, &names).await?;
    drop(paused);
    world.settle().await?;
    world.bare.delete(&names).await?;
    world.wait_namespaces_gone(world.bare.control_plane).await?;
    Ok(per_second(instances, applied))
}

/// The seconds until the loop's last apply was accepted.
async fn applied_by_loop(world: &World, prefix: &str, names: &[String]) -> Result<f64> {
    let objects = world.bare.objects(names);
    let (offset, started) = (audit::end(&world.audit_log)?, Timestamp::now());
    world.bare.apply(&objects).await?;
    let entries = audit::since(&world.audit_log, offset)?;
    let applies = accepted::applies(&entries, Applier::Loop, prefix, 201);
    let end = accepted::end(&applies, names.len(), RESOURCES.len())?;
    Ok(seconds(started, end))
}

async fn of_loop(world: &World, run: usize, instances: usize) -> Result<(f64, f64)> {
    let prefix = format!("loop-{run}");
    let names = objects::names(&prefix, instances);
    world.settle().await?;
    let applied = applied_by_loop(world, &prefix, &names).await?;
    world.settle().await?;
    let started = Timestamp::now();
    world.bare.delete(&names).await?;
    world.wait_namespaces_gone(world.bare.control_plane).await?;
    Ok((applied, seconds(started, Timestamp::now())))
}

async fn of_control_plane(world: &World, run: usize, instances: usize) -> Result<Own> {
    let definition = format!("burst-{run}");
    let names = objects::names(&definition, instances);
    let (definitions, placed) = (kind_of::<WorkloadDefinition>()?, kind_of::<WorkloadInstance>()?);
    world
        .api()
        .object_create(definitions, &objects::definition(&definition, false))
        .await?;
    world.settle().await?;

    let before = processes::sample(&world.site)?;
    let (offset, started) = (audit::end(&world.audit_log)?, Timestamp::now());
    let sent = std::sync::Mutex::new(BTreeMap::new());
    let driven = drive(&world.clients, instances, |client, index| {
        let (name, definition, sent) = (&names[index], &definition, &sent);
        async move {
            let at = Timestamp::now();
            client
                .object_create(placed, &objects::instance(name, definition))
                .await?;
            sent.lock()
                .map_err(|_| anyhow::anyhow!("a client panicked"))?
                .insert(name.clone(), at);
            Ok(())
        }
    })
    .await?;
    world.wait_ready(&definition, instances).await?;
    let ready = seconds(started, Timestamp::now());
    world.wait_mirrored(&definition, instances).await?;
    let mirrored = seconds(started, Timestamp::now());
    let after = processes::sample(&world.site)?;
    let entries = audit::since(&world.audit_log, offset)?;
    let applies = accepted::applies(
        &entries,
        Applier::ControlPlane(&world.namespace),
        &definition,
        201,
    );
    let applied = seconds(started, accepted::end(&applies, instances, RESOURCES.len())?);
    let sent = sent
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a client panicked"))?;
    let latencies = sent
        .iter()
        .filter_map(|(name, at)| Some(seconds(*at, applies.get(name)?.last) * 1000.0));

    world.settle().await?;
    let started = Timestamp::now();
    drive(&world.clients, instances, |client, index| {
        let name = &names[index];
        async move {
            Ok(client
                .object_delete(placed, name, Propagation::Refuse)
                .await
                .map(drop)?)
        }
    })
    .await?;
    world.wait_namespaces_gone(world.control_plane).await?;
    let deleted = seconds(started, Timestamp::now());
    world.wait_gone(&definition).await?;
    world
        .api()
        .object_delete(definitions, &definition, Propagation::Refuse)
        .await?;
    Ok(Own {
        posted: driven.seconds,
        applied,
        ready,
        mirrored,
        latencies: latencies.collect(),
        cpu: after
            .keys()
            .map(|component| {
                let cpu = processes::cpu(&before, &after, &[component]).as_secs_f64() * 1000.0;
                (component.clone(), cpu / per_second(instances, 1.0))
            })
            .collect(),
        deleted,
    })
}

fn summed(instances: usize, alone: f64, (bare_applied, bare_deleted): (f64, f64), own: Own) -> Run {
    let rate = |seconds| per_second(instances, seconds);
    let of_control_plane = CONTROL_PLANE
        .iter()
        .filter_map(|component| own.cpu.get(*component));
    Run {
        loop_alone_per_second: alone,
        loop_per_second: rate(bare_applied),
        loop_deleted_per_second: rate(bare_deleted),
        per_second: rate(own.applied),
        ratio: bare_applied / own.applied,
        posted_seconds: own.posted,
        applied_seconds: own.applied,
        ready_seconds: own.ready,
        mirrored_seconds: own.mirrored,
        applied_milliseconds: Distribution::of(&own.latencies).unwrap_or_default(),
        deleted_per_second: rate(own.deleted),
        deleted_ratio: bare_deleted / own.deleted,
        control_plane_cpu_milliseconds: of_control_plane.sum(),
        cpu_milliseconds: own.cpu,
    }
}

/// From one time to another.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
