//! The way is proven: signals carry the work, and NATS itself says so; each part of it is measured.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, api::PostParams};
use serde_json::Value;
use threeport_e2e::{World, audit, latency::Latencies, logs, metrics, nats, wait_until};
use threeport_model::{GROUP, kinds};

use crate::{burst::Burst, installation, scene::Scene};

const CREATES: usize = 100;
/// Percentiles, and by how much each may be beyond twice the usual one. All hundred come at once: half of them wait for what a
/// disk that others use does meanwhile. The p99 is what the second slowest took, and one pause of a busy machine meets more
/// than two. What comes without its signal is beyond either: the relay waits for five seconds, the sweep for minutes.
const SLACK: [(usize, Duration); 2] = [(50, Duration::from_secs(1)), (99, Duration::from_secs(2))];
/// From a line of a log to kubectl.
const TOLD: Duration = Duration::from_secs(20);
/// The durable consumer of the controllers of workloads.
const CONSUMER: &str = "threeport-workload";

/// The parts that have a hand in it.
const PARTS: [&str; 3] = ["api", "controllers", "facade"];
const STAGES: &str = "threeport_stage_seconds_count";
/// The stages of an instance's way; for a request for claims the label `kind` names the controllers' domain.
const WAY: [(&str, &str); 8] = [
    ("commit", "WorkloadInstance"),
    ("notify", "WorkloadInstance"),
    ("claim", "workload"),
    ("load", "WorkloadInstance"),
    ("apply", "WorkloadInstance"),
    ("observed", "WorkloadInstance"),
    ("complete", "WorkloadInstance"),
    ("mirrored", "WorkloadInstance"),
];
/// What dashboards and alerts use, with its labels.
const NAMED: [(&str, &[&str]); 6] = [
    ("threeport_oldest_pending_seconds", &["kind=\"WorkloadInstance\""]),
    (
        "threeport_reconcile_total",
        &["kind=\"WorkloadInstance\"", "trigger=\"signal\"", "outcome="],
    ),
    ("threeport_relay_lag_seconds", &[]),
    ("threeport_mirror_lag_seconds_count", &[]),
    ("threeport_target_unreachable", &["runtime="]),
    ("threeport_transaction_retries_total", &["name="]),
];
/// Mirrors are written, and some metrics looked up, a moment after all is done.
const MEASURED: Duration = Duration::from_secs(30);

/// Waits until each stage of the way was measured since `before`, and all that has a name is there.
async fn is_measured(world: &World, before: &BTreeMap<String, f64>) -> Result<()> {
    wait_until("each part of the way is measured", MEASURED, || async {
        let now = metrics::of_deployments(&world.namespace, &PARTS).await?;
        let missing_stages = WAY.iter().filter(|(stage, kind)| {
            let labels = [&*format!("kind=\"{kind}\""), &*format!("stage=\"{stage}\"")];
            metrics::sum(&now, STAGES, &labels) <= metrics::sum(before, STAGES, &labels)
        });
        let missing = missing_stages.map(|(stage, _)| *stage);
        let unnamed = NAMED
            .iter()
            .filter(|(metric, labels)| !metrics::is_there(&now, metric, labels));
        let missing: Vec<_> = missing.chain(unnamed.map(|(metric, _)| *metric)).collect();
        Ok(if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{missing:?} are not"))
        })
    })
    .await
}

/// What both witnesses counted while the creates of a burst were applied. Runs, of which an instance has several.
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
    let of = |trigger| metrics::runs(&after, trigger) - metrics::runs(&before, trigger);
    Ok(Counted {
        latencies,
        signal: of("signal"),
        retry: of("retry"),
        sweep: of("sweep"),
        delivered: delivered().await? - given,
    })
}

