//! The engine's metrics. `threeport_reconcile_total` shows which way work came; the stages show where time goes.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
pub use threeport_telemetry::stages::{Stage, Stages};

use crate::queue::Found;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    kind: String,
    trigger: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DomainLabels {
    domain: String,
}

/// Counters and histograms of all domains of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<ReconcileLabels, Counter>,
    stages: Stages,
    undecodable: Family<DomainLabels, Counter>,
    queued: Family<DomainLabels, Gauge>,
    connected: Family<DomainLabels, Gauge>,
}

impl Metrics {
    /// New metrics, registered in `registry`; the process' `stages` are registered already.
    pub fn register(registry: &mut Registry, stages: Stages) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            stages,
            undecodable: Family::default(),
            queued: Family::default(),
            connected: Family::default(),
        };
        let help =
            "Runs that ended, by kind, by the way their work came (signal, retry, sweep) and by outcome";
        registry.register("threeport_reconcile", help, metrics.reconciles.clone());
        let help = "Messages that could not be decoded and were terminated, by domain";
        registry.register(
            "threeport_undecodable_messages",
            help,
            metrics.undecodable.clone(),
        );
        let help = "Objects that wait or are worked on in this process, by domain";
        registry.register("threeport_queue_length", help, metrics.queued.clone());
        let help = "1 while signals are received from NATS, by domain";
        registry.register("threeport_signals_connected", help, metrics.connected.clone());
        metrics
    }

    /// One sample of everything that has labels: it is served only then, and the test of the reference wants to see it.
    pub fn example(&self) {
        self.reconciled("WorkloadInstance", Found::Signal, "done");
        self.stage("WorkloadInstance", Stage::Load, Duration::ZERO);
        self.undecodable("workload");
        self.queued("workload", 0);
        self.connected("workload", true);
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
        self.stages.observe(kind, stage, took);
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
