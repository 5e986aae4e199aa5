//! The engine of one controller domain: one loop that owns the queue and the held claims, and starts everything else
//! as tasks. At most one claim request is under way at a time: keys that arrive meanwhile go together in the next.

mod claiming;

use std::{collections::HashMap, sync::Arc, time::Duration};

use threeport_model::{
    explain,
    protocol::claim::{ClaimKey, ClaimResponse, DEFAULT_TTL_SECONDS, RenewResponse},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    controller::Reconciler,
    held::{Held, Limits, Parked},
    intake::Intake,
    metrics::Metrics,
    options::Options,
    queue::{Class, Found},
    report,
    run::{self, Ended, Left},
    source::{Source, SourceError},
};

/// An engine that is not running yet.
pub struct Engine {
    options: Options,
    source: Arc<dyn Source>,
    reconcilers: HashMap<&'static str, Arc<dyn Reconciler>>,
    metrics: Metrics,
    intake: Intake,
}

impl Engine {
    /// The engine of a domain with its reconcilers, one per kind.
    pub fn new(
        options: Options,
        source: Arc<dyn Source>,
        reconcilers: Vec<Arc<dyn Reconciler>>,
        metrics: Metrics,
    ) -> Self {
        let intake = Intake::new(options.queue_capacity);
        let reconcilers = reconcilers
            .into_iter()
            .map(|reconciler| (reconciler.kind(), reconciler))
            .collect();
        Self {
            options,
            source,
            reconcilers,
            metrics,
            intake,
        }
    }

    /// Where signals go in.
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Runs until `shutdown`, then drains. Panics where its own work does: whoever runs it has to see to that.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut work = Loop::new(self);
        while !shutdown.is_cancelled() {
            let wake_at = work.advance(Instant::now());
            let intake = work.intake.clone();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(event) = work.tasks.join_next() => work.handle(event),
                () = intake.offered() => {}
                () = sleep_until(wake_at) => {}
            }
        }
        work.drain().await;
    }
}

enum Event {
    Claimed {
        wanted: Vec<(Uuid, Found)>,
        limit: usize,
        asked: Instant,
        result: Result<ClaimResponse, SourceError>,
    },
    Renewed {
        keys: Vec<ClaimKey>,
        asked: Instant,
        result: Result<RenewResponse, SourceError>,
    },
    Ended(Ended),
    Released(Uuid),
    /// A claim that was not asked for was given back.
    GivenBack,
}

struct Loop {
    options: Options,
    source: Arc<dyn Source>,
    reconcilers: HashMap<&'static str, Arc<dyn Reconciler>>,
    kinds: Vec<String>,
    metrics: Metrics,
    intake: Intake,
    held: Held,
    tasks: JoinSet<Event>,
    claiming: bool,
    claim_failures: i64,
    claim_not_before: Instant,
    sweep_wanted: bool,
    swept_last: bool,
    sweep_at: Instant,
    renew_at: Instant,
}

const TTL: Duration = Duration::from_secs(DEFAULT_TTL_SECONDS as u64);
/// A little later than the database's own clock says, so that the row is due when it is asked for.
const DUE_MARGIN: Duration = Duration::from_millis(50);
/// When a claim comes back that was given back since its budget is used up.
const OVER_BUDGET_WAIT: Duration = Duration::from_secs(3);

impl Loop {
    fn new(engine: Engine) -> Self {
        let now = Instant::now();
        let limits = Limits::new(engine.options.concurrency, engine.options.queue_capacity);
        let mut kinds: Vec<String> = engine.reconcilers.keys().map(|kind| (*kind).to_owned()).collect();
        kinds.sort();
        Self {
            kinds,
            held: Held::new(limits),
            tasks: JoinSet::new(),
            claiming: false,
            claim_failures: 0,
            claim_not_before: now,
            sweep_wanted: false,
            swept_last: false,
            sweep_at: now,
            renew_at: now + TTL / 3,
            options: engine.options,
            source: engine.source,
            reconcilers: engine.reconcilers,
            metrics: engine.metrics,
            intake: engine.intake,
        }
    }

