//! What is measured. Each part leaves the world as it found it.

mod burst;
mod edit;
mod latency;
mod memory;
mod requests;

use anyhow::Result;

use crate::{
    arguments::{Arguments, Database, Part},
    disk,
    figures::REPORTED,
    report::Report,
    statistics::Distribution,
    world::World,
};

/// Measures the wanted parts.
pub(crate) async fn measure(
    world: &World,
    arguments: &Arguments,
    database: Database,
    report: &mut Report,
) -> Result<()> {
    let runs = arguments.runs(database);
    let mut figures = report.of(database);
    let mut syncs = disk::syncs(&world.site)?;
    if arguments.wants(Part::Burst) {
        burst::measure(world, runs, arguments.size(arguments.instances), &mut figures).await?;
    }
    if arguments.wants(Part::Edit) {
        edit::measure(world, runs, arguments.size(arguments.edited), &mut figures).await?;
    }
    syncs.extend(disk::syncs(&world.site)?);
    if arguments.wants(Part::Latency) {
        latency::measure(world, arguments, &mut figures).await?;
    }
    if arguments.wants(Part::Requests) {
        requests::measure(world, arguments, runs, &mut figures).await?;
    }
    if arguments.wants(Part::Memory) {
        memory::measure(world, arguments.size(arguments.resident), &mut figures).await?;
    }
    syncs.extend(disk::syncs(&world.site)?);
    let syncs = Distribution::of(&syncs);
    figures.add("disk: one sync, p50", "ms", REPORTED, syncs.map(|all| all.p50));
    figures.add("disk: one sync, p99", "ms", REPORTED, syncs.map(|all| all.p99));
    Ok(())
}

/// Whether a run measures the loop first: they take turns, so that neither always has the warmer machine.
fn loop_first(run: usize) -> bool {
    run.is_multiple_of(2)
}
