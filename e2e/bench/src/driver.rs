//! Requests as fast as clients make them: each client has a connection of its own and one request under way.

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use anyhow::Result;
use futures::{TryStreamExt, stream::FuturesUnordered};
use threeport_client::Client;

/// How many clients there are where there are many, and how many instances the loop applies at once.
pub(crate) const AT_ONCE: usize = 16;

/// How long it all took, and each request in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Driven {
    pub(crate) seconds: f64,
    pub(crate) milliseconds: Vec<f64>,
}

impl Driven {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        per_second(self.milliseconds.len(), self.seconds)
    }
}

/// So many in that time.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub(crate) fn per_second(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// Does `request` for every index below `total`. The first failure ends it.
pub(crate) async fn drive<'a, F: Future<Output = Result<()>>>(
    clients: &'a [Client],
    total: usize,
    request: impl Fn(&'a Client, usize) -> F,
) -> Result<Driven> {
    let next = AtomicUsize::new(0);
    let (next, request) = (&next, &request);
    let started = Instant::now();
    let client = |client: &'a Client| async move {
        let mut milliseconds = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= total {
                return anyhow::Ok(milliseconds);
            }
            let asked = Instant::now();
            request(client, index).await?;
            milliseconds.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
    };
    // Only who was answered is looked at: what the clients cost is taken from what they measure.
    let clients: FuturesUnordered<_> = clients.iter().map(client).collect();
    let milliseconds = clients.try_concat().await?;
    Ok(Driven {
        seconds: started.elapsed().as_secs_f64(),
        milliseconds,
    })
}
