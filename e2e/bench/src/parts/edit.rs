//! One definition with many instances is edited (its Deployment's image), against a loop that applies the changed
//! Deployment of each. It begins with the request and ends when the last apply was accepted.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use threeport_client::Propagation;
use threeport_e2e::audit;
use threeport_model::kinds::WorkloadDefinition;

use super::{burst::seconds, loop_first};
use crate::{
    accepted::{self, Applier},
    driver::per_second,
    figures::{EDIT, REPORTED},
    objects,
    report::Figures,
    statistics::Spread,
    world::{World, kind_of, say},
};

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    loop_per_second: f64,
    per_second: f64,
    ratio: f64,
    ready_seconds: f64,
}

pub(super) async fn measure(
    world: &World,
    runs: usize,
    instances: usize,
    figures: &mut Figures<'_>,
) -> Result<()> {
    let mut done = Vec::new();
    for run in 0..runs {
        say(&format!(
            "edit of a definition with {instances} instances, run {} of {runs}",
            run + 1
        ));
        let (bare, (own, ready)) = if loop_first(run) {
            let bare = of_loop(world, run, instances).await?;
            (bare, of_control_plane(world, run, instances).await?)
        } else {
            let own = of_control_plane(world, run, instances).await?;
            (of_loop(world, run, instances).await?, own)
        };
        let run = Run {
            loop_per_second: per_second(instances, bare),
            per_second: per_second(instances, own),
            ratio: bare / own,
            ready_seconds: ready,
        };
        say(&format!(
            "  loop {:.1}/s, control plane {:.1}/s ({:.2}), Ready after {:.1} s",
            run.loop_per_second, run.per_second, run.ratio, run.ready_seconds
        ));
        done.push(run);
    }
    let of = |value: fn(&Run) -> f64| Spread::of(done.iter().map(value));
    let reached = of(|run| run.loop_per_second);
    figures.add("loop: objects changed", "/s", REPORTED, reached);
    figures.add(
        "edit: instances changed",
        "/s",
        REPORTED,
        of(|run| run.per_second),
    );
    figures.add_compared(&EDIT, of(|run| run.ratio), reached);
    figures.add("edit: all Ready", "s", REPORTED, of(|run| run.ready_seconds));
    figures.detail("edit", &done)
}

async fn of_loop(world: &World, run: usize, instances: usize) -> Result<f64> {
    let prefix = format!("loop-edit-{run}");
    let names = objects::names(&prefix, instances);
    let objects = world.bare.objects(&names);
    world.bare.apply(&objects).await?;
    world.settle().await?;
    let edited: Vec<_> = objects
        .iter()
        .map(|objects| objects::edited(objects).into_iter().collect())
        .collect();
    let (offset, started) = (audit::end(&world.audit_log)?, Timestamp::now());
    world.bare.apply(&edited).await?;
    let entries = audit::since(&world.audit_log, offset)?;
    let applies = accepted::applies(&entries, Applier::Loop, &prefix, 200);
    let applied = seconds(started, accepted::end(&applies, instances, 1)?);
    world.bare.delete(&names).await?;
    world.wait_namespaces_gone(world.bare.control_plane).await?;
    Ok(applied)
}

async fn of_control_plane(world: &World, run: usize, instances: usize) -> Result<(f64, f64)> {
    let definition = format!("edit-{run}");
    world.place(&definition, instances).await?;
    world.wait_mirrored(&definition, instances).await?;
    world.settle().await?;
    let (offset, started) = (audit::end(&world.audit_log)?, Timestamp::now());
    let (kind, edited) = (
        kind_of::<WorkloadDefinition>()?,
        objects::definition(&definition, true),
    );
    world.api().object_replace(kind, &edited, None).await?;
    world.wait_ready(&definition, instances).await?;
    let ready = seconds(started, Timestamp::now());
    let entries = audit::since(&world.audit_log, offset)?;
    let applies = accepted::applies(
        &entries,
        Applier::ControlPlane(&world.namespace),
        &definition,
        200,
    );
    let applied = seconds(started, accepted::end(&applies, instances, 1)?);
    world.wait_mirrored(&definition, instances).await?;
    world
        .api()
        .object_delete(kind, &definition, Propagation::Cascade)
        .await?;
    world.wait_namespaces_gone(world.control_plane).await?;
    world.wait_gone(&definition).await?;
    Ok((applied, ready))
}
