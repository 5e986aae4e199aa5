//! What the agent counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::time::Instant;

/// For how long the API may be silent before the agent is no longer ready.
const SILENCE: Duration = Duration::from_secs(12);

/// How a call to the API ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `ok` or `error`.
    pub outcome: &'static str,
}

/// The agent's metrics, and when it last heard the API.
#[derive(Clone)]
pub struct Metrics {
    /// Observations that the API took.
    pub observations: Counter,
    /// Observations that the API would never take.
    pub dropped: Counter,
    /// Requests with observations.
    pub batches: Family<Outcome, Counter>,
    /// Heartbeats.
    pub heartbeats: Family<Outcome, Counter>,
    /// Observations that wait to be sent.
    pub queue: Gauge,
    /// Kinds that are watched.
    pub kinds: Gauge,
    /// The epoch; 0 before the first registration.
    pub epoch: Gauge,
    started: Instant,
    heard: Arc<AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            observations: Counter::default(),
            dropped: Counter::default(),
            batches: Family::default(),
            heartbeats: Family::default(),
            queue: Gauge::default(),
            kinds: Gauge::default(),
            epoch: Gauge::default(),
            started: Instant::now(),
            heard: Arc::new(AtomicI64::new(-1)),
        }
    }
}

impl Metrics {
    /// Registers them all.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("threeport_agent");
        registry.register(
            "observations",
            "Observations that the API took",
            self.observations.clone(),
        );
        registry.register(
            "dropped",
            "Observations that the API refused and would refuse again",
            self.dropped.clone(),
        );
        registry.register(
            "batches",
            "Requests with observations, by outcome",
            self.batches.clone(),
        );
        registry.register("heartbeats", "Heartbeats, by outcome", self.heartbeats.clone());
        registry.register("queue", "Observations that wait to be sent", self.queue.clone());
        registry.register("kinds", "Kinds that are watched", self.kinds.clone());
        registry.register(
            "epoch",
            "The epoch, 0 before the first registration",
            self.epoch.clone(),
        );
    }

    /// The API answered.
    pub fn heard(&self) {
        let now = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.heard.store(now, Ordering::Relaxed);
    }

    /// Whether the API answered of late.
    pub fn readiness(&self) -> Result<(), String> {
        let Ok(heard) = u64::try_from(self.heard.load(Ordering::Relaxed)) else {
            return Err("not registered with the API yet".to_owned());
        };
        let silent = self
            .started
            .elapsed()
            .saturating_sub(Duration::from_millis(heard));
        if silent < SILENCE {
            Ok(())
        } else {
            Err(format!("the API has not answered for {} s", silent.as_secs()))
        }
    }

    /// Counts a call.
    pub fn count(family: &Family<Outcome, Counter>, ok: bool) {
        family
            .get_or_create(&Outcome {
                outcome: if ok { "ok" } else { "error" },
            })
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Names are a contract.
    #[test]
    fn the_metrics_are_those_of_the_reference() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
        let mut registry = Registry::default();
        let metrics = Metrics::default();
        metrics.register(&mut registry);
        Metrics::count(&metrics.batches, true);
        Metrics::count(&metrics.heartbeats, true);
        threeport_telemetry::reference::check(&page, "threeport-agent", &registry).unwrap();
    }
}
