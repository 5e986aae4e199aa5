//! No run takes for ever: a call that is never answered must not keep its key and its place.

use std::{future::Future, time::Duration};

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::timeout;

use crate::{
    metrics::{Metrics, OutcomeLabel},
    queue::{Key, Next},
};

/// The longest that a run may take; a usual one takes milliseconds. What it asked for last may still be done: the next run
/// looks, as after a crash.
const RUN_DEADLINE: Duration = Duration::from_secs(60);

/// One of the runs that go on, until it ends or is dropped.
struct Running<'a>(&'a Gauge);

impl<'a> Running<'a> {
    fn begin(all: &'a Gauge) -> Self {
        all.inc();
        Self(all)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Lets a run go on until its deadline. One that does not end by then has failed, and is tried again.
pub(crate) async fn bounded(metrics: Metrics, key: Key, work: impl Future<Output = Next>) -> Next {
    let _running = Running::begin(&metrics.running);
    let ended = timeout(RUN_DEADLINE, work).await;
    ended.unwrap_or_else(|_| {
        let seconds = RUN_DEADLINE.as_secs();
        tracing::warn!(%key, "a run took longer than {seconds} s, trying again");
        metrics.count(OutcomeLabel::failed);
        Next::FAILED
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use prometheus_client::registry::Registry;
    use threeport_model::find_kind;
    use threeport_telemetry::stages::Stages;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        metrics::Outcome,
        queue::{self, Purpose},
    };

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_never_answered_has_failed_and_leaves_its_place_to_others() {
        let metrics = Metrics::register(&mut Registry::default(), Stages::default());
        let key = |name: &str| Key::new(find_kind("tpwd").unwrap(), name);
        let (queue, requests) = queue::channel();
        queue.wake(key("hung")).await;
        // Due when the first has the only place.
        queue.after(key("other"), Duration::from_millis(10)).await;
        let (shutdown, runs) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
        let (end, begun, measured) = (shutdown.clone(), runs.clone(), metrics.clone());
        let purpose = |_: &Key| Purpose {
            new: false,
            brings: true,
        };
        let all = queue::run(requests, &queue, 1, shutdown, purpose, move |key| {
            let (end, begun, running) = (end.clone(), begun.clone(), measured.running.clone());
            let name = key.name.clone();
            let work = async move {
                let count = {
                    let mut begun = begun.lock().unwrap();
                    begun.push((name.clone(), running.get()));
                    begun.len()
                };
                if count == 3 {
                    end.cancel();
                }
                if name == "hung" {
                    std::future::pending::<()>().await;
                }
                Next::Done
            };
            bounded(measured.clone(), key, work)
        });
        timeout(RUN_DEADLINE * 3, all)
            .await
            .expect("its place is free again");
        let expected = ["hung", "other", "hung"].map(|name| (name.to_owned(), 1));
        assert_eq!(*runs.lock().unwrap(), expected);
        let failed = Outcome {
            outcome: OutcomeLabel::failed,
        };
        assert_eq!(metrics.reconciles.get_or_create(&failed).get(), 1);
        // On this clock it passes only when nothing else is left to do: the last run is dropped by then.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(metrics.running.get(), 0, "the last run was dropped in its middle");
    }
}
