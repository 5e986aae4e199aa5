//! PostgreSQL is restarted, or killed, while 30 instances are created, edited and deleted. The short form draws which; the
//! long one tries both.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use threeport_e2e::{
    audit, form, leftovers,
    plane::{NAMESPACE, Plane},
    wait_until,
};
use threeport_model::find_kind;
use tokio::task::block_in_place;

use crate::{
    cast::{Act, Cast},
    check, controls, round,
};

const INSTANCES: usize = 30;
/// How many writes of ours are seen before it goes: less than any act needs.
const BEGUN: usize = 20;
const DEADLINE: Duration = Duration::from_secs(30);

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
        }
        check::nothing_is_left(&plane, &before).await?;
    }
    Ok(())
}

/// Says when it is back.
async fn restart(plane: &mut Plane, end: End, offset: u64) -> Result<Instant> {
    let log = plane.audit_log();
    let writes = || -> Result<usize> {
        let entries = audit::since(&log, offset)?;
        let ours = entries
            .iter()
            .filter(|entry| entry.is_write() && entry.is_by(NAMESPACE));
        Ok(ours.count())
    };
    wait_until("the act is in its middle", DEADLINE, || async {
        let writes = writes()?;
        Ok(if writes >= BEGUN {
            Ok(())
        } else {
            Err(format!("{writes} writes"))
        })
    })
    .await?;
    block_in_place(|| match end {
        End::Restarted => plane.postgres.stop(),
        End::Killed => plane.postgres.kill(),
    })?;
    let kind = find_kind("WorkloadDefinition").context("no such kind")?;
    let listed = plane.api.object_list_all(kind, None).await;
    ensure!(listed.is_err(), "it answers without its database: {listed:?}");
    block_in_place(|| plane.postgres.resume())?;
    println!("{end:?} after {} writes", writes()?);
    Ok(Instant::now())
}
