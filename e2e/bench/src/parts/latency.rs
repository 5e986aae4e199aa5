//! How long one instance takes, alone and at ten per second: from its POST to its last apply, and from the commit (the
//! database's clock) to the first status of its custom resource. Instances are posted by the clock, whatever becomes of
//! those before, so that a slow one is not hidden by making the next wait.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use threeport_client::Propagation;
use threeport_e2e::audit;
use threeport_model::{
    Kind,
    kinds::{WorkloadDefinition, WorkloadInstance},
};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::burst::seconds;
use crate::{
    accepted::{self, Applier},
    arguments::Arguments,
    figures::{MIRROR_P99, REPORTED, UNLOADED_P50},
    objects::{self, RESOURCES},
    report::Figures,
    statistics::Distribution,
    world::{World, kind_of, say},
};

/// One at a time: the next comes long after the one before is done.
const ALONE: (usize, Duration) = (100, Duration::from_millis(500));
/// Ten per second.
const TEN: (usize, Duration) = (300, Duration::from_millis(100));
/// How many of the latest custom resources are told of, one by one.
const LATEST: usize = 20;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    applied_milliseconds: Distribution,
    mirrored_milliseconds: Distribution,
    latest_mirrored: Vec<Mirrored>,
}

/// One whose custom resource was late: many that follow each other are one halt, and where they were made late too, that
/// was before the facade wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mirrored {
    /// By the time of the first commit.
    committed_after_milliseconds: f64,
    made_milliseconds: Option<f64>,
    mirrored_milliseconds: f64,
}

pub(super) async fn measure(world: &World, arguments: &Arguments, figures: &mut Figures<'_>) -> Result<()> {
    say("latency, one at a time");
    let alone = paced(world, "alone", arguments.size(ALONE.0), ALONE.1).await?;
    say("latency at ten per second");
    let ten = paced(world, "ten", arguments.size(TEN.0), TEN.1).await?;
    let applied = alone.applied_milliseconds;
    figures.add(
        "one at a time: create to applied, p50",
        "ms",
        UNLOADED_P50,
        Some(applied.p50),
    );
    figures.add(
        "one at a time: create to applied, p99",
        "ms",
        REPORTED,
        Some(applied.p99),
    );
    let applied = ten.applied_milliseconds;
    figures.add("10/s: create to applied, p50", "ms", REPORTED, Some(applied.p50));
    figures.add("10/s: create to applied, p99", "ms", REPORTED, Some(applied.p99));
    let mirrored = ten.mirrored_milliseconds;
    figures.add(
        "10/s: commit to custom resource status, p50",
        "ms",
        REPORTED,
        Some(mirrored.p50),
    );
    figures.add_required(&MIRROR_P99, Some(mirrored.p99));
    figures.detail(
        "latency",
        &BTreeMap::from([("oneAtATime", alone), ("tenPerSecond", ten)]),
    )
}

struct Posted {
    name: String,
    sent: Timestamp,
    committed: Timestamp,
}

async fn paced(world: &World, definition: &str, count: usize, pause: Duration) -> Result<Found> {
    let kind = kind_of::<WorkloadDefinition>()?;
    world
        .api()
        .object_create(kind, &objects::definition(definition, false))
        .await?;
    world.settle().await?;
    let offset = audit::end(&world.audit_log)?;
    let posted = post(world, definition, count, pause).await?;
    world.wait_ready(definition, count).await?;
    world.wait_mirrored(definition, count).await?;
    let entries = audit::since(&world.audit_log, offset)?;
    let applies = accepted::applies(&entries, Applier::ControlPlane(&world.namespace), definition, 201);
    accepted::end(&applies, count, RESOURCES.len())?;
    let statuses = accepted::first_status(&entries, &world.namespace, WorkloadInstance::PLURAL);
    let applied = posted
        .iter()
        .filter_map(|one| Some(seconds(one.sent, applies.get(&one.name)?.last) * 1000.0))
        .collect::<Vec<_>>();
    let made = accepted::made(&entries, &world.namespace, WorkloadInstance::PLURAL);
    let all = latest(&posted, &made, &statuses);
    let mirrored: Vec<_> = all.iter().map(|one| one.mirrored_milliseconds).collect();
    anyhow::ensure!(
        mirrored.len() == count,
        "the audit log has the statuses of {} custom resources instead of {count}",
        mirrored.len()
    );
    world
        .api()
        .object_delete(kind, definition, Propagation::Cascade)
        .await?;
    world.wait_namespaces_gone(world.control_plane).await?;
    world.wait_gone(definition).await?;
    let nothing = "nothing was posted";
    Ok(Found {
        applied_milliseconds: Distribution::of(&applied).context(nothing)?,
        mirrored_milliseconds: Distribution::of(&mirrored).context(nothing)?,
        latest_mirrored: all.into_iter().take(LATEST).collect(),
    })
}

/// All whose status was written, the latest first.
fn latest(
    posted: &[Posted],
    made: &BTreeMap<String, Timestamp>,
    statuses: &BTreeMap<String, Timestamp>,
) -> Vec<Mirrored> {
    let begun = posted.iter().map(|one| one.committed).min();
    let after = |one: &Posted, at: Timestamp| seconds(one.committed, at) * 1000.0;
    let told = posted.iter().filter_map(|one| {
        Some(Mirrored {
            committed_after_milliseconds: seconds(begun?, one.committed) * 1000.0,
            made_milliseconds: made.get(&one.name).map(|at| after(one, *at)),
            mirrored_milliseconds: after(one, *statuses.get(&one.name)?),
        })
    });
    let mut all: Vec<_> = told.collect();
    all.sort_by(|left, right| right.mirrored_milliseconds.total_cmp(&left.mirrored_milliseconds));
    all
}

async fn post(world: &World, definition: &str, count: usize, pause: Duration) -> Result<Vec<Posted>> {
    let kind = kind_of::<WorkloadInstance>()?;
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    for (index, name) in objects::names(definition, count).into_iter().enumerate() {
        ticks.tick().await;
        let client = world.clients[index % world.clients.len()].clone();
        let object = objects::instance(&name, definition);
        requests.spawn(async move {
            let sent = Timestamp::now();
            let made = client.object_create(kind, &object).await?;
            let committed = made.metadata.created_at.context("an object without a time")?;
            anyhow::Ok(Posted {
                name,
                sent,
                committed,
            })
        });
    }
    let mut posted = Vec::new();
    while let Some(done) = requests.join_next().await {
        posted.push(done??);
    }
    Ok(posted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_told_first_and_when_they_were_made() {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        let posted = [("a", 1000), ("b", 1100), ("c", 1200)].map(|(name, committed)| Posted {
            name: name.to_owned(),
            sent: at(0),
            committed: at(committed),
        });
        let times = |times: &[(&str, i64)]| {
            let named = times.iter().map(|(name, time)| ((*name).to_owned(), at(*time)));
            named.collect::<BTreeMap<_, _>>()
        };
        let (made, shown) = (times(&[("b", 2000)]), times(&[("a", 1050), ("b", 2100)]));
        let mirrored = |after, made, mirrored| Mirrored {
            committed_after_milliseconds: after,
            made_milliseconds: made,
            mirrored_milliseconds: mirrored,
        };
        assert_eq!(
            latest(&posted, &made, &shown),
            [mirrored(100.0, Some(900.0), 1000.0), mirrored(0.0, None, 50.0)]
        );
    }
}
