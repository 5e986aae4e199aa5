//! One task per epoch that takes what the watches saw and brings it to the API: a batch at a time, in order,
//! [`DEBOUNCE`] after its first observation, and again with backoff until the API has it.
//!
//! What the API refuses for what it says would be refused for ever, and with it everything behind it. So such a batch is
//! halved until it is one observation; that one is dropped, counted and logged.

use std::{sync::Arc, time::Duration};

use threeport_client::Error;
use threeport_failpoint::around;
use threeport_model::{
    Code, explain,
    protocol::agent::{MAX_OBSERVATIONS, ObservationsResponse},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    control_plane::{ControlPlane, epoch_is_over},
    heard::Heard,
    metrics::Metrics,
    outbox::{Batch, Outbox},
    world::{Event, World},
    writes,
};

/// How long the first observation waits for others to go with it.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Between tries; the first, doubled up to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The longest that a drain may take.
const DRAIN: Duration = Duration::from_secs(5);

/// Brings what was seen to the API.
pub struct Reporter {
    /// The API.
    pub api: Arc<dyn ControlPlane>,
    /// The runtime.
    pub runtime: Uuid,
    /// The epoch.
    pub epoch: i64,
    /// When the database heard of it.
    pub heard: Arc<Heard>,
    /// What is counted.
    pub metrics: Metrics,
}

/// Why reporting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The epoch is over.
    Superseded,
    /// The process is to end, and what was seen was sent (or could not be).
    Shutdown,
}

impl Reporter {
    /// Runs until the epoch or the process ends.
    pub async fn run(self, mut events: mpsc::Receiver<Event>, shutdown: CancellationToken) -> End {
        let mut world = World::default();
        let mut outbox = Outbox::default();
        let mut sequence = 0;
        let mut due = None;
        let mut delay = RETRY.0;
        let mut limit = MAX_OBSERVATIONS;
        loop {
            if due.is_none() && !outbox.is_empty() {
                due = Some(Instant::now() + DEBOUNCE);
            }
            self.metrics
                .queue
                .set(i64::try_from(outbox.len()).unwrap_or(i64::MAX));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain(outbox, sequence).await,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    sequence += 1;
                    let batch = outbox.take(limit);
                    let sent = self.send_while_watching(&batch, sequence, &mut events, &mut world, &mut outbox).await;
                    due = match sent {
                        Ok(_) => {
                            delay = RETRY.0;
                            limit = (limit * 2).min(MAX_OBSERVATIONS);
                            // What came meanwhile waits for others too: while much changes, each batch is a transaction, and
                            // what it says of one instance a run of its controller.
                            None
                        }
                        Err(error) if epoch_is_over(&error) => return End::Superseded,
                        Err(error) if is_about_content(&error) => {
                            if batch.entries() > 1 {
                                limit = batch.entries() / 2;
                                outbox.put_back(batch);
                            } else {
                                self.give_up(&batch, sequence, &error);
                            }
                            Some(Instant::now())
                        }
                        Err(error) => {
                            tracing::warn!(error = explain(&error), "failed to report observations");
                            outbox.put_back(batch);
                            let next = Instant::now() + delay;
                            delay = (delay * 2).min(RETRY.1);
                            Some(next)
                        }
                    };
                }
                event = events.recv() => match event {
                    Some(event) => world.take(event, &mut outbox),
                    None => return self.drain(outbox, sequence).await,
                },
            }
        }
    }

    /// Sends, and takes events while the answer is waited for.
    async fn send_while_watching(
        &self,
        batch: &Batch,
        sequence: i64,
        events: &mut mpsc::Receiver<Event>,
        world: &mut World,
        outbox: &mut Outbox,
    ) -> Result<ObservationsResponse, Error> {
        let mut sending = std::pin::pin!(self.send(batch, sequence));
        loop {
            tokio::select! {
                sent = &mut sending => return sent,
                Some(event) = events.recv() => world.take(event, outbox),
            }
        }
    }

    async fn send(&self, batch: &Batch, sequence: i64) -> Result<ObservationsResponse, Error> {
        let request = batch.to_request(self.epoch, sequence);
        let sent = around(writes::REPORT, self.api.observe(self.runtime, &request)).await;
        Metrics::count(&self.metrics.batches, sent.is_ok());
        if let Ok(response) = &sent {
            self.metrics.heard();
            self.heard.observed(response.seen);
            self.metrics.observations.inc_by(batch.len() as u64);
            if !response.unknown.is_empty() {
                tracing::debug!(instances = ?response.unknown, "objects of unknown instances are left alone");
            }
        }
        sent
    }

    /// Gives up on what the API will never take.
    fn give_up(&self, batch: &Batch, sequence: i64, error: &Error) {
        self.metrics.dropped.inc();
        let said = batch.to_request(self.epoch, sequence);
        let what = said.observations.first().map_or_else(
            || "what was said of a kind".to_owned(),
            |seen| format!("{} {}/{}", seen.kind, seen.namespace, seen.name),
        );
        tracing::error!(
            what,
            error = explain(error),
            "the API refuses an observation: it is dropped"
        );
    }

    async fn drain(&self, mut outbox: Outbox, mut sequence: i64) -> End {
        let all = async {
            while !outbox.is_empty() {
                sequence += 1;
                let batch = outbox.take(MAX_OBSERVATIONS);
                if let Err(error) = self.send(&batch, sequence).await {
                    tracing::warn!(error = explain(&error), "failed to report the last observations");
                    return;
                }
            }
        };
        if timeout(DRAIN, all).await.is_err() {
            tracing::warn!("the API did not take the last observations in time");
        }
        End::Shutdown
    }
}

/// Whether the API refused what was said, and would refuse it again.
fn is_about_content(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(Code::Malformed | Code::Invalid | Code::TooLarge)
    )
}

#[cfg(test)]
mod tests;
