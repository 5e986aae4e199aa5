//! What the API counts. Names are part of the operators' contract: dashboards and alerts use them.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use threeport_telemetry::stages::{Stage, Stages};

type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// A finished request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    status: u16,
}

/// A kind's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

/// A transaction's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    name: String,
}

/// A transaction's name and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransactionLabels {
    name: String,
    outcome: &'static str,
}

/// Where a notification came from and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotificationLabels {
    origin: &'static str,
    outcome: &'static str,
}

/// All metrics of one process.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    oldest_pending: Family<KindLabels, FloatGauge>,
    pending: Family<KindLabels, Gauge>,
    retries: Family<NameLabels, Counter>,
    transactions: Family<TransactionLabels, Counter>,
    notifications: Family<NotificationLabels, Counter>,
    notify: Histogram,
    relay_lag: FloatGauge,
    nats_connected: Gauge,
    watchers: Gauge,
    watchers_dropped: Counter,
    authentication_disabled: Gauge,
    stages: Stages,
}

fn latency() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("threeport");
        let requests = Family::new_with_constructor(latency as fn() -> Histogram);
        let help = "How long requests took, by route, method and status";
        registry.register("http_request_duration_seconds", help, requests.clone());
        let oldest_pending = Family::default();
        let help = "For how long the oldest work of a kind has been due and is not done, what is being worked on included; by kind";
        registry.register("oldest_pending_seconds", help, oldest_pending.clone());
        let pending = Family::default();
        registry.register(
            "pending",
            "How much work is due and not done, by kind",
            pending.clone(),
        );
        let retries = Family::default();
        let help = "Transactions that were run again after a conflict or a lost connection, by name";
        registry.register("transaction_retries", help, retries.clone());
        let transactions = Family::default();
        let help = "Transactions that ended, by name and outcome (committed, rolled_back, failed); a dry run is rolled \
                    back, what is refused failed";
        registry.register("transactions", help, transactions.clone());
        let notifications = Family::default();
        registry.register(
            "notifications",
            "Notifications, by origin (commit, relay) and what became of them",
            notifications.clone(),
        );
        let notify = latency();
        registry.register(
            "notify_duration_seconds",
            "From commit to JetStream's acknowledgement",
            notify.clone(),
        );
        let relay_lag = FloatGauge::default();
        let help = "How long ago the relay last published everything that was due";
        registry.register("relay_lag_seconds", help, relay_lag.clone());
        let nats_connected = Gauge::default();
        registry.register(
            "nats_connected",
            "1 while NATS is connected",
            nats_connected.clone(),
        );
        let watchers = Gauge::default();
        registry.register("watchers", "Watches that are being served", watchers.clone());
        let watchers_dropped = Counter::default();
        registry.register(
            "watchers_dropped",
            "Watches that were ended for being slow",
            watchers_dropped.clone(),
        );
        let authentication_disabled = Gauge::default();
        let help = "1 while everybody is admin";
        registry.register("authentication_disabled", help, authentication_disabled.clone());
        let stages = Stages::default();
        stages.register(&mut registry, "stage_seconds");
        Self {
            registry: Arc::new(registry),
            requests,
            oldest_pending,
            pending,
            retries,
            transactions,
            notifications,
            notify,
            relay_lag,
            nats_connected,
            watchers,
            watchers_dropped,
            authentication_disabled,
            stages,
        }
    }
}

impl Metrics {
    /// For who renders them.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// A part of the way from a change to its status is done.
    pub fn stage(&self, kind: &str, stage: Stage, took: Duration) {
        self.stages.observe(kind, stage, took);
    }

    /// A request was answered.
    pub fn request(&self, route: &str, method: &str, status: u16, took: Duration) {
        // Methods are the caller's to invent; labels must stay few.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = known
            .iter()
            .find(|known| **known == method)
            .map_or("other", |known| known);
        let labels = RequestLabels {
            route: route.to_owned(),
            method: method.to_owned(),
            status,
        };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// How much work of a kind is due and how long the oldest waits.
    pub fn pending(&self, kind: &str, count: i64, oldest: Duration) {
        let labels = KindLabels {
            kind: kind.to_owned(),
        };
        self.pending.get_or_create(&labels).set(count);
        self.oldest_pending
            .get_or_create(&labels)
            .set(oldest.as_secs_f64());
    }

    /// Nobody knows how much work is due: what was true before is no longer told.
    pub fn pending_unknown(&self) {
        self.pending.clear();
        self.oldest_pending.clear();
    }

    /// How often the named transaction was retried since this process started.
    pub fn transaction_retries(&self, name: &str, total: u64) {
        let labels = NameLabels {
            name: name.to_owned(),
        };
        raise(&self.retries.get_or_create(&labels), total);
    }

    /// How often the named transaction was `committed`, `rolled_back` or `failed` since this process started.
    pub fn transactions(&self, name: &str, outcome: &'static str, total: u64) {
        let labels = TransactionLabels {
            name: name.to_owned(),
            outcome,
        };
        raise(&self.transactions.get_or_create(&labels), total);
    }

    /// A notification was `published`, `dropped` or `failed`.
    pub fn notification(&self, origin: &'static str, outcome: &'static str) {
        self.notifications
            .get_or_create(&NotificationLabels { origin, outcome })
            .inc();
    }

    /// How long a notification took from the commit on.
    pub fn notified(&self, took: Duration) {
        self.notify.observe(took.as_secs_f64());
    }

    /// How long ago everything that was due was published.
    pub fn relay_lag(&self, lag: Duration) {
        self.relay_lag.set(lag.as_secs_f64());
    }

    /// Whether NATS is connected.
    pub fn nats_connected(&self, connected: bool) {
        self.nats_connected.set(i64::from(connected));
    }

    /// A watch begins.
    pub fn watch_started(&self) {
        self.watchers.inc();
    }

    /// A watch ended; `slow` where it was made to.
    pub fn watch_ended(&self, slow: bool) {
        self.watchers.dec();
        if slow {
            self.watchers_dropped.inc();
        }
    }

    /// Says that everybody is admin.
    pub fn authentication_disabled(&self) {
        self.authentication_disabled.set(1);
    }
}

/// To what was counted elsewhere.
fn raise(counter: &Counter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Names are a contract.
    #[test]
    fn the_metrics_are_those_of_the_reference() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
        let metrics = Metrics::default();
        metrics.request("/healthz", "GET", 200, Duration::ZERO);
        metrics.pending("WorkloadInstance", 0, Duration::ZERO);
        metrics.transaction_retries("object_create", 0);
        metrics.transactions("object_create", "committed", 0);
        metrics.notification("commit", "published");
        metrics.stage("WorkloadInstance", Stage::Commit, Duration::ZERO);
        let registry = metrics.registry();
        threeport_telemetry::reference::check(&page, "threeport-api", &registry).unwrap();
    }
}
