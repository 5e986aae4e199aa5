//! Invariants of design.md, 1, that no numbered story shows by itself, with the audit log as the witness.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use threeport_e2e::{World, audit, kubectl, wait_until, workload};

use crate::steps::{apply, delete, wait_ready};

/// What our ServiceAccounts changed in the target since `offset`: custom resources and the facade's own aside, which
/// are not part of a workload.
fn writes(world: &World, offset: u64) -> Result<Vec<audit::Entry>> {
    let mut entries = audit::since(&world.audit_log, offset)?;
    entries.retain(|entry| entry.is_write() && entry.is_by(&world.namespace));
    Ok(entries)
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_5_every_object_is_created_once_and_only_where_nothing_was() -> Result<()> {
    let world = World::connect().await?;
    let offset = audit::end(&world.audit_log)?;
    let objects = [
        workload::definition("once-each", &workload::service("once-each", workload::IMAGE)),
        workload::instance("once-each", "once-each", &json!({})),
    ];
    apply(&world, &objects).await?;
    wait_ready(&world, &objects).await?;
    let account = format!("system:serviceaccount:{}:threeport-workloads", world.namespace);
    let mut entries = writes(&world, offset)?;
    entries.retain(|entry| {
        entry
            .impersonated_user
            .as_ref()
            .is_some_and(|user| user.username == account)
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
    delete(&world, &objects).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_9_a_restart_of_every_part_writes_nothing() -> Result<()> {
    let world = World::connect().await?;
    let namespace = &world.namespace;
    let objects = [
        workload::definition("still", &workload::service("still", workload::IMAGE)),
        workload::instance("still", "still", &json!({})),
    ];
    apply(&world, &objects).await?;
    wait_ready(&world, &objects).await?;

    let offset = audit::end(&world.audit_log)?;
    kubectl("-n still delete configmap still", None)
        .await?
        .success()?;
    wait_until(
        "positive control: a healing write is found",
        Duration::from_secs(20),
        || async {
            let found = writes(&world, offset)?
                .iter()
                .any(|entry| entry.summary().ends_with("configmaps. still/still"));
            Ok(if found { Ok(()) } else { Err("none".to_owned()) })
        },
    )
    .await?;
    wait_ready(&world, &objects).await?;

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
    let after = [
        workload::definition(
            "after-restart",
            &workload::service("after-restart", workload::IMAGE),
        ),
        workload::instance("after-restart", "after-restart", &json!({})),
    ];
    apply(&world, &after).await?;
    wait_ready(&world, &after).await?;
    let mut entries = writes(&world, offset)?;
    entries.retain(|entry| entry.summary().contains("still"));
    ensure!(entries.is_empty(), "{:#?}", audit::count(&entries));
    delete(&world, &after).await?;
    delete(&world, &objects).await?;
    Ok(())
}
