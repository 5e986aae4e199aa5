//! The way is proven: signals carry the work, and what the agent no longer sees is not called Ready.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;
use threeport_client::{ApplyBody, Propagation};
use threeport_e2e::{World, kubectl, kubectl::run, metrics, wait_until, workload, world::variable};
use threeport_model::{find_kind, protocol::apply::Outcome};

use crate::steps::{apply, condition, delete, live, wait_ready};

#[tokio::test(flavor = "multi_thread")]
async fn story_6_without_its_agent_an_instance_is_unknown_within_30_s_and_recovers() -> Result<()> {
    let world = World::connect().await?;
    let namespace = &world.namespace;
    as_installed(&world, "15s").await?;
    let objects = [
        workload::definition("unseen", &workload::service("unseen", workload::IMAGE)),
        workload::instance("unseen", "unseen", &json!({})),
    ];
    apply(&world, &objects).await?;
    wait_ready(&world, &objects).await?;
    kubectl(
        &format!("-n {namespace} scale deployment threeport-agent --replicas=0"),
        None,
    )
    .await?
    .success()?;
    condition(
        &world,
        "workloadinstance/unseen",
        "Ready",
        "Unknown",
        Duration::from_secs(30),
    )
    .await?;
    kubectl("-n unseen delete configmap unseen", None)
        .await?
        .success()?;
    let still = condition(
        &world,
        "workloadinstance/unseen",
        "Ready",
        "Unknown",
        Duration::from_secs(2),
    )
    .await?;
    ensure!(still["reason"] == "AgentSilent", "{still}");
    kubectl(
        &format!("-n {namespace} scale deployment threeport-agent --replicas=1"),
        None,
    )
    .await?
    .success()?;
    wait_until(
        "what was deleted meanwhile is healed",
        Duration::from_secs(60),
        || async {
            Ok(live("unseen", "configmap/unseen")
                .await?
                .map(|_| ())
                .ok_or_else(|| "absent".to_owned()))
        },
    )
    .await?;
    wait_ready(&world, &objects).await?;
    delete(&world, &objects).await?;
    Ok(())
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

/// Creates `count` workloads of one ConfigMap each by REST; how long until the last is Ready.
async fn burst(world: &World, prefix: &str, count: usize, limit: Duration) -> Result<Duration> {
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "only"}, "data": {"a": "b"}});
    let mut objects = vec![workload::definition(prefix, &[map])];
    objects
        .extend((0..count).map(|index| workload::instance(&format!("{prefix}-{index}"), prefix, &json!({}))));
    let begin = Instant::now();
    let applied = world.api.apply(ApplyBody::Objects(objects), false).await?;
    let created = applied
        .results
        .iter()
        .all(|result| result.outcome == Outcome::Created);
    ensure!(created, "{prefix} is there already: an earlier run left it");
    let Some(kind) = find_kind("WorkloadDefinition") else {
        bail!("no such kind")
    };
    wait_until(
        &format!("{count} instances of {prefix} are Ready"),
        limit,
        || async {
            let definition = world.api.object_get(kind, prefix).await?;
            let ready = &definition.status["instances"]["ready"];
            Ok(if *ready == count {
                Ok(())
            } else {
                Err(definition.status["instances"].to_string())
            })
        },
    )
    .await?;
    Ok(begin.elapsed())
}

async fn remove(world: &World, prefix: &str) -> Result<()> {
    let Some(kind) = find_kind("WorkloadDefinition") else {
        bail!("no such kind")
    };
    world
        .api
        .object_delete(kind, prefix, Propagation::Cascade)
        .await?;
    wait_until(&format!("{prefix} is gone"), Duration::from_secs(120), || async {
        Ok(match world.api.object_get(kind, prefix).await {
            Ok(object) => Err(object.status["instances"].to_string()),
            Err(_) => Ok(()),
        })
    })
    .await
}

