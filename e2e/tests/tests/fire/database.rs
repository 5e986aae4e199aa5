//! PostgreSQL is restarted, or killed, while 30 instances are created, edited and deleted, and once while nobody does
//! anything. The short form draws which; the long one tries both, and has 270 more instances at rest beside those 30.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use threeport_e2e::{
    audit, form, leftovers,
    plane::{NAMESPACE, Plane, RELEASE},
    wait_until,
};
use threeport_model::find_kind;
use tokio::task::block_in_place;

use crate::{
    cast::{Act, Cast},
    check, controls, round,
};

const INSTANCES: usize = 30;
/// How many others are at rest meanwhile: short form, long form.
const AT_REST: [usize; 2] = [0, 270];
/// How long it may take to make them.
const MADE: Duration = Duration::from_secs(300);
/// How many writes of ours are seen before it goes: less than any act needs.
const BEGUN: usize = 20;
const DEADLINE: Duration = Duration::from_secs(30);
/// For so long nothing is written before an act counts as over: Events may come after all is Ready.
const QUIET: Duration = Duration::from_secs(3);

/// How the database ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// As an administrator restarts it: every session is ended, what was not committed is rolled back.
    Restarted,
    /// By SIGKILL: it recovers from its log.
    Killed,
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_1_the_database_restarted_or_killed_in_the_middle() -> Result<()> {
    let mut plane = Plane::start().await?;
    check::all_is_mirrored(&plane).await?;
    controls::what_is_planted_is_found(&plane).await?;
    let drawn = usize::from(StdRng::seed_from_u64(form::seed()).random_bool(0.5));
    let ends = [End::Restarted, End::Killed];
    let tried = if form::is_long() {
        &ends[..]
    } else {
        &ends[drawn..=drawn]
    };
    let crowd = Cast {
        prefix: "rest".to_owned(),
        instances: form::choose(AT_REST),
    };
    crowd.play(Act::Create, &plane.api, &plane.kubectl()?).await?;
    check::converges(&plane, &crowd, Act::Create, MADE).await?;
    for &end in tried {
        let cast = Cast {
            prefix: format!("{end:?}").to_lowercase(),
            instances: INSTANCES,
        };
        let before = leftovers::everything(&plane.cluster).await?;
        for act in Act::ALL {
            let offset = audit::end(&plane.audit_log())?;
            let took = round::strike(&mut plane, &cast, act, offset, async |plane| {
                restart(plane, end, offset).await
            });
            let took = took.await.with_context(|| format!("{end:?}"))?;
            println!("{act:?}, {end:?}: {} ms after it was back", took.as_millis());
            if act == Act::Edit {
                let still = nothing_is_written(&mut plane, &cast, end).await;
                still.with_context(|| format!("{end:?} while nobody does anything"))?;
            }
        }
        check::nothing_is_left(&plane, &before).await?;
    }
    Ok(())
}

/// Says when it is back.
async fn restart(plane: &mut Plane, end: End, offset: u64) -> Result<Instant> {
    let log = plane.audit_log();
    let writes = || anyhow::Ok(writes(&log, offset)?.len());
    wait_until("the act is in its middle", DEADLINE, || async {
        let writes = writes()?;
        Ok(if writes >= BEGUN {
            Ok(())
        } else {
            Err(format!("{writes} writes"))
        })
    })
    .await?;
    go_and_come(plane, end).await?;
    println!("{end:?} after {} writes", writes()?);
    Ok(Instant::now())
}

/// The database ends and begins again.
async fn go_and_come(plane: &mut Plane, end: End) -> Result<()> {
    block_in_place(|| match end {
        End::Restarted => plane.postgres.stop(),
        End::Killed => plane.postgres.kill(),
    })?;
    let kind = find_kind("WorkloadDefinition").context("no such kind")?;
    let listed = plane.api.object_list_all(kind, None).await;
    ensure!(listed.is_err(), "it answers without its database: {listed:?}");
    block_in_place(|| plane.postgres.resume())
}

/// What our accounts asked to change since `offset` of the audit log. Not the control plane's own record: that the parts,
/// which are processes here, have no Deployments is said there when it has lasted.
fn writes(log: &Path, offset: u64) -> Result<Vec<audit::Entry>> {
    let mut entries = audit::since(log, offset)?;
    entries.retain(|entry| {
        let object = entry.object_ref.clone().unwrap_or_default();
        let is_record = match object.resource.as_str() {
            "controlplaneinstances" => true,
            "events" => object.name.starts_with(&format!("{RELEASE}.")),
            _ => false,
        };
        entry.is_write() && entry.is_by(NAMESPACE) && !is_record
    });
    Ok(entries)
}

/// Of a database that goes and comes back when all is as it was asked for, nobody takes occasion to write. An object that
/// somebody deletes when it is back is healed, through all of the parts: when that is found in the log, whatever they do
/// since they have the database again would be found in it too.
async fn nothing_is_written(plane: &mut Plane, cast: &Cast, end: End) -> Result<()> {
    let log = plane.audit_log();
    wait_until("nothing is written any more", DEADLINE, || async {
        let offset = audit::end(&log)?;
        tokio::time::sleep(QUIET).await;
        let written = audit::count(&writes(&log, offset)?);
        Ok(if written.is_empty() {
            Ok(())
        } else {
            Err(format!("{written:?}"))
        })
    })
    .await?;
    let offset = audit::end(&log)?;
    go_and_come(plane, end).await?;

    let healed = format!("{}-0", cast.prefix);
    let kubectl = plane.kubectl()?;
    block_in_place(|| kubectl.run(&["delete", "configmap", "value", "--namespace", &healed]))?;
    let healing = format!("patch 201 configmaps. {healed}/value");
    let healings = || {
        let found = audit::count(&writes(&log, offset)?).remove(&healing);
        anyhow::Ok(found.unwrap_or_default())
    };
    wait_until("the healing of a deleted object is found", DEADLINE, || async {
        Ok(if healings()? > 0 {
            Ok(())
        } else {
            Err("it is not".to_owned())
        })
    })
    .await?;
    check::converges(plane, cast, Act::Edit, DEADLINE).await?;
    let times = healings()?;
    ensure!(times == 1, "it was healed {times} times");
    let definition = format!("{}-kubectl", cast.prefix);
    let mut written = writes(&log, offset)?;
    written.retain(|entry| entry.summary() != healing && !is_shown(entry, [&healed, &definition]));
    ensure!(written.is_empty(), "{:#?}", audit::count(&written));
    Ok(())
}

/// Whether it only shows, on the custom resource of one of those names, what became of it: by its status or an Event.
fn is_shown(entry: &audit::Entry, names: [&str; 2]) -> bool {
    let object = entry.object_ref.clone().unwrap_or_default();
    let is_of = |name: &str| match (object.resource.as_str(), object.subresource.as_str()) {
        ("workloadinstances" | "workloaddefinitions", "status") => object.name == name,
        ("events", _) => object.name.starts_with(&format!("{name}.")),
        _ => false,
    };
    object.namespace == NAMESPACE && names.into_iter().any(is_of)
}
