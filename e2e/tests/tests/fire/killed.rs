//! Every part is killed at its failpoints while 30 instances are created, edited and deleted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result, ensure};
use rand::{
    SeedableRng,
    rngs::StdRng,
    seq::{IteratorRandom, SliceRandom},
};
use threeport_e2e::{
    form, leftovers,
    plane::{Part, Plane},
    programs,
};

use crate::{
    baseline::Baseline,
    cast::{Act, Cast},
    check, installation, rarer,
    round::{self, Kill},
};

const INSTANCES: usize = 30;
/// What tells in which act failpoints are hit, in the short form.
const FEW: usize = 4;
/// Where the short form always kills: between what was done and its record.
const TELLING: [&str; 2] = ["controllers.create.after", "store.claim_complete.after"];
/// Where else it kills: as many drawn ones of the usual ways, and of the rarer.
const DRAWN: usize = 4;
const DRAWN_RARER: usize = 1;
/// Names failpoints by how they begin, with commas between: all of those are tried, and no others.
const ONLY: &str = "THREEPORT_TEST_FAILPOINTS";

#[tokio::test(flavor = "multi_thread")]
async fn fire_1_killed_at_every_failpoint() -> Result<()> {
    let mut random = StdRng::seed_from_u64(form::seed());
    let mut plane = Plane::start().await?;
    println!("started");
    let instances = if form::is_long() { INSTANCES } else { FEW };
    let baseline = Baseline::observe(&mut plane, instances).await?;
    let all = failpoints()?;
    let rarer: BTreeSet<String> = rarer::failpoints().collect();
    // What has a way of its own is hit in the usual ones by luck only.
    let has_act = |name: &&String| baseline.act(name).is_some() && !rarer.contains(*name);
    let usual: BTreeSet<&String> = all.iter().filter(has_act).collect();
    let untried: Vec<_> = all
        .iter()
        .filter(|name| !usual.contains(name) && !rarer.contains(*name) && !installation::is_tried(name))
        .collect();
    ensure!(untried.is_empty(), "no test comes by {untried:?}");

    let only = std::env::var(ONLY).unwrap_or_default();
    let is_asked = |name: &str| only.split(',').any(|beginning| name.starts_with(beginning));
    let every = form::is_long() || !only.is_empty();
    let mut order: Vec<&str> = usual.into_iter().map(String::as_str).collect();
    order.retain(|name| is_asked(name));
    order.shuffle(&mut random);
    let mut kills = Kills::default();
    let first = if every { order.as_slice() } else { &TELLING };
    for failpoint in first {
        kills.add(&baseline, failpoint, &mut random)?;
    }
    if !every {
        kills.draw(&baseline, &order, &mut random)?;
    }
    let mut killed = kills.play(&mut plane).await?;

    let few = if every { rarer.len() } else { DRAWN_RARER };
    let chosen = rarer.into_iter().filter(|name| is_asked(name));
    let chosen = chosen.choose_multiple(&mut random, few);
    for (index, failpoint) in chosen.iter().enumerate() {
        let before = leftovers::everything(&plane.cluster).await?;
        let took = rarer::kill(&mut plane, failpoint, &format!("rare{index}")).await?;
        println!(
            "killed at {failpoint}: all was well {} ms after the restart",
            took.as_millis()
        );
        check::nothing_is_left(&plane, &before).await?;
        killed += 1;
    }
    println!("killed at {killed} failpoints of {}", all.len());
    Ok(())
}

/// What is still to be done: in each act every part may die once.
#[derive(Default)]
struct Kills(BTreeMap<(Act, Part), VecDeque<Kill>>);

impl Kills {
    fn add(&mut self, baseline: &Baseline, failpoint: &str, random: &mut StdRng) -> Result<()> {
        let act = baseline
            .act(failpoint)
            .with_context(|| format!("{failpoint} is never hit"))?;
        let kill = baseline.kill(failpoint, act, random);
        self.0.entry((act, kill.part()?)).or_default().push_back(kill);
        Ok(())
    }

    /// Adds the first of `order`, no two of one part in one act: one round it is.
    fn draw(&mut self, baseline: &Baseline, order: &[&str], random: &mut StdRng) -> Result<()> {
        let mut drawn = 0;
        for failpoint in order.iter().filter(|failpoint| !TELLING.contains(failpoint)) {
            let act = baseline.act(failpoint).context("never hit")?;
            if drawn < DRAWN && !self.0.contains_key(&(act, round::part_of(failpoint)?)) {
                self.add(baseline, failpoint, random)?;
                drawn += 1;
            }
        }
        Ok(())
    }

    fn next(&mut self, act: Act) -> Vec<Kill> {
        let queues = self.0.iter_mut().filter(|((when, _), _)| *when == act);
        queues.filter_map(|(_, kills)| kills.pop_front()).collect()
    }

    /// Rounds of creates, edits and deletes until everybody died everywhere; says how often that was.
    async fn play(mut self, plane: &mut Plane) -> Result<usize> {
        let (mut round, mut killed) = (0, 0);
        while self.0.values().any(|kills| !kills.is_empty()) {
            let cast = Cast {
                prefix: format!("r{round}"),
                instances: INSTANCES,
            };
            let before = leftovers::everything(&plane.cluster).await?;
            for act in Act::ALL {
                let kills = self.next(act);
                if act == Act::Edit && kills.is_empty() {
                    continue;
                }
                let took = round::play(plane, &cast, act, &kills).await?;
                let where_: Vec<_> = kills
                    .iter()
                    .map(|kill| format!("{}@{}", kill.failpoint, kill.nth))
                    .collect();
                println!(
                    "{act:?}, killed at {}: {} ms after the last restart",
                    where_.join(", "),
                    took.as_millis()
                );
                killed += kills.len();
            }
            check::nothing_is_left(plane, &before).await?;
            round += 1;
        }
        Ok(killed)
    }
}

/// Of every program, as it lists them itself.
fn failpoints() -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for part in Part::ALL {
        all.extend(programs::failpoints(part.program_name())?);
    }
    ensure!(all.len() > 100, "only {all:?}");
    Ok(all)
}
