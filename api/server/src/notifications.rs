//! Telling controllers that something may have work: after each commit, and by the relay for what was not told.
//!
//! JetStream is a hint here and never waited for by a request: notices go into a bounded queue, and what does not fit,
//! or is not acknowledged, is counted and left to the relay ([`relay`]), which reads the truth every two seconds.
//! NATS being down is a degradation that metrics and the control plane's own record show, not an outage.

pub mod jetstream;
pub mod relay;
mod told;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use jetstream::{JetStream, Message};
use threeport_failpoint::around;
use threeport_model::{find_kind, protocol::notification::MANY};
use threeport_store::Notice;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, time::DelayQueue};
use uuid::Uuid;

use crate::{metrics::Metrics, writes};

/// How many notices may wait to be published.
const QUEUE: usize = 8192;
/// How many published messages may wait for their acknowledgement.
const IN_FLIGHT: usize = 512;
/// A commit that makes work for more objects than that has them wait for others. Not what an agent says at once.
const OF_ONE: usize = 500;
/// Work that becomes due later than this is left to the relay.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Where a message came from, as its header says.
pub const COMMIT: &str = "commit";
/// See [`COMMIT`].
pub const RELAY: &str = "relay";

/// Takes notices of commits; never blocks, never fails.
#[derive(Clone)]
pub struct Notifier {
    queue: mpsc::Sender<Queued>,
    wake: Arc<tokio::sync::Notify>,
    metrics: Metrics,
}

struct Queued {
    notice: Notice,
    operation: Uuid,
    origin: &'static str,
    at: Instant,
}

/// The other end of a [`Notifier`].
pub struct Queue {
    receiver: mpsc::Receiver<Queued>,
}

impl Notifier {
    /// A notifier and its queue, which [`publish`] empties. `wake` is notified at every commit.
    pub fn new(metrics: Metrics, wake: Arc<tokio::sync::Notify>) -> (Self, Queue) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue, wake, metrics }, Queue { receiver })
    }

    /// Something was committed.
    pub fn committed(&self, operation: Uuid, notices: Vec<Notice>) {
        self.wake.notify_one();
        let at = Instant::now();
        let origin = if notices.len() > OF_ONE { MANY } else { COMMIT };
        for notice in notices.into_iter().filter(|notice| notice.delay <= MAX_DELAY) {
            if self
                .queue
                .try_send(Queued {
                    notice,
                    operation,
                    origin,
                    at,
                })
                .is_err()
            {
                self.metrics.notification(COMMIT, "dropped");
            }
        }
    }
}

/// Publishes what is queued until `shutdown`.
pub async fn publish(
    queue: Queue,
    jetstream: Option<JetStream>,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let mut receiver = queue.receiver;
    let Some(jetstream) = jetstream else {
        // Without NATS the queue is emptied all the same: the sweep finds the work.
        while let Some(Some(_)) = shutdown.run_until_cancelled(receiver.recv()).await {}
        return;
    };
    let mut delayed: DelayQueue<Queued> = DelayQueue::new();
    let mut in_flight = FuturesUnordered::new();
    loop {
        let room = in_flight.len() < IN_FLIGHT;
        let queued = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(()) = in_flight.next() => continue,
            Some(expired) = delayed.next(), if room => expired.into_inner(),
            received = receiver.recv(), if room => match received {
                Some(queued) if queued.notice.delay.is_zero() => queued,
                Some(queued) if delayed.len() < QUEUE => {
                    let delay = queued.notice.delay;
                    delayed.insert(queued, delay);
                    continue;
                }
                Some(_) => {
                    metrics.notification(COMMIT, "dropped");
                    continue;
                }
                None => break,
            },
        };
        let Some(message) = message(&queued.notice, queued.origin, None, Some(queued.operation)) else {
            continue;
        };
        let due = queued.at + queued.notice.delay;
        let (jetstream, metrics) = (&jetstream, &metrics);
        in_flight.push(async move {
            let outcome = around(writes::PUBLISH, jetstream.publish(message)).await;
            metrics.notification(COMMIT, outcome.as_str());
            metrics.notified(due.elapsed());
        });
    }
    let rest = async { while in_flight.next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), rest).await;
}

fn message(
    notice: &Notice,
    origin: &'static str,
    bucket: Option<i64>,
    operation: Option<Uuid>,
) -> Option<Message> {
    let plural = find_kind(&notice.kind)?.plural;
    Some(Message {
        id: notice.id,
        plural,
        token: notice.token.clone(),
        origin,
        bucket,
        operation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_makes_work_for_hundreds_says_so() {
        for (count, expected) in [(1, COMMIT), (OF_ONE, COMMIT), (OF_ONE + 1, MANY)] {
            let (notifier, mut queue) = Notifier::new(Metrics::default(), Arc::default());
            let notice = |number: usize| Notice {
                id: Uuid::from_u128(number as u128),
                kind: "WorkloadInstance".to_owned(),
                token: "t".to_owned(),
                delay: Duration::ZERO,
            };
            notifier.committed(Uuid::nil(), (0..count).map(notice).collect());
            for _ in 0..count {
                let queued = queue.receiver.try_recv().unwrap();
                let told = message(&queued.notice, queued.origin, None, None).unwrap();
                assert_eq!(told.origin, expected, "{count}");
            }
            assert!(queue.receiver.try_recv().is_err());
        }
    }
}
