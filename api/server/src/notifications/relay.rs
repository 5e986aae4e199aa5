//! The relay: publishes what is pending, due and unclaimed, at start and then every two seconds, in every replica; what
//! this replica told a moment ago ([`super::told`]) apart.
//!
//! So a notification that was lost (a crash after the commit, NATS down, JetStream wiped) costs seconds. Replicas don't
//! agree on anything: the message id has a time bucket, and JetStream drops what another replica published in it.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use threeport_failpoint::around;
use threeport_model::explain;
use threeport_store::Store;
use tokio_util::sync::CancellationToken;

use super::{
    RELAY,
    jetstream::{JetStream, Outcome},
    message,
};
use crate::{metrics::Metrics, writes};

/// How often it looks.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Work that is younger is the commit's own signal to tell.
const OLDER_THAN: Duration = Duration::from_secs(1);
/// The same work is told again after so many seconds.
const BUCKET_SECONDS: i64 = 10;
const BATCH: u32 = 2000;
const AT_ONCE: usize = 64;

/// Runs until `shutdown`.
pub async fn run(store: Store, jetstream: JetStream, metrics: Metrics, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut complete = Instant::now();
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        if once(&store, &jetstream, &metrics).await {
            complete = Instant::now();
        }
        metrics.relay_lag(complete.elapsed());
    }
}

/// One round; whether everything that is due is published.
async fn once(store: &Store, jetstream: &JetStream, metrics: &Metrics) -> bool {
    if !jetstream.is_connected() {
        return false;
    }
    let due = match store.pending_due(BATCH, OLDER_THAN).await {
        Ok(due) => due,
        Err(error) => {
            tracing::warn!("failed to read what is due: {}", explain(&error));
            return false;
        }
    };
    let bucket = jiff::Timestamp::now().as_second() / BUCKET_SECONDS;
    let messages: Vec<_> = due
        .iter()
        .filter(|notice| !jetstream.knows(notice.id, &notice.token))
        .filter_map(|notice| message(notice, RELAY, Some(bucket), None))
        .collect();
    let publish = |message| async {
        let outcome = around(writes::RELAY, jetstream.publish(message)).await;
        metrics.notification(RELAY, outcome.as_str());
        outcome == Outcome::Published
    };
    let published = stream::iter(messages).map(publish).buffer_unordered(AT_ONCE);
    published
        .fold(true, |all, one| std::future::ready(all && one))
        .await
        && due.len() < BATCH as usize
}
