//! The arithmetic of figures.

use serde::Serialize;

/// What is told of many samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Distribution {
    pub(crate) count: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) maximum: f64,
}

impl Distribution {
    /// Of samples; nothing where there are none.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        Some(Self {
            count: samples.len(),
            p50: percentile(samples, 0.50)?,
            p99: percentile(samples, 0.99)?,
            maximum: percentile(samples, 1.0)?,
        })
    }
}

/// The smallest sample that at least `part` of all samples don't exceed (the nearest rank: always a sample that was
/// seen, never one between two).
pub(crate) fn percentile(samples: &[f64], part: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank is small and not negative"
    )]
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The median; of an even number of samples the lower of the middle two.
pub(crate) fn median(samples: impl IntoIterator<Item = f64>) -> Option<f64> {
    percentile(&samples.into_iter().collect::<Vec<_>>(), 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let found = Distribution::of(&hundred).unwrap();
        assert_eq!((found.p50, found.p99, found.maximum), (50.0, 99.0, 100.0));
        let two_hundred: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&two_hundred, 0.99), Some(198.0));
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(percentile(&ten, 0.99), Some(10.0), "too few to leave one out");
        assert_eq!(percentile(&[7.0], 0.5), Some(7.0));
    }

    #[test]
    fn of_nothing_nothing_is_said() {
        assert_eq!(Distribution::of(&[]), None);
        assert_eq!(median([]), None);
    }

    #[test]
    fn the_median_is_no_mean() {
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.0));
    }
}
