//! The way is proven: signals carry the work, and NATS itself says so.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use threeport_e2e::{World, audit, kubectl, latency::Latencies, metrics, nats};

use crate::{burst::Burst, installation, scene::Scene};

const CREATES: usize = 100;
/// A busy machine may take longer for single ones; a sweep or the relay's second look would be far beyond.
const SLACK: Duration = Duration::from_millis(250);
const RECONCILES: &str = "threeport_reconcile_total";
/// The durable consumer of the controllers of workloads.
const CONSUMER: &str = "threeport-workload";

/// What both witnesses counted while the creates of a burst were applied.
#[derive(Debug)]
struct Counted {
    latencies: Latencies,
    signal: f64,
    retry: f64,
    sweep: f64,
    delivered: u64,
}

async fn told(world: &World, burst: Burst) -> Result<Counted> {
    let namespace = &world.namespace;
    burst.define(world).await?;
    let delivered = async || -> Result<u64> {
        let all = nats::delivered(namespace).await?;
        all.get(CONSUMER)
            .copied()
            .with_context(|| format!("NATS has no consumer {CONSUMER}: {all:?}"))
    };
    let (before, given) = (
        metrics::of_deployment(namespace, "controllers").await?,
        delivered().await?,
    );
    let offset = audit::end(&world.audit_log)?;
    let asked = burst.post_all(world).await?;
    let limit = Duration::from_secs(60);
    let latencies = burst.latencies(world, offset, &asked, limit).await?;
    burst.all_are_ready(world, limit).await?;
    let after = metrics::of_deployment(namespace, "controllers").await?;
    let of = |trigger: &str| {
        let labels = [&format!("trigger=\"{trigger}\""), "kind=\"WorkloadInstance\""];
        metrics::sum(&after, RECONCILES, &labels) - metrics::sum(&before, RECONCILES, &labels)
    };
    Ok(Counted {
        latencies,
        signal: of("signal"),
        retry: of("retry"),
        sweep: of("sweep"),
        delivered: delivered().await? - given,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn story_6_with_the_sweep_at_10_minutes_100_creates_come_by_signal() -> Result<()> {
    let burst = |name| Burst { name, count: CREATES };
    let (usual, signalled) = (burst("usual"), burst("signalled"));
    Scene::of(&usual.objects())
        .alone()
        .and(&signalled.objects())
        .and_changes_of_the_installation()
        .play(async |world| {
            let usually = told(world, usual).await?;
            installation::with_sweep(&world.namespace, "10m").await?;
            let counted = told(world, signalled).await?;
            println!(
                "sweep at 15 s: {}\nsweep at 10 min: {}\n{counted:?}",
                usually.latencies, counted.latencies
            );
            // The relay publishes again what waits for two seconds, and a hundred at once wait for nearly that long: a few
            // runs may come that way although no signal was lost.
            ensure!(
                counted.signal >= CREATES as f64
                    && counted.retry <= CREATES as f64 / 20.0
                    && counted.sweep == 0.0,
                "not all came by signal: {counted:?}"
            );
            ensure!(
                counted.delivered >= CREATES as u64,
                "NATS delivered {} messages for {CREATES} creates",
                counted.delivered
            );
            for percent in [50, 99] {
                let (usually, now) = (
                    usually.latencies.percentile(percent),
                    counted.latencies.percentile(percent),
                );
                ensure!(
                    now <= usually * 2 + SLACK,
                    "p{percent} is {now:?} and was {usually:?}: the sweep carried the work"
                );
            }
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_6_controllers_have_no_right_on_threeport_io() -> Result<()> {
    let world = World::connect().await?;
    let account = |name: &str| format!("--as=system:serviceaccount:{0}:{name} -n {0}", world.namespace);
    let question = format!(
        "auth can-i list workloadinstances.threeport.io {}",
        account("threeport-facade")
    );
    let answer = kubectl(&question, None).await?;
    ensure!(
        answer.stdout.trim() == "yes",
        "positive control: {question}: {}",
        answer.stdout
    );
    for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
        for resource in [
            "workloadinstances",
            "workloaddefinitions",
            "workloadinstances/status",
        ] {
            let question = format!(
                "auth can-i {verb} {resource}.threeport.io {}",
                account("threeport-controllers")
            );
            let answer = kubectl(&question, None).await?;
            ensure!(answer.stdout.trim() == "no", "{question}: {}", answer.stdout);
        }
    }
    Ok(())
}
