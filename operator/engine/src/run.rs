//! One run from a claim to its completion, as a task of its own.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use threeport_failpoint::around;
use threeport_model::{
    explain,
    protocol::claim::{CompleteRequest, CompleteResponse, Next, StatusUpdate},
};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::{
    backoff,
    controller::{Reconciler, Run, RunError},
    metrics::{Metrics, Stage},
    report::{Outcome, Report},
    source::{Source, SourceError},
    writes,
};

/// The longest that a run may take. One that takes longer is tried again: what it did is in the inventory.
const RUN_DEADLINE: Duration = Duration::from_secs(60);

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) id: Uuid,
    pub(crate) left: Left,
}

/// What the pending row of an object says after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// That is not known: somebody else has it, or the API did not answer.
    Unknown,
    /// What the run wanted.
    Next(Next),
    /// There is work already: something changed during the run.
    Work,
}

/// Runs the controller and completes the claim. A panic in either ends this run and nothing else.
pub(crate) async fn run(
    reconciler: Arc<dyn Reconciler>,
    source: Arc<dyn Source>,
    run: Run,
    metrics: Metrics,
) -> Ended {
    let (id, kind, found) = (run.claim.object.id(), reconciler.kind(), run.found);
    let ended = AssertUnwindSafe(whole(reconciler, source, run, metrics.clone())).catch_unwind();
    ended.await.unwrap_or_else(|_| {
        tracing::error!(kind, %id, "a run panicked where it was to end, its pending row brings it back");
        metrics.reconciled(kind, found, "error");
        Ended {
            id,
            left: Left::Unknown,
        }
    })
}

async fn whole(
    reconciler: Arc<dyn Reconciler>,
    source: Arc<dyn Source>,
    run: Run,
    metrics: Metrics,
) -> Ended {
    let (id, kind, found) = (run.claim.object.id(), reconciler.kind(), run.found);
    let run = Arc::new(run);
    let controller = Arc::clone(&reconciler);
    // A task of its own, so that the run can say that the controller panicked.
    let task = tokio::spawn({
        let (run, metrics) = (Arc::clone(&run), metrics.clone());
        async move { timeout(RUN_DEADLINE, controller.reconcile(&run, &metrics)).await }
    });
    // What fails once may be a moment of the API's; that a run did not end at all is told at once.
    let mut told = run.claim.attempts > 0;
    let result = match task.await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => {
            told = true;
            let seconds = RUN_DEADLINE.as_secs();
            Err(RunError::Failed(format!("took longer than {seconds} s")))
        }
        Err(error) => {
            told = true;
            Err(RunError::Failed(format!("the controller panicked: {error}")))
        }
    };
    let name = &run.claim.object.metadata.name;
    let (report, label) = match result {
        Ok(report) => {
            let label = report.outcome.as_str();
            (report, label)
        }
        Err(RunError::LeaseLost(_)) => {
            tracing::info!(kind, name, %id, "the claim was lost, somebody else goes on");
            metrics.reconciled(kind, found, "lost");
            return Ended {
                id,
                left: Left::Unknown,
            };
        }
        Err(RunError::Failed(reason)) => {
            tracing::warn!(kind, name, %id, trigger = found.as_str(), reason, "run failed, trying again");
            let status = told.then(|| reconciler.failed(&run, &reason)).flatten();
            let mut report = Report::new(Outcome::Retry(reason));
            report.status = status;
            (report, "error")
        }
    };
    log(kind, name, &run, &report);
    let next = report.outcome.next(run.claim.attempts, backoff::spread(id));
    let started = Instant::now();
    let completed = complete(&*source, &run, report, next).await;
    metrics.stage(kind, Stage::Complete, started.elapsed());
    metrics.reconciled(kind, found, if completed.is_some() { label } else { "lost" });
    let left = match completed {
        None => Left::Unknown,
        Some(response) if response.pending => Left::Work,
        Some(_) => Left::Next(next),
    };
    Ended { id, left }
}

fn log(kind: &str, name: &str, run: &Run, report: &Report) {
    let (id, trigger, epoch) = (run.claim.object.id(), run.found.as_str(), run.claim.epoch);
    match &report.outcome {
        Outcome::Done | Outcome::RequeueAfter(_) => {
            tracing::debug!(kind, name, %id, trigger, epoch, outcome = report.outcome.as_str(), "run ended");
        }
        Outcome::WaitFor(reason) | Outcome::Retry(reason) | Outcome::Stalled { reason, .. } => {
            tracing::info!(kind, name, %id, trigger, epoch, outcome = report.outcome.as_str(), reason, "run ended");
        }
    }
}

/// Completes the claim. Tried until the claim ends: after that the pending row brings the object back.
async fn complete(source: &dyn Source, run: &Run, report: Report, next: Next) -> Option<CompleteResponse> {
    let object = &run.claim.object;
    let generation = object.generation();
    let request = CompleteRequest {
        id: object.id(),
        epoch: run.claim.epoch,
        token: run.claim.token.clone(),
        status: report.status.map(|status| StatusUpdate {
            observed_generation: generation,
            status,
        }),
        next,
        inventory: report.inventory,
        inventory_removed: report.inventory_removed,
        events: report.events,
        finalize: report.finalize,
    };
    let mut wait = Duration::from_millis(100);
    loop {
        match around(writes::COMPLETE, source.complete(&request)).await {
            Ok(response) => return Some(response),
            Err(SourceError::Transient(reason)) if Instant::now() + wait < run.lease.deadline() => {
                tracing::warn!(id = %request.id, reason, "failed to complete a run, trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(2));
            }
            Err(error) => {
                tracing::warn!(id = %request.id, error = %explain(&error), "failed to complete a run, its pending row brings it back");
                return None;
            }
        }
    }
}

/// Gives a claim back unused.
pub(crate) async fn release(source: Arc<dyn Source>, run: Run, after: Duration) {
    let milliseconds = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    let report = Report::new(Outcome::RequeueAfter(after));
    complete(&*source, &run, report, Next::Release { milliseconds }).await;
}