/// What the controllers' log says of the first run of each instance of a burst, by name. Waits until there is one of
/// each.
///
/// Only of that one it is known which way it must have come. An instance runs again when its agent tells of what was
/// made. Where that comes during a run, its message may be slower than the run's end, and then the controllers run the
/// instance again by a timer of their own, which counts as `retry`. The first run of a create has no such timer: the
/// commit's message is its signal. The relay, whose messages count as `retry` too, repeats only what NATS never
/// acknowledged, or what still waits five seconds after it did. So any other way is a signal that was lost or late.
async fn first_runs(world: &World, burst: Burst, since: Timestamp) -> Result<BTreeMap<String, Value>> {
    let prefix = format!("{}-", burst.name);
    let what = format!("the log tells of a run of each of {}", burst.name);
    wait_until(&what, TOLD, || async {
        let mut first = BTreeMap::new();
        for line in logs::lines_with(&world.namespace, since, logs::RUN_ENDED).await? {
            let run = logs::fields(&line)?;
            let name = run["name"].as_str().unwrap_or_default().to_owned();
            if run["kind"] == "WorkloadInstance" && name.starts_with(&prefix) {
                first.entry(name).or_insert(run);
            }
        }
        Ok(if first.len() == burst.count {
            Ok(first)
        } else {
            Err(format!("of {}", first.len()))
        })
    })
    .await
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
            let before = metrics::of_deployments(&world.namespace, &PARTS).await?;
            let usually = told(world, usual).await?;
            is_measured(world, &before).await?;
            installation::with_sweep_and_runs_told(&world.namespace, "10m").await?;
            let since = Timestamp::now();
            let counted = told(world, signalled).await?;
            println!(
                "sweep at 15 s: {}\nsweep at 10 min: {}; runs by signal, retry, sweep: {}, {}, {}",
                usually.latencies, counted.latencies, counted.signal, counted.retry, counted.sweep
            );
            ensure!(
                counted.signal >= CREATES as f64 && counted.sweep == 0.0,
                "not all came by signal: {counted:?}"
            );
            let first = first_runs(world, signalled, since).await?;
            let others: Vec<_> = first
                .values()
                .filter(|run| run["trigger"] != "signal" || run["outcome"] != "done")
                .collect();
            ensure!(
                others.is_empty(),
                "not all of the first runs came by signal and did all of it: {others:#?}"
            );
            ensure!(
                counted.delivered >= CREATES as u64,
                "NATS delivered {} messages for {CREATES} creates",
                counted.delivered
            );
            for (percent, slack) in SLACK {
                let (usually, now) = (
                    usually.latencies.percentile(percent),
                    counted.latencies.percentile(percent),
                );
                ensure!(
                    now <= usually * 2 + slack,
                    "p{percent} is {now:?} and was {usually:?}: the sweep carried the work"
                );
            }
            Ok(())
        })
        .await
}

/// What a right on a resource may be; `deletecollection` is all of them at once.
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

/// Whether an account of the control plane may do that in its namespace, as `kubectl auth can-i` asks; a process for each of
/// a hundred questions would take long.
async fn may(world: &World, account: &str, verb: &str, resource: &str, subresource: &str) -> Result<bool> {
    let namespace = &world.namespace;
    let attributes = ResourceAttributes {
        namespace: Some(namespace.clone()),
        verb: Some(verb.to_owned()),
        group: Some(GROUP.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(format!("system:serviceaccount:{namespace}:{account}")),
        groups: Some(vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ]),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview {
        spec,
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(world.cluster.clone());
    let answered = reviews.create(&PostParams::default(), &review).await?;
    Ok(answered.status.context("the review has no answer")?.allowed)
}

#[tokio::test(flavor = "multi_thread")]
async fn story_6_controllers_have_no_right_on_threeport_io() -> Result<()> {
    let world = World::connect().await?;
    for kind in kinds::ALL.iter().filter(|kind| kind.custom_resource) {
        for subresource in ["", "status"] {
            let asked = format!("{}/{subresource}", kind.plural);
            ensure!(
                may(&world, "threeport-facade", "update", kind.plural, subresource).await?,
                "positive control: the facade may not update {asked}"
            );
            for verb in VERBS {
                ensure!(
                    !may(&world, "threeport-controllers", verb, kind.plural, subresource).await?,
                    "the controllers may {verb} {asked}"
                );
            }
        }
    }
    Ok(())
}
