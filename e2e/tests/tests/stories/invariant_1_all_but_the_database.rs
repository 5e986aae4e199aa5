//! Invariant 1 of `docs/invariants.md`: the database is the only truth. Everything else is lost at once: the definitions of
//! custom resources and so all mirrors, JetStream's storage, which is in memory, and what every part remembers.

use std::time::Duration;

use anyhow::{Result, ensure};
use threeport_client::ApplyBody;
use threeport_e2e::{audit, kubectl, wait_until};

use crate::{
    installation::{PARTS, rolled_out},
    scene::Scene,
    steps::{apply, live, wait_ready},
    story_5_crds::{are_back, definitions, identities, pair, place, pods},
};

#[tokio::test(flavor = "multi_thread")]
async fn invariant_1_all_but_the_database_is_lost_at_once_and_no_workload_is() -> Result<()> {
    let names = ["lost-mirrored", "lost-own"];
    let [mirrored, own] = names.map(|name| pair(name, "before"));
    Scene::of(&mirrored)
        .alone()
        .and(&own)
        .play(async |world| {
            let namespace = &world.namespace;
            place(world, &mirrored, &own).await?;
            let known = definitions().await?;
            let (running, same) = (pods(namespace).await?, identities(world, &names).await?);

            let offset = audit::end(&world.audit_log)?;
            let all = known.keys().cloned().collect::<Vec<_>>().join(" ");
            let no_definitions = format!("delete crd {all} --wait=false");
            let no_memory =
                format!("-n {namespace} delete pods -l app.kubernetes.io/name=threeport --wait=false");
            let (definitions_go, pods_go) =
                tokio::join!(kubectl(&no_definitions, None), kubectl(&no_memory, None));
            definitions_go?.success()?;
            pods_go?.success()?;
            for part in PARTS {
                rolled_out(namespace, part).await?;
            }
            are_back(world, &known, &names).await?;
            // One that ends takes its time, and another one is Ready before that.
            wait_until("all pods were lost", Duration::from_secs(60), || async {
                let mut stayed = pods(namespace).await?;
                stayed.retain(|name, _| running.contains_key(name) && !name.contains("nats"));
                Ok(if stayed.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{stayed:?}"))
                })
            })
            .await?;
            wait_ready(world, &mirrored).await?;
            wait_ready(world, &own).await?;
            ensure!(
                identities(world, &names).await? == same,
                "an object or its workload is not the one of before"
            );

            // Both owners go on where they were, on the way that was lost.
            let [mirrored, own] = names.map(|name| pair(name, "after"));
            world
                .api
                .apply(ApplyBody::Objects(mirrored.to_vec()), false)
                .await?;
            apply(world, &own).await?;
            for name in names {
                wait_until(&format!("{name} is edited"), Duration::from_secs(30), || async {
                    let map = live(name, "configmap/only").await?.unwrap_or_default();
                    let edited = map["data"]["a"] == "after";
                    Ok(if edited { Ok(()) } else { Err(map.to_string()) })
                })
                .await?;
            }
            let written: Vec<_> = audit::since(&world.audit_log, offset)?
                .into_iter()
                .filter(|entry| entry.is_write() && entry.is_by(namespace))
                .map(|entry| entry.summary())
                .filter(|write| names.iter().any(|name| write.contains(&format!(" {name}/"))))
                .collect();
            // The control comes with it: that the two edits are in the log.
            ensure!(
                written.len() == names.len()
                    && written
                        .iter()
                        .all(|write| write.starts_with("patch 200 configmaps.")),
                "more was written into the workloads than the edits: {written:#?}"
            );
            Ok(())
        })
        .await
}
