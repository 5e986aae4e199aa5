//! Fire 5: the database fails at any statement, and the API dies at any moment. What was acknowledged is there once, what
//! was refused is not, what was not answered is one of both; and everything that hangs on it is whole.
//!
//! A failing run says its seed. `THREEPORT_TEST_SEED=<seed>` begins with that run: the same requests, and the same faults
//! at the same statements (who comes first among the clients is up to the machine, so try it a few times).

use std::{fmt::Write as _, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use threeport_e2e::form;
use threeport_faults::postgres::{Counts, Fault, Place, Plan, Proxy};
use tokio::time::Instant;

use crate::{
    api::{Installation, Process},
    integrity::{Database, Scope},
    load::{
        self, Entry,
        rest::{Answer, Rest},
        verdict::judge,
    },
};

/// Runs of the load against a database that fails: short form, long form.
const RUNS: [u64; 2] = [24, 2000];
/// At most so often as many, until every fault was injected: of the rarest there is one in a thousand statements, and how
/// many statements a run has is up to its seed.
const BATCHES: u64 = 3;
/// Deaths of the API in the middle of a write: short form, long form. There are at most twice as many in all.
const KILLS: [u64; 2] = [10, 200];
/// So many lanes beside each other, with an API and a database of their own each: most of a run is waiting for what was
/// lost. Short form, long form.
const LANES: [usize; 2] = [2, 4];
/// So many commits are made to fail in each way, in at most so many runs: a run has some twenty of them.
const ENOUGH: usize = 10;
const COMMITTED_RUNS: usize = 12;
/// After so many runs of a lane everything is checked, not just what the run made.
const WHOLE: usize = 50;

/// An API behind a database that can be made to fail.
pub(crate) struct Stage {
    installation: Installation,
    proxy: Proxy,
    process: Process,
    pub(crate) rest: Arc<Rest>,
    pub(crate) database: Database,
}

/// How writes ended.
#[derive(Debug, Default)]
struct Totals {
    acknowledged: usize,
    refused: usize,
    unanswered: usize,
    /// Of those that were answered: not the first time.
    again: usize,
}

impl Stage {
    pub(crate) async fn new() -> Result<Self> {
        let installation = Installation::new().await?;
        let proxy = Proxy::start(installation.database_url()).await?;
        let process = installation.start_at(&proxy.url()?).await?;
        let rest = Arc::new(Rest::new(&installation, &process)?);
        let database = Database::connect(installation.database_url()).await?;
        Ok(Self {
            installation,
            proxy,
            process,
            rest,
            database,
        })
    }

    pub(crate) async fn scope(&self, seed: u64) -> Result<Scope> {
        Ok(Scope {
            prefix: load::prefix(seed),
            since: self.database.now().await?,
        })
    }

    /// Compares what the clients were told with what is there.
    pub(crate) async fn check(&self, scope: &Scope, entries: &[Entry]) -> Result<()> {
        let injected = self.proxy.injected();
        self.proxy.begin(Plan::quiet());
        self.database.settled().await?;
        let mut wrong = judge(entries, &self.database.facts(scope).await?);
        wrong.extend(self.database.damage(scope).await?);
        if wrong.is_empty() {
            return Ok(());
        }
        let mut text = format!("{}\nfaults:\n", wrong.join("\n"));
        for fault in injected {
            writeln!(text, "  {fault}")?;
        }
        bail!(text)
    }
}

impl Totals {
    fn count(&mut self, entries: &[Entry]) {
        for entry in entries {
            let answered = match entry.answers.last() {
                Some(Answer::Acknowledged { .. }) => &mut self.acknowledged,
                Some(Answer::Refused { .. }) => &mut self.refused,
                _ => &mut self.unanswered,
            };
            *answered += 1;
            self.again += usize::from(entry.answers.len() > 1);
        }
    }

    fn and(self, other: &Self) -> Self {
        Self {
            acknowledged: self.acknowledged + other.acknowledged,
            refused: self.refused + other.refused,
            unanswered: self.unanswered + other.unanswered,
            again: self.again + other.again,
        }
    }
}

fn replay(seed: u64) -> String {
    format!("run of seed {seed}; to see it again: THREEPORT_TEST_SEED={seed}")
}

/// The seeds of so many runs, by lane.
fn lanes(first: u64, runs: u64) -> Vec<Vec<u64>> {
    let mut lanes = vec![Vec::new(); form::choose(LANES)];
    for index in 0..runs {
        let lane = usize::try_from(index).unwrap_or_default() % lanes.len();
        lanes[lane].push(first.wrapping_add(index));
    }
    lanes
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_5_a_failing_database_makes_no_write_half_or_twice() -> Result<()> {
    let first = form::seed();
    let (begin, runs) = (Instant::now(), form::choose(RUNS));
    let (mut totals, mut counts) = (Totals::default(), Counts::default());
    for batch in 0..BATCHES {
        let lanes = lanes(first.wrapping_add(batch * runs), runs);
        for (of_lane, injected) in try_join_all(lanes.into_iter().map(on_a_failing_database)).await? {
            totals = totals.and(&of_lane);
            counts = counts.and(&injected);
        }
        println!("{runs} runs, {:.1?} by now: {totals:?}", begin.elapsed());
        if counts.missing().is_empty() {
            break;
        }
    }
    println!("faults: {counts}");
    ensure!(
        counts.missing().is_empty(),
        "never injected: {:?}",
        counts.missing()
    );
    ensure!(
        // Eight clients want the same few objects: about every second write is refused for another's sake.
        totals.acknowledged * 2 > totals.refused,
        "the load does too little: {totals:?}"
    );
    Ok(())
}

/// The runs of a lane, and the faults that they met.
async fn on_a_failing_database(seeds: Vec<u64>) -> Result<(Totals, Counts)> {
    let stage = Stage::new().await?;
    let mut totals = Totals::default();
    for some in seeds.chunks(WHOLE) {
        for &seed in some {
            let scope = stage.scope(seed).await?;
            stage.proxy.begin(Plan::new(seed));
            let entries = load::run(&stage.rest, seed).await.with_context(|| replay(seed))?;
            totals.count(&entries);
            stage
                .check(&scope, &entries)
                .await
                .with_context(|| replay(seed))?;
        }
        let damage = stage.database.damage(&Scope::everything()).await?;
        ensure!(damage.is_empty(), "after runs {some:?}: {}", damage.join("\n"));
    }
    Ok((totals, stage.proxy.counts()))
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_5_a_failing_commit_is_mended_before_anybody_hears_of_it() -> Result<()> {
    let first = form::seed();
    let stage = Stage::new().await?;
    let faults = [Fault::Serialization, Fault::LostBefore, Fault::LostAfter];
    let (mut of_each, mut alone) = ([0; 3], 0);
    // How many writes of a run commit is up to its seed, so there are as many runs as it takes.
    for seed in (first..).take(COMMITTED_RUNS) {
        // Of the run's seed, so that this tells the run again by itself.
        let which = (seed % 3) as usize;
        let fault = faults[which];
        let scope = stage.scope(seed).await?;
        let every_third = (0..1000).step_by(3);
        stage
            .proxy
            .begin(Plan::of(every_third.map(|number| (Place::Commit, number, fault))));
        let entries = load::run(&stage.rest, seed).await.with_context(|| replay(seed))?;
        let injected = stage.proxy.injected();
        of_each[which] += injected.len();
        alone += injected
            .iter()
            .filter(|fault| !fault.statement.starts_with("COMMIT"))
            .count();
        stage
            .check(&scope, &entries)
            .await
            .with_context(|| replay(seed))?;
        let heard = |entry: &&Entry| matches!(entry.answers.first(), Some(Answer::Unanswered(_)));
        let heard: Vec<String> = entries.iter().filter(heard).map(ToString::to_string).collect();
        // A machine with too much to do may use up the time that the store has for it.
        ensure!(
            heard.len() * 10 <= entries.len(),
            "{fault}, {} times: {}\n{}",
            injected.len(),
            heard.join("\n"),
            replay(seed)
        );
        if alone > 0 && of_each.iter().all(|&injected| injected >= ENOUGH) {
            return Ok(());
        }
    }
    bail!(
        "hit in {COMMITTED_RUNS} runs: {of_each:?} commits of {faults:?}, {alone} writes that commit themselves"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_5_an_api_that_dies_makes_no_write_half_or_twice() -> Result<()> {
    let first = form::seed();
    let (begin, wanted) = (Instant::now(), form::choose(KILLS));
    let lanes = lanes(first, 2 * wanted).into_iter().map(with_an_api_that_dies);
    let (mut totals, mut kills) = (Totals::default(), 0);
    for (of_lane, kills_there) in try_join_all(lanes).await? {
        totals = totals.and(&of_lane);
        kills += kills_there;
    }
    println!(
        "{kills} kills in {:.1?}, {wanted} of them during a write: {totals:?}",
        begin.elapsed()
    );
    Ok(())
}

/// The runs of a lane until half as many kills as there are seeds broke a write off, and how many kills that took.
async fn with_an_api_that_dies(seeds: Vec<u64>) -> Result<(Totals, usize)> {
    let mut stage = Stage::new().await?;
    // How long a run takes that is let be; on a machine that had more to do then than later, too long.
    let warm = seeds.first().context("no run")?.wrapping_sub(1);
    let begin = Instant::now();
    let scope = stage.scope(warm).await?;
    let entries = load::run(&stage.rest, warm).await?;
    let mut usual = begin.elapsed();
    stage.check(&scope, &entries).await?;

    let wanted = seeds.len().div_ceil(2);
    let (mut totals, mut kills, mut hit) = (Totals::default(), 0, 0);
    for seed in seeds {
        if hit == wanted {
            break;
        }
        let scope = stage.scope(seed).await?;
        // Of the run's seed, so that this tells the run again by itself.
        let mut random = StdRng::seed_from_u64(seed);
        let fails_too = random.random_bool(0.5);
        let plan = if fails_too { Plan::new(seed) } else { Plan::quiet() };
        stage.proxy.begin(plan);
        let rest = Arc::clone(&stage.rest);
        let run = tokio::spawn(async move {
            let begin = Instant::now();
            let entries = load::run(&rest, seed).await?;
            anyhow::Ok((entries, begin.elapsed()))
        });
        let moment = usual.mul_f64(random.random_range(0.0..0.9));
        tokio::time::sleep(moment).await;
        let again = format!("{}, killed after {} ms", replay(seed), moment.as_millis());
        let is_too_late = run.is_finished();
        stage = stage.kill_and_start().await.with_context(|| again.clone())?;
        let (entries, took) = run.await?.with_context(|| again.clone())?;
        if is_too_late {
            usual = took;
        }
        totals.count(&entries);
        kills += 1;
        hit += usize::from(
            entries
                .iter()
                .any(|entry| entry.answers.iter().any(is_broken_off)),
        );
        stage.check(&scope, &entries).await.context(again)?;
    }
    ensure!(
        hit == wanted,
        "most kills hit nothing: {hit} of {kills}, not {wanted}"
    );
    let damage = stage.database.damage(&Scope::everything()).await?;
    ensure!(damage.is_empty(), "at the end: {}", damage.join("\n"));
    Ok((totals, kills))
}

/// Not answered at all, unlike one whose answer is that the database failed.
fn is_broken_off(answer: &Answer) -> bool {
    matches!(answer, Answer::Unanswered(text) if !text.starts_with('{'))
}

impl Stage {
    /// SIGKILL, and a new process in its place.
    async fn kill_and_start(self) -> Result<Self> {
        self.process.kill().await?;
        // What fails at its start, a supervisor starts again; that is not what this is about.
        self.proxy.begin(Plan::quiet());
        let process = self.installation.start_at(&self.proxy.url()?).await?;
        self.rest.moved(&process);
        Ok(Self { process, ..self })
    }
}
