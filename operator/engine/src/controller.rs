//! What a controller is: four functions, the middle ones pure. [`Driver`] makes a [`Reconciler`] of them, which is all
//! that the engine knows.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use threeport_model::protocol::claim::Claim;
use tokio::time::Instant;

use crate::{
    failure,
    lease::{Lease, LeaseLost},
    metrics::{Metrics, Stage},
    queue::Found,
    report::Report,
};

/// One run: a claim and what it may be used for.
#[derive(Debug)]
pub struct Run {
    /// The object and all that it refers to.
    pub claim: Claim,
    /// Which way the work came; for logs.
    pub found: Found,
    /// To be asked before each write.
    pub lease: Arc<Lease>,
}

/// Why a run ended without a report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Somebody else goes on.
    #[error(transparent)]
    LeaseLost(#[from] LeaseLost),
    /// A failure that is not one of the target (those are part of a status): tried again with backoff.
    #[error("{0}")]
    Failed(String),
}

/// A controller of one kind.
#[async_trait]
pub trait Controller: Send + Sync + 'static {
    /// The claimed world, and of the target what differs or is not known.
    type World: Send + Sync;
    /// What is to be done.
    type Plan: Send + Sync;
    /// What was done and what came of it.
    type Applied: Send + Sync;
    /// The kind, as in `kind:`.
    const KIND: &'static str;

    /// What limits how many runs go on at once: a runtime's id, say.
    fn budget(&self, claim: &Claim) -> String {
        claim.object.kind.clone()
    }

    /// Reads what the claim doesn't hold. What can't be read is Unknown in the world, not an error.
    async fn load(&self, run: &Run) -> Result<Self::World, RunError>;
    /// Decides. Pure: no I/O, no clock.
    fn plan(&self, world: &Self::World, now: jiff::Timestamp) -> Self::Plan;
    /// Does it; asks the lease before each write. `now` is when it began.
    async fn execute(
        &self,
        world: &Self::World,
        plan: &Self::Plan,
        lease: &Lease,
        now: jiff::Timestamp,
    ) -> Result<Self::Applied, RunError>;
    /// Says what is. Pure.
    fn status(
        &self,
        world: &Self::World,
        plan: &Self::Plan,
        applied: &Self::Applied,
        now: jiff::Timestamp,
    ) -> Report;
}

/// A controller as the engine sees it.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// See [`Controller::KIND`].
    fn kind(&self) -> &'static str;
    /// See [`Controller::budget`].
    fn budget(&self, claim: &Claim) -> String;
    /// One run.
    async fn reconcile(&self, run: &Run, metrics: &Metrics) -> Result<Report, RunError>;
    /// The status of an object whose run failed.
    fn failed(&self, run: &Run, reason: &str) -> Option<Value>;
}

/// Runs the four functions in their order and times them.
pub struct Driver<C> {
    controller: C,
    clock: fn() -> jiff::Timestamp,
}

impl<C: Controller> Driver<C> {
    /// A driver on the system's clock.
    pub fn new(controller: C) -> Self {
        Self {
            controller,
            clock: jiff::Timestamp::now,
        }
    }

    /// A driver on another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> jiff::Timestamp) -> Self {
        self.clock = clock;
        self
    }
}

#[async_trait]
impl<C: Controller> Reconciler for Driver<C> {
    fn kind(&self) -> &'static str {
        C::KIND
    }

    fn budget(&self, claim: &Claim) -> String {
        self.controller.budget(claim)
    }

    async fn reconcile(&self, run: &Run, metrics: &Metrics) -> Result<Report, RunError> {
        let started = Instant::now();
        let world = self.controller.load(run).await?;
        metrics.stage(C::KIND, Stage::Load, started.elapsed());
        let plan = self.controller.plan(&world, (self.clock)());
        let started = Instant::now();
        let applied = self
            .controller
            .execute(&world, &plan, &run.lease, (self.clock)())
            .await?;
        metrics.stage(C::KIND, Stage::Apply, started.elapsed());
        Ok(self.controller.status(&world, &plan, &applied, (self.clock)()))
    }

    fn failed(&self, run: &Run, reason: &str) -> Option<Value> {
        failure::status(&run.claim, reason, (self.clock)())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use prometheus_client::registry::Registry;
    use threeport_model::Object;
    use tokio::time::sleep;
    use uuid::Uuid;

    use super::*;
    use crate::{metrics::Stages, report::Outcome};

    /// Loads for 2 s, executes for 3 s.
    struct Slow;

    #[async_trait]
    impl Controller for Slow {
        type World = ();
        type Plan = ();
        type Applied = ();
        const KIND: &'static str = "Thing";

        fn budget(&self, _: &Claim) -> String {
            String::new()
        }

        async fn load(&self, _: &Run) -> Result<(), RunError> {
            sleep(Duration::from_secs(2)).await;
            Ok(())
        }

        fn plan(&self, (): &(), _: jiff::Timestamp) {}

        async fn execute(&self, (): &(), (): &(), _: &Lease, _: jiff::Timestamp) -> Result<(), RunError> {
            sleep(Duration::from_secs(3)).await;
            Ok(())
        }

        fn status(&self, (): &(), (): &(), (): &(), _: jiff::Timestamp) -> Report {
            Report::new(Outcome::Done)
        }
    }

    fn run() -> Run {
        let mut object = Object::new("Thing", "thing", Value::Null);
        object.metadata.id = Some(Uuid::from_u128(1));
        Run {
            claim: Claim::of(object),
            found: Found::Signal,
            lease: Arc::new(Lease::until(Instant::now() + Duration::from_secs(10))),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_parts_of_a_run_are_timed() {
        let mut registry = Registry::default();
        let stages = Stages::default();
        stages.register(&mut registry, "threeport_stage_seconds");
        let metrics = Metrics::register(&mut registry, stages);
        Driver::new(Slow).reconcile(&run(), &metrics).await.unwrap();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for (stage, seconds) in [("load", "2."), ("apply", "3.")] {
            let sum = format!("threeport_stage_seconds_sum{{kind=\"Thing\",stage=\"{stage}\"}} {seconds}");
            assert!(text.contains(&sum), "{text}");
        }
    }
}