    /// Starts what can be started; says when to look again at the latest.
    fn advance(&mut self, now: Instant) -> Instant {
        if now >= self.sweep_at {
            self.sweep_wanted = true;
            // Whatever is ready: it may all be of a stuck budget, and then nothing else is asked for.
            self.swept_last = false;
            // Spread, so that replicas don't sweep in step.
            self.sweep_at = now
                + self
                    .options
                    .sweep_interval
                    .mul_f64(0.9 + 0.2 * rand::random::<f64>());
        }
        if now >= self.renew_at {
            self.renew_at = now + TTL / 3;
            self.renew(now);
        }
        self.start_runs();
        self.claim(now);
        let queue = self.intake.queue();
        self.metrics.queued(self.options.domain, queue.len());
        let due = queue.next_due().map(|at| self.intake.instant(at));
        let mut wake_at = self.sweep_at.min(self.renew_at);
        wake_at = self.held.next_stuck(now).map_or(wake_at, |at| wake_at.min(at));
        if !self.claiming && self.held.room(now) > 0 {
            wake_at = due.map_or(wake_at, |due| wake_at.min(due.max(self.claim_not_before)));
            if self.claim_not_before > now {
                wake_at = wake_at.min(self.claim_not_before);
            }
        }
        wake_at
    }

    fn start_runs(&mut self) {
        while let Some(Parked { reconciler, run, .. }) = self.held.start(Instant::now()) {
            let (source, metrics) = (Arc::clone(&self.source), self.metrics.clone());
            self.tasks
                .spawn(async move { Event::Ended(run::run(reconciler, source, run, metrics).await) });
        }
    }

    fn handle(&mut self, event: Result<Event, tokio::task::JoinError>) {
        match event {
            Ok(Event::Claimed {
                wanted,
                limit,
                asked,
                result,
            }) => self.claimed(&wanted, limit, asked, result),
            Ok(Event::Renewed { keys, asked, result }) => match result {
                Ok(response) => self.held.renewed(&keys, &response.renewed, asked + TTL),
                Err(error) => tracing::warn!(error = %explain(&error), "failed to renew claims"),
            },
            Ok(Event::Ended(Ended { id, left })) => {
                let now = Instant::now();
                self.held.ended(id, now);
                let again = match left {
                    Left::Unknown => None,
                    Left::Work => Some((Duration::ZERO, Class::Fresh)),
                    Left::Next(next) => report::wait(next).map(|(wait, class)| (wait + DUE_MARGIN, class)),
                };
                let again = again.map(|(wait, class)| (self.intake.milliseconds(now + wait), class));
                self.intake.queue().finish(id, again);
                self.intake.made_room();
            }
            Ok(Event::Released(id)) => {
                let at = self
                    .intake
                    .milliseconds(Instant::now() + OVER_BUDGET_WAIT + DUE_MARGIN);
                self.intake.queue().busy(id, at);
            }
            Ok(Event::GivenBack) => {}
            // What it was to say is lost, and the loop would wait for that without end: for claims that it asked for, say.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    /// Gives back what waits and lets runs end; those that don't are stopped before their next write.
    async fn drain(mut self) {
        for parked in self.held.take_parked() {
            self.release(parked, Duration::ZERO);
        }
        let end = Instant::now() + self.options.drain;
        let stop = end - self.options.drain / 4;
        let mut stopped = false;
        while !self.tasks.is_empty() {
            tokio::select! {
                Some(event) = self.tasks.join_next() => self.handle(event),
                () = sleep_until(stop), if !stopped => {
                    stopped = true;
                    self.held.lose_all();
                }
                () = sleep_until(end) => break,
            }
            // A claim that was answered during the drain goes back too.
            for parked in self.held.take_parked() {
                self.release(parked, Duration::ZERO);
            }
        }
        let clean = self.held.is_empty();
        tracing::info!(domain = self.options.domain, clean, "engine drained");
    }
}
