//! Without NATS nothing is applied until the sweep, everything with it; and what NATS forgets is told again.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use threeport_e2e::{World, audit, kubectl, metrics, nats, wait_until};

use crate::{
    burst::Burst,
    installation::{as_installed, rolled_out, scale, with_sweep},
    scene::Scene,
    steps::{condition, gone, own_record},
};

/// The pause between two sweeps; a tenth of it, less or more, is spread.
const SWEEP: Duration = Duration::from_secs(30);
/// The shortest pause, less what a sweep's own work takes where the machine has more to do. What a signal brought would be
/// there within a second.
const SHORTEST: Duration = Duration::from_secs(22);
/// The longest pause, and some time for the work of a sweep on two cores; less than two pauses.
const LONGEST: Duration = Duration::from_secs(45);
const NATS: &str = "statefulset threeport-nats";
/// The control plane says what it lacks.
const DEGRADED: Duration = Duration::from_secs(60);

/// Waits until all of a burst are applied, and answers when each was.
async fn applied(world: &World, burst: Burst, offset: u64) -> Result<BTreeMap<String, Timestamp>> {
    wait_until(&format!("{} is applied", burst.name), LONGEST, || async {
        let applied = burst.applied(world, offset)?;
        Ok(if applied.len() == burst.count {
            Ok(applied)
        } else {
            Err(format!("{} are", applied.len()))
        })
    })
    .await
}

/// Waits until so many runs more than `before` are counted as found by the sweep, and none as found by a signal: the control
/// of [`crate::story_6_signals`], which counts none of the sweep.
async fn came_by_sweep(world: &World, before: &BTreeMap<String, f64>, runs: usize) -> Result<()> {
    wait_until("the sweep's runs are counted", DEGRADED, || async {
        let now = metrics::of_deployment(&world.namespace, "controllers").await?;
        let of = |trigger| metrics::runs(&now, trigger) - metrics::runs(before, trigger);
        let (sweep, signal) = (of("sweep"), of("signal"));
        Ok(if sweep >= runs as f64 && signal == 0.0 {
            Ok(())
        } else {
            Err(format!("{sweep} by the sweep and {signal} by a signal"))
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_6_without_nats_nothing_is_applied_until_the_sweep_and_everything_with_it() -> Result<()> {
    let burst = |name, count| Burst { name, count };
    let (probe, swept) = (burst("probe", 1), burst("swept", 10));
    Scene::of(&probe.objects())
        .alone()
        .and(&swept.objects())
        .and_changes_of_the_installation()
        .play(async |world| {
            let namespace = &world.namespace;
            with_sweep(namespace, &format!("{}s", SWEEP.as_secs())).await?;
            probe.define(world).await?;
            swept.define(world).await?;
            scale(namespace, NATS, 0).await?;
            gone(namespace, &format!("pod/{}", nats::POD), Duration::from_secs(60)).await?;

            // The probe tells when a sweep is: what is asked for right after it has to wait for the next.
            let counted = metrics::of_deployment(namespace, "controllers").await?;
            let offset = audit::end(&world.audit_log)?;
            probe.post_all(world).await?;
            let told = applied(world, probe, offset).await?;
            let sweep = *told.values().next().context("the probe was not applied")?;
            swept.post_all(world).await?;
            let times = applied(world, swept, offset).await?;
            let waits: Vec<_> = times
                .values()
                .map(|time| time.duration_since(sweep).unsigned_abs())
                .collect();
            println!("without NATS, since the sweep before: {waits:?}");
            for wait in waits {
                ensure!(wait >= SHORTEST, "applied after {wait:?}, before the next sweep");
            }
            came_by_sweep(world, &counted, probe.count + swept.count).await?;
            let own = format!("controlplaneinstance/{}", own_record(world).await?);
            let degraded = condition(world, &own, "Degraded", "True", DEGRADED).await?;
            ensure!(degraded["reason"] == "NatsUnavailable", "{degraded}");
            scale(namespace, NATS, 1).await?;
            condition(world, &own, "Degraded", "False", DEGRADED).await?;
            swept.all_are_ready(world, Duration::from_secs(60)).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_6_nats_wiped_under_30_changes_loses_none() -> Result<()> {
    let wiped = Burst {
        name: "wiped",
        count: 30,
    };
    Scene::of(&wiped.objects())
        .and_changes_of_the_installation()
        .play(async |world| {
            let namespace = &world.namespace;
            as_installed(namespace).await?;
            wiped.define(world).await?;
            let before = nats::started(namespace).await?;
            let changes = async {
                // Ten a second, so that the server dies and comes back among them.
                let mut pace = tokio::time::interval(Duration::from_millis(100));
                let mut asked = Vec::new();
                for index in 0..wiped.count {
                    pace.tick().await;
                    asked.push(wiped.post(world, index).await?);
                }
                anyhow::Ok(asked)
            };
            // Its store is in memory: with the pod it is gone.
            let wipe = format!("-n {namespace} delete pod {} --grace-period=0 --force", nats::POD);
            let (asked, deleted) = tokio::join!(changes, kubectl(&wipe, None));
            let (asked, _) = (asked?, deleted?.success()?);
            rolled_out(namespace, NATS).await?;
            // What was Ready a moment ago may still count as rolled out.
            let after = wait_until("another NATS answers", DEGRADED, || async {
                let started = nats::started(namespace).await?;
                Ok(if started == before {
                    Err("it is the one of before".to_owned())
                } else {
                    Ok(started)
                })
            })
            .await?;
            let (first, last) = asked.first().zip(asked.last()).context("nothing was asked for")?;
            println!("NATS of {before} died among changes from {first} to {last}; the next is of {after}");
            ensure!(
                before < *first && *first < after,
                "NATS was not wiped under the changes"
            );
            wiped.all_are_ready(world, Duration::from_secs(60)).await
        })
        .await
}
