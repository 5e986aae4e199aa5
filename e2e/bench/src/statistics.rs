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

/// What is told of runs, since one differs much from the next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// Of an even number of runs the lower of the middle two.
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of runs; nothing where there are none.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let samples: Vec<f64> = samples.into_iter().collect();
        Some(Self {
            median: percentile(&samples, 0.5)?,
            least: percentile(&samples, 0.0)?,
            most: percentile(&samples, 1.0)?,
        })
    }
}

/// Of what was measured once.
impl From<f64> for Spread {
    fn from(value: f64) -> Self {
        Self {
            median: value,
            least: value,
            most: value,
        }
    }
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
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn the_median_is_no_mean_and_stands_between_the_least_and_the_most() {
        let spread = Spread::of([9.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.0, 9.0));
        assert_eq!(
            Spread::of([4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median),
            Some(2.0)
        );
        assert_eq!(Spread::of([7.0]), Some(Spread::from(7.0)));
    }
}
