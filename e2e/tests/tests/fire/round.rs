//! An act in which parts die: each is started with a failpoint armed, dies there by its own SIGKILL, and is started again
//! at once (who restarts it is this test, so that the back-off of pods is aside). From the last restart on everything has
//! [`CONVERGED`] to be as it was asked for.

use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use threeport_e2e::{
    audit,
    plane::{Part, Plane},
};
use tokio::time::sleep;

use crate::{
    cast::{Act, Cast},
    check, hits,
};

/// From the last restart on.
pub(crate) const CONVERGED: Duration = Duration::from_secs(30);
/// How long a part may take to be ready, and a failpoint to be hit: what is told only once it has lasted is looked at every
/// 15 s.
const HIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);
const SIGKILL: i32 = 9;

/// Where and when a part dies.
#[derive(Clone, Debug)]
pub(crate) struct Kill {
    pub(crate) failpoint: String,
    pub(crate) nth: u64,
}

impl Kill {
    /// The part that dies.
    pub(crate) fn part(&self) -> Result<Part> {
        part_of(&self.failpoint)
    }

    /// What makes a process die there, and note it in `log`.
    pub(crate) fn variables(&self, log: &Path) -> [(&'static str, String); 2] {
        [
            (
                "THREEPORT_FAILPOINT",
                format!("{}=kill@{}", self.failpoint, self.nth),
            ),
            ("THREEPORT_FAILPOINT_LOG", log.display().to_string()),
        ]
    }

    /// Where a part notes it.
    pub(crate) fn log(&self, plane: &Plane) -> PathBuf {
        plane.path(&format!("{}.hits", self.failpoint))
    }

    /// Whether the part has died; fails where it did not die there.
    fn is_done(&self, plane: &mut Plane) -> Result<bool> {
        let part = self.part()?;
        let Some(status) = plane.process(part)?.exit_status()? else {
            return Ok(false);
        };
        let proved = self.is_proved_by(&self.log(plane))?;
        ensure!(
            status.signal() == Some(SIGKILL) && proved,
            "{part} ended with {status} and not at {self:?}\n{}",
            plane.process(part)?.log_tail()
        );
        Ok(true)
    }

    /// Whether a process died there.
    pub(crate) fn is_proved_by(&self, log: &Path) -> Result<bool> {
        Ok(hits::read(log)?.contains_key(&format!("{} kill", self.failpoint)))
    }
}

/// The part whose failpoint it is.
pub(crate) fn part_of(failpoint: &str) -> Result<Part> {
    let (part, _) = failpoint.split_once('.').context("no failpoint")?;
    Ok(match part {
        "engine" | "controllers" => Part::Controllers,
        "facade" => Part::Facade,
        "agent" => Part::Agent,
        "server" | "store" => Part::Api,
        other => bail!("no part has failpoints called {other}"),
    })
}

/// Starts a part that dies while it starts, and does not start it again.
pub(crate) async fn dies_at_start(plane: &mut Plane, kill: &Kill) -> Result<()> {
    let part = kill.part()?;
    plane.stop_part(part)?;
    plane.start_part(part, &kill.variables(&kill.log(plane)))?;
    let begun = Instant::now();
    while !kill.is_done(plane)? {
        ensure!(
            begun.elapsed() < HIT,
            "{part} did not die at {kill:?}\n{}",
            plane.log_tails()
        );
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Parts that are going to die; each part once.
pub(crate) struct Doomed {
    left: Vec<Kill>,
    /// Those that have died and were started again.
    back: Vec<Part>,
    restarted: Instant,
}

impl Doomed {
    /// Starts the parts anew with their failpoints armed and waits until all are ready. One may die before it is.
    pub(crate) async fn arm(plane: &mut Plane, kills: &[Kill]) -> Result<Self> {
        let mut doomed = Self {
            left: kills.to_vec(),
            back: Vec::new(),
            restarted: Instant::now(),
        };
        for kill in kills {
            plane.stop_part(kill.part()?)?;
            plane.start_part(kill.part()?, &kill.variables(&kill.log(plane)))?;
        }
        let begun = Instant::now();
        loop {
            doomed.look(plane)?;
            let mut waiting = None;
            for kill in kills {
                if !plane.is_ready(kill.part()?)? {
                    waiting = Some(kill.part()?);
                }
            }
            let Some(part) = waiting else { return Ok(doomed) };
            ensure!(
                begun.elapsed() < HIT,
                "{part} is not ready\n{}",
                plane.log_tails()
            );
            sleep(PAUSE).await;
        }
    }

    /// Starts those again that have died; fails where one did not die at its failpoint.
    fn look(&mut self, plane: &mut Plane) -> Result<()> {
        let mut left = Vec::new();
        for kill in std::mem::take(&mut self.left) {
            if kill.is_done(plane)? {
                self.start(plane, kill.part()?)?;
                self.back.push(kill.part()?);
            } else {
                left.push(kill);
            }
        }
        self.left = left;
        Ok(())
    }

    fn start(&mut self, plane: &mut Plane, part: Part) -> Result<()> {
        self.restarted = Instant::now();
        plane.start_part(part, &[])
    }

    /// Starts those again that ended by themselves, as Kubernetes would; whether all are ready. That gives nobody more time.
    fn are_ready(&mut self, plane: &mut Plane) -> Result<bool> {
        for part in self.back.clone() {
            if let Some(status) = plane.process(part)?.exit_status()? {
                println!(
                    "{part} ended by itself with {status}\n{}",
                    plane.process(part)?.log_tail()
                );
                plane.start_part(part, &[])?;
            }
            if !plane.is_ready(part)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until all have died, were started again and are ready; says when the last was started.
    pub(crate) async fn all_died(mut self, plane: &mut Plane) -> Result<Instant> {
        let begun = Instant::now();
        loop {
            self.look(plane)?;
            if self.left.is_empty() && self.are_ready(plane)? {
                return Ok(self.restarted);
            }
            ensure!(
                begun.elapsed() < HIT,
                "not hit was {:?}, and not all of {:?} are ready\n{}",
                self.left,
                self.back,
                plane.log_tails()
            );
            sleep(PAUSE).await;
        }
    }
}

/// Plays an act, and kills parts in it; says how long it took to converge.
pub(crate) async fn play(plane: &mut Plane, cast: &Cast, act: Act, kills: &[Kill]) -> Result<Duration> {
    let offset = audit::end(&plane.audit_log())?;
    let doomed = Doomed::arm(plane, kills).await?;
    strike(plane, cast, act, offset, async |plane| {
        doomed.all_died(plane).await
    })
    .await
    .with_context(|| format!("with {kills:?}"))
}

/// Plays an act, strikes in the middle of it, and says how long it took to converge from when `blow` says that all are
/// back. What the audit log says from `offset` on is of this act.
pub(crate) async fn strike(
    plane: &mut Plane,
    cast: &Cast,
    act: Act,
    offset: u64,
    blow: impl AsyncFnOnce(&mut Plane) -> Result<Instant>,
) -> Result<Duration> {
    let begun = Instant::now();
    let (players, api, kubectl) = (cast.clone(), plane.api.clone(), plane.kubectl()?);
    let playing = tokio::spawn(async move { players.play(act, &api, &kubectl).await });
    let converged = async {
        // Before it was asked for, nothing can be as it was asked for.
        let back = blow(plane).await?.max(begun);
        playing.await?.context("somebody did not get through")?;
        check::converges(plane, cast, act, CONVERGED.saturating_sub(back.elapsed())).await?;
        let took = back.elapsed();
        check::each_was_created_once(&plane.audit_log(), offset, &cast.created_by_us(act))?;
        check::inventory_is_what_is_there(plane).await?;
        anyhow::Ok(took)
    };
    let result = converged.await;
    if result.is_err() {
        println!("{}", plane.log_tails());
    }
    result.with_context(|| format!("{act:?} of {}", cast.prefix))
}
