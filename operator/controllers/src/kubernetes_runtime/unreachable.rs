//! `threeport_target_unreachable{runtime}`: which clusters don't answer, as the replica that looks at them sees it.
//!
//! Whichever replica has the claim looks at a runtime, so what another one saw some time ago is not shown any more: it would
//! stand there for ever.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};
use tokio::time::Instant;

/// Some times as long as runtimes are looked at apart.
const FRESH: Duration = Duration::from_secs(30);

/// See the module. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Unreachable(Arc<Mutex<BTreeMap<String, (bool, Instant)>>>);

impl Unreachable {
    /// A runtime was looked at.
    pub(crate) fn note(&self, runtime: &str, unreachable: bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, (_, at)| at.elapsed() < FRESH);
        seen.insert(runtime.to_owned(), (unreachable, Instant::now()));
    }

    fn fresh(&self) -> Vec<(String, bool)> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = seen.iter().filter(|(_, (_, at))| at.elapsed() < FRESH);
        fresh
            .map(|(runtime, (unreachable, _))| (runtime.clone(), *unreachable))
            .collect()
    }
}

impl Collector for Unreachable {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "1 while the API of a runtime's cluster does not answer, by runtime; only of those that this process looked \
                    at within the last 30 s.";
        let name = "threeport_target_unreachable";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (runtime, unreachable) in self.fresh() {
            let labels = [("runtime", runtime.as_str())];
            ConstGauge::new(i64::from(unreachable)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_looked_at_long_ago_is_not_shown() {
        let unreachable = Unreachable::default();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(unreachable.clone()));
        let shown = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            samples.map(str::to_owned).collect::<Vec<_>>()
        };
        unreachable.note("down", true);
        unreachable.note("up", false);
        let sample =
            |runtime, value| format!("threeport_target_unreachable{{runtime=\"{runtime}\"}} {value}");
        assert_eq!(shown(), [sample("down", 1), sample("up", 0)]);
        tokio::time::advance(FRESH / 2).await;
        unreachable.note("down", true);
        tokio::time::advance(FRESH / 2).await;
        assert_eq!(
            shown(),
            [sample("down", 1)],
            "somebody else looks at the other one"
        );
    }
}
