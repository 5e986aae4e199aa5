//! What can be measured of a facade.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use threeport_telemetry::stages::Stages;

/// Counters and histograms; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// From the database's time of a change of object or status to the write of its custom resource.
    pub mirror_lag: Histogram,
    /// The same as the stage `mirrored`.
    pub stages: Stages,
    /// Runs by what came of them.
    pub reconciles: Family<Outcome, Counter>,
    /// Keys that are worked on.
    pub running: Gauge,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// See the variants.
    pub outcome: OutcomeLabel,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "they are the label's values")]
pub enum OutcomeLabel {
    /// Nothing is left to do.
    done,
    /// It is waited for something.
    waiting,
    /// It failed and is tried again.
    failed,
}

impl Metrics {
    /// Metrics that `registry` shows; the process' `stages` are registered already.
    pub fn register(registry: &mut Registry, stages: Stages) -> Self {
        let buckets = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0];
        let metrics = Self {
            mirror_lag: Histogram::new(buckets),
            stages,
            reconciles: Family::default(),
            running: Gauge::default(),
        };
        registry.register(
            "threeport_mirror_lag_seconds",
            "From the database's time of a change of object or status to the write of its custom resource",
            metrics.mirror_lag.clone(),
        );
        registry.register(
            "threeport_facade_reconcile",
            "Runs of the facade, by outcome",
            metrics.reconciles.clone(),
        );
        registry.register(
            "threeport_facade_running",
            "Objects that the facade works on",
            metrics.running.clone(),
        );
        metrics
    }

    /// One sample of everything that has labels: it is served only then, and the test of the reference wants to see it.
    pub fn example(&self) {
        self.count(OutcomeLabel::done);
    }

    pub(crate) fn count(&self, outcome: OutcomeLabel) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
    }
}
