//! The engine's metrics. `threeport_reconcile_total` shows which way work came; the stages show where time goes.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::queue::Found;

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From being due to being claimed, by the database's clock.
    Notify,
    /// The claim request.
    Claim,
    /// Reading what the claim doesn't hold.
    Load,
    /// Writing to the target.
    Apply,
    /// The complete request.
    Complete,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Claim => "claim",
            Self::Load => "load",
            Self::Apply => "apply",
            Self::Complete => "complete",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: String,
    trigger: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    kind: String,
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DomainLabels {
    domain: String,
}

/// Counters and histograms of all domains of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<ReconcileLabels, Counter>,
    stages: Family<StageLabels, Histogram, fn() -> Histogram>,
    undecodable: Family<DomainLabels, Counter>,
    queued: Family<DomainLabels, Gauge>,
    connected: Family<DomainLabels, Gauge>,
}

impl Metrics {
    /// New metrics, registered in `registry`, which is expected to add the prefix `threeport`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            stages: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 16))),
            undecodable: Family::default(),
            queued: Family::default(),
            connected: Family::default(),
        };
        registry.register(
            "threeport_reconcile",
            "Runs that ended",
            metrics.reconciles.clone(),
        );
        registry.register(
            "threeport_stage_seconds",
            "Time per part of a run",
            metrics.stages.clone(),
        );
        let help = "Messages that could not be decoded and were terminated";
        registry.register(
            "threeport_undecodable_messages",
            help,
            metrics.undecodable.clone(),
        );
        registry.register(
            "threeport_queue_length",
            "Keys that wait or run",
            metrics.queued.clone(),
        );
        let help = "1 while signals are received from NATS";
        registry.register("threeport_signals_connected", help, metrics.connected.clone());
        metrics
    }

    /// A run ended.
    pub fn reconciled(&self, kind: &str, found: Found, outcome: &'static str) {
        let labels = ReconcileLabels {
            kind: kind.to_owned(),
            trigger: found.as_str(),
            outcome,
        };
        self.reconciles.get_or_create(&labels).inc();
    }

    /// A part of a run ended.
    pub fn stage(&self, kind: &str, stage: Stage, took: Duration) {
        let labels = StageLabels {
            kind: kind.to_owned(),
            stage: stage.as_str(),
        };
        self.stages.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A message could not be decoded.
    pub(crate) fn undecodable(&self, domain: &str) {
        self.undecodable
            .get_or_create(&DomainLabels {
                domain: domain.to_owned(),
            })
            .inc();
    }

    /// How many keys wait or run.
    pub(crate) fn queued(&self, domain: &str, length: usize) {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        self.queued
            .get_or_create(&DomainLabels {
                domain: domain.to_owned(),
            })
            .set(length);
    }

    /// Whether signals are received.
    pub(crate) fn connected(&self, domain: &str, connected: bool) {
        self.connected
            .get_or_create(&DomainLabels {
                domain: domain.to_owned(),
            })
            .set(i64::from(connected));
    }
}
