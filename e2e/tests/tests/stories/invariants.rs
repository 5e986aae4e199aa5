//! Invariants (`docs/invariants.md`) that no numbered story shows by itself, with the audit log as the witness.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use threeport_e2e::{World, audit, kubectl, wait_until, workload};

use crate::{
    scene::Scene,
    steps::{apply, rest_get, wait_ready},
};

/// What our ServiceAccounts changed in the target since `offset`: custom resources and the facade's own aside, which
/// are not part of a workload.
fn writes(world: &World, offset: u64) -> Result<Vec<audit::Entry>> {
    let mut entries = audit::since(&world.audit_log, offset)?;
    entries.retain(|entry| entry.is_write() && entry.is_by(&world.namespace));
    Ok(entries)
}

fn pair(name: &str) -> [Value; 2] {
    [
        workload::definition(name, &workload::service(name, workload::IMAGE)),
        workload::instance(name, name, &json!({})),
    ]
}

/// For so long nothing may change until all counts as seen.
const QUIET: Duration = Duration::from_secs(3);

/// Waits until whatever the last change set off has ended: what the instance says of itself, its live objects and its
/// custom resources are as they were for a while.
async fn quiet(world: &World, name: &str) -> Result<()> {
    let last: Mutex<Option<(String, Instant)>> = Mutex::new(None);
    wait_until(&format!("{name} is quiet"), Duration::from_secs(60), || async {
        let instance = rest_get(world, "tpwi", name).await?;
        let all = "deployments,replicasets,pods,configmaps,services";
        let live = kubectl(&format!("-n {name} get {all} -o json"), None)
            .await?
            .success()?
            .json()?;
        let shown = kubectl(
            &format!(
                "-n {} get workloaddefinition/{name} workloadinstance/{name} -o json",
                world.namespace
            ),
            None,
        )
        .await?
        .success()?
        .json()?;
        let versions: BTreeMap<String, String> = [&live, &shown]
            .iter()
            .flat_map(|list| list["items"].as_array().into_iter().flatten())
            .map(|object| {
                let metadata = &object["metadata"];
                (
                    metadata["uid"].to_string(),
                    metadata["resourceVersion"].to_string(),
                )
            })
            .collect();
        let now = format!("{} {versions:?}", instance.status);
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*last {
            Some((before, since)) if *before == now && since.elapsed() >= QUIET => Ok(()),
            Some((before, _)) if *before == now => Err("not for long enough".to_owned()),
            _ => {
                *last = Some((now.clone(), Instant::now()));
                Err(now)
            }
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_5_every_object_is_created_once_and_only_where_nothing_was() -> Result<()> {
    let objects = pair("once-each");
    Scene::of(&objects)
        .alone()
        .play(async |world| {
            let offset = audit::end(&world.audit_log)?;
            apply(world, &objects).await?;
            wait_ready(world, &objects).await?;
            let account = format!("system:serviceaccount:{}:threeport-workloads", world.namespace);
            let mut entries = writes(world, offset)?;
            entries.retain(|entry| {
                let user = entry.impersonated_user.as_ref();
                user.is_some_and(|user| user.username == account)
            });
            let counts = audit::count(&entries);
            for object in [
                "namespaces. once-each/once-each",
                "configmaps. once-each/once-each",
                "services. once-each/once-each",
                "deployments.apps once-each/once-each",
            ] {
                let created = counts
                    .get(&format!("patch 201 {object}"))
                    .copied()
                    .unwrap_or_default();
                ensure!(created == 1, "{object} was created {created} times: {counts:#?}");
            }
            ensure!(
                counts.len() == 4,
                "more was written than the four objects: {counts:#?}"
            );
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_9_a_restart_of_every_part_writes_nothing() -> Result<()> {
    let (still, after) = (pair("still"), pair("after-restart"));
    Scene::of(&still)
        .alone()
        .and(&after)
        .play(async |world| {
            let namespace = &world.namespace;
            apply(world, &still).await?;
            wait_ready(world, &still).await?;

            let offset = audit::end(&world.audit_log)?;
            kubectl("-n still delete configmap still", None)
                .await?
                .success()?;
            wait_until(
                "positive control: a healing write is found",
                Duration::from_secs(20),
                || async {
                    let found = writes(world, offset)?
                        .iter()
                        .any(|entry| entry.summary().ends_with("configmaps. still/still"));
                    Ok(if found { Ok(()) } else { Err("none".to_owned()) })
                },
            )
            .await?;
            wait_ready(world, &still).await?;
            quiet(world, "still").await?;

            let offset = audit::end(&world.audit_log)?;
            for part in [
                "threeport-controllers",
                "threeport-agent",
                "threeport-facade",
                "threeport-api",
            ] {
                kubectl(&format!("-n {namespace} rollout restart deployment {part}"), None)
                    .await?
                    .success()?;
                kubectl(
                    &format!("-n {namespace} rollout status deployment {part} --timeout=90s"),
                    None,
                )
                .await?
                .success()?;
            }
            // Work that comes after the restart shows that everything before it was looked at by parts that run.
            apply(world, &after).await?;
            wait_ready(world, &after).await?;
            let mut entries = writes(world, offset)?;
            entries.retain(|entry| entry.summary().contains("still"));
            ensure!(entries.is_empty(), "{:#?}", audit::count(&entries));
            Ok(())
        })
        .await
}
