//! What runs beside the requests: health, re-verification, retention, metrics, and what this control plane says of
//! itself. Each is a loop with one bounded step, and ends with the shutdown token.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use threeport_model::{
    explain,
    protocol::readiness::{Degradation, NATS_UNAVAILABLE},
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{app::App, notifications::jetstream::JetStream, own_record};

const HEALTH_EVERY: Duration = Duration::from_secs(2);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
const SILENT: &str = "the database does not answer";
const DISCONNECTED: &str = "NATS is not connected: controllers find work by their sweep";
const VERIFY_EVERY: Duration = Duration::from_secs(5);
/// How many objects become due for re-verification in one transaction.
const VERIFY_BATCH: u32 = 50;
/// The most such transactions in one step: 60 objects a second. Of 50,000 objects, each of which is due every 20
/// minutes on average, 42 are. Where many are overdue (nobody verified them while the API was away, say), they become due
/// within a quarter of an hour, and not at once: controllers do as much of it as they can, behind all other work, but each
/// run looks into a cluster, and what waits is what a sweep walks over.
const VERIFY_BATCHES: usize = 6;
const PURGE_EVERY: Duration = Duration::from_secs(60);
const METRICS_EVERY: Duration = Duration::from_secs(5);

/// Runs `step` at once and then every `period`, until `shutdown`.
async fn every<F: Future<Output = ()>>(
    period: Duration,
    shutdown: &CancellationToken,
    mut step: impl FnMut() -> F,
) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        if shutdown.run_until_cancelled(step()).await.is_none() {
            return;
        }
    }
}

/// The same for what reads and writes the database, but while its schema is one that this program can't serve.
async fn every_while_fit<F: Future<Output = ()>>(
    app: &App,
    period: Duration,
    shutdown: &CancellationToken,
    mut step: impl FnMut() -> F,
) {
    every(period, shutdown, || {
        let work = app.health.fit().is_ok().then(&mut step);
        async {
            if let Some(work) = work {
                work.await;
            }
        }
    })
    .await;
}

/// Runs `batch` until it says that there is no more to do, or fails, or `most` were run. What has failed is due again with
/// the next step.
async fn in_batches<F: Future<Output = threeport_store::Result<bool>>>(
    most: usize,
    what: &str,
    mut batch: impl FnMut() -> F,
) {
    for _ in 0..most {
        match batch().await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::warn!("failed to {what}: {}", explain(&error));
                break;
            }
        }
    }
}

/// Whether database and schema are what this program needs, and whether NATS is there. A database that does not answer says
/// nothing of its schema.
pub async fn health(app: App, jetstream: Option<JetStream>, shutdown: CancellationToken) {
    every(HEALTH_EVERY, &shutdown, || async {
        let ready = match tokio::time::timeout(HEALTH_TIMEOUT, app.store.check()).await {
            Ok(Ok(())) => {
                app.health.set_fit(Ok(()));
                Ok(())
            }
            Ok(Err(error)) => {
                if error.is_about_schema() {
                    app.health.set_fit(Err(error.to_string()));
                }
                tracing::warn!("not ready: {}", explain(&error));
                // What is behind it is not for whoever asks the probe.
                Err(error.to_string())
            }
            Err(_) => {
                tracing::warn!("not ready: {SILENT}");
                Err(SILENT.to_owned())
            }
        };
        app.health.set_ready(ready);
        let connected = jetstream.as_ref().is_some_and(JetStream::is_connected);
        let mut degraded = Vec::new();
        if !connected {
            degraded.push(Degradation::new(NATS_UNAVAILABLE, DISCONNECTED));
        }
        app.health.set_degraded(degraded, Instant::now());
    })
    .await;
}

/// Every object is looked at again from time to time.
pub async fn verification(app: App, shutdown: CancellationToken) {
    every_while_fit(&app, VERIFY_EVERY, &shutdown, || verify(&app)).await;
}

/// One step of it.
pub async fn verify(app: &App) {
    in_batches(VERIFY_BATCHES, "plan re-verification", || async {
        Ok(app.store.pending_verify(VERIFY_BATCH).await?.more())
    })
    .await;
}

/// What is past its retention goes, batch by batch.
pub async fn retention(app: App, shutdown: CancellationToken) {
    const BATCHES: usize = 20;
    every_while_fit(&app, PURGE_EVERY, &shutdown, || {
        in_batches(BATCHES, "purge what is past its retention", || async {
            Ok(app.store.purge().await?.more())
        })
    })
    .await;
}

/// What only the database knows.
pub async fn metrics(app: App, shutdown: CancellationToken) {
    every(METRICS_EVERY, &shutdown, || async {
        for counted in app.store.transaction_counts() {
            let metrics = app.metrics();
            metrics.transaction_retries(counted.name, counted.retried);
            metrics.transactions(counted.name, "committed", counted.committed);
            metrics.transactions(counted.name, "rolled_back", counted.rolled_back);
            metrics.transactions(counted.name, "failed", counted.failed);
        }
        match app.store.pending_oldest().await {
            Ok(oldest) => {
                for kind in threeport_model::kinds::ALL {
                    let found = oldest.iter().find(|pending| pending.kind == kind.kind);
                    let (count, age) =
                        found.map_or((0, Duration::ZERO), |pending| (pending.count, pending.age));
                    app.metrics().pending(kind.kind, count, age);
                }
            }
            Err(error) => {
                app.metrics().pending_unknown();
                tracing::warn!("failed to read how much work is due: {}", explain(&error));
            }
        }
    })
    .await;
}

/// The control plane's own record says what is degraded.
pub async fn own_record(app: App, authentication_disabled: bool, shutdown: CancellationToken) {
    every_while_fit(&app, own_record::EVERY, &shutdown, || async {
        if let Err(error) = own_record::report(&app, authentication_disabled, Instant::now()).await {
            tracing::debug!(
                "failed to write the control plane's own status: {}",
                explain(&error)
            );
        }
    })
    .await;
}
