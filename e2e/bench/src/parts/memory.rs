//! What processes hold with many instances that are Ready.

use anyhow::Result;
use threeport_client::Propagation;
use threeport_model::kinds::WorkloadDefinition;

use crate::{
    figures::{MEMORY, REPORTED},
    processes::{self, API_AND_OPERATOR, CONTROL_PLANE, Sample},
    report::Figures,
    world::{World, kind_of, say},
};

const DEFINITION: &str = "resident";

pub(super) async fn measure(world: &World, instances: usize, figures: &mut Figures<'_>) -> Result<()> {
    say(&format!("memory with {instances} instances"));
    world.place(DEFINITION, instances).await?;
    world.wait_mirrored(DEFINITION, instances).await?;
    world.settle().await?;
    let sample = processes::sample(&world.site)?;
    let name = format!("memory of API and operator with {instances} instances");
    figures.add(&name, "MiB", MEMORY, Some(mebibytes(&sample, &API_AND_OPERATOR)));
    for component in CONTROL_PLANE {
        let resident = mebibytes(&sample, &[component]);
        figures.add(&format!("  {component}"), "MiB", REPORTED, Some(resident));
    }
    let kind = kind_of::<WorkloadDefinition>()?;
    world
        .api()
        .object_delete(kind, DEFINITION, Propagation::Cascade)
        .await?;
    world.wait_namespaces_gone(world.control_plane).await?;
    world.wait_gone(DEFINITION).await?;
    figures.detail("memory", &sample)
}

#[expect(clippy::cast_precision_loss, reason = "a mebibyte more or less")]
fn mebibytes(sample: &Sample, components: &[&str]) -> f64 {
    let of = |component: &&str| sample.get(*component).map_or(0, |usage| usage.resident_bytes);
    components.iter().map(of).sum::<u64>() as f64 / f64::from(1 << 20)
}
