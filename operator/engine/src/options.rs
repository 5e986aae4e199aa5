//! How a domain's engine works: what its process decides.

use std::time::Duration;

/// How a domain's engine works.
#[derive(Clone, Debug)]
pub struct Options {
    /// As in `workload`: for metrics and logs.
    pub domain: &'static str,
    /// Who holds the claims: one process, unique per start.
    pub holder: String,
    /// The most runs at once.
    pub concurrency: usize,
    /// How often to look for work without being told.
    pub sweep_interval: Duration,
    /// The most keys that wait or run.
    pub queue_capacity: usize,
    /// How long runs may go on after shutdown was asked for.
    pub drain: Duration,
}

impl Options {
    /// The defaults: 16 runs, a sweep every 15 s, 10,000 keys, 7 s to drain.
    pub fn new(domain: &'static str, holder: impl Into<String>) -> Self {
        Self {
            domain,
            holder: holder.into(),
            concurrency: 16,
            sweep_interval: Duration::from_secs(15),
            queue_capacity: 10_000,
            drain: Duration::from_secs(7),
        }
    }
}