/// The control plane as its chart has it, with this sweep: also what an earlier story left when it failed.
async fn as_installed(world: &World, sweep_interval: &str) -> Result<()> {
    let namespace = &world.namespace;
    for part in ["statefulset threeport-nats", "deployment threeport-agent"] {
        kubectl(&format!("-n {namespace} scale {part} --replicas=1"), None)
            .await?
            .success()?;
    }
    let chart = variable("THREEPORT_HELM_CHART")?;
    let set = format!("controllers.sweepInterval={sweep_interval}");
    let upgrade = [
        "upgrade",
        "threeport",
        &chart,
        "-n",
        namespace,
        "--reuse-values",
        "--set",
        &set,
    ];
    let upgrade = [&upgrade[..], &["--wait", "--timeout", "120s"]].concat();
    run("helm", &upgrade, None).await?.success().map(drop)
}

const RECONCILES: &str = "threeport_reconcile_total";

#[tokio::test(flavor = "multi_thread")]
async fn story_6_with_the_sweep_at_10_minutes_100_creates_come_by_signal() -> Result<()> {
    let world = World::connect().await?;
    as_installed(&world, "15s").await?;
    let usual = burst(&world, "usual", 100, Duration::from_secs(60)).await?;
    remove(&world, "usual").await?;
    as_installed(&world, "10m").await?;
    let before = metrics::of_deployment(&world.namespace, "controllers").await?;
    let signalled = burst(&world, "signalled", 100, Duration::from_secs(60)).await?;
    let after = metrics::of_deployment(&world.namespace, "controllers").await?;
    let of = |trigger: &str| {
        let labels = [trigger, "kind=\"WorkloadInstance\""];
        metrics::sum(&after, RECONCILES, &labels) - metrics::sum(&before, RECONCILES, &labels)
    };
    let (signal, sweep) = (of("trigger=\"signal\""), of("trigger=\"sweep\""));
    println!(
        "100 creates: {usual:?} with the sweep at 15 s, {signalled:?} at 10 min; {signal} by signal, {sweep} by sweep"
    );
    ensure!(
        signal >= 100.0 && sweep == 0.0,
        "{signal} by signal, {sweep} by sweep"
    );
    ensure!(
        signalled < usual * 2 + Duration::from_secs(5),
        "slower without the sweep: {usual:?}, {signalled:?}"
    );
    remove(&world, "signalled").await?;
    as_installed(&world, "15s").await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_6_without_nats_the_sweep_does_it_and_a_wiped_store_loses_nothing() -> Result<()> {
    let world = World::connect().await?;
    let namespace = &world.namespace;
    as_installed(&world, "15s").await?;
    let scale = |replicas: u32| {
        let arguments = format!("-n {namespace} scale statefulset threeport-nats --replicas={replicas}");
        async move { kubectl(&arguments, None).await?.success().map(drop) }
    };
    scale(0).await?;
    wait_until("NATS is gone", Duration::from_secs(60), || async {
        Ok(live(namespace, "pod/threeport-nats-0")
            .await?
            .map_or(Ok(()), |_| Err("there".to_owned())))
    })
    .await?;
    let before = metrics::of_deployment(namespace, "controllers").await?;
    let took = burst(&world, "swept", 10, Duration::from_secs(60)).await?;
    let after = metrics::of_deployment(namespace, "controllers").await?;
    let sweep = ["trigger=\"sweep\"", "kind=\"WorkloadInstance\""];
    let swept = metrics::sum(&after, RECONCILES, &sweep) - metrics::sum(&before, RECONCILES, &sweep);
    println!("without NATS: 10 creates in {took:?}, {swept} runs by sweep");
    ensure!(swept >= 10.0, "{swept} runs by sweep");
    // Its store is in memory: every start is a wiped one. 30 changes meet it coming back.
    scale(1).await?;
    let took = burst(&world, "wiped", 30, Duration::from_secs(60)).await?;
    println!("under a NATS that comes back empty: 30 creates in {took:?}");
    kubectl(
        &format!("-n {namespace} rollout status statefulset threeport-nats --timeout=60s"),
        None,
    )
    .await?
    .success()?;
    remove(&world, "swept").await?;
    remove(&world, "wiped").await
}
