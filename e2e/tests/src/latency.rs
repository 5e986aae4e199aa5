//! Latencies of many of the same.

use std::{fmt, time::Duration};

/// How long each took.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// The latency that `percent` of all don't exceed (nearest rank); nothing of nothing.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(latencies: I) -> Self {
        let mut sorted: Vec<_> = latencies.into_iter().collect();
        sorted.sort();
        Self(sorted)
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |percent| self.percentile(percent).as_millis();
        write!(
            formatter,
            "{} of them: p50 {} ms, p99 {} ms, slowest {} ms",
            self.0.len(),
            milliseconds(50),
            milliseconds(99),
            milliseconds(100)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let latencies: Latencies = (1..=200).rev().map(Duration::from_millis).collect();
        let of = |percent| latencies.percentile(percent).as_millis();
        assert_eq!((of(50), of(99), of(100)), (100, 198, 200));
        assert_eq!(Latencies::default().percentile(99), Duration::ZERO);
    }
}
