//! One task per epoch that takes what the watches saw and brings it to the API: a batch at a time, in order, at once
//! or [`DEBOUNCE`] later, and again with backoff until the API has it.

use std::{sync::Arc, time::Duration};

use threeport_client::Error;
use threeport_model::protocol::agent::{MAX_OBSERVATIONS, ObservationsResponse};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    control_plane::{ControlPlane, epoch_is_over, explain},
    metrics::Metrics,
    outbox::{Batch, Outbox},
    world::{Event, World},
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
                    let batch = outbox.take(MAX_OBSERVATIONS);
                    let sent = self.send_while_watching(&batch, sequence, &mut events, &mut world, &mut outbox).await;
                    due = match sent {
                        Ok(_) => {
                            delay = RETRY.0;
                            // What waited meanwhile has waited long enough.
                            (!outbox.is_empty()).then(Instant::now)
                        }
                        Err(error) if epoch_is_over(&error) => return End::Superseded,
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
        let sent = self.api.observe(self.runtime, &request).await;
        Metrics::count(&self.metrics.batches, sent.is_ok());
        if let Ok(response) = &sent {
            self.metrics.heard();
            self.metrics.observations.inc_by(batch.len() as u64);
            if !response.unknown.is_empty() {
                tracing::debug!(instances = ?response.unknown, "objects of unknown instances are left alone");
            }
        }
        sent
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
