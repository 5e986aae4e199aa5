//! How long to wait before the next try: exponential, capped, jittered.

use std::time::Duration;

use uuid::Uuid;

/// The wait before the first retry.
pub const BASE: Duration = Duration::from_millis(500);

/// The wait after `attempts` failed tries: [`BASE`] doubled each time, at most `cap`, between 75 % and 125 % of that
/// as `spread` (0 to 1) says. Without the spread, a hundred objects that failed together would come back together.
pub fn after(attempts: i64, cap: Duration, spread: f64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 30)).unwrap_or(30);
    let exponential = BASE.saturating_mul(2_u32.saturating_pow(doublings));
    exponential.min(cap).mul_f64(0.75 + spread.clamp(0.0, 1.0) / 2.0)
}

/// A number from 0 to 1 that is the object's own: the spread of its waits. It is no random number, so that a status can
/// say when the next try will be.
pub fn spread(id: Uuid) -> f64 {
    let (high, low) = id.as_u64_pair();
    // Ids that differ by little must not have spreads that differ by little.
    let mixed = (high ^ low).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    u32::try_from(mixed).map_or(0.5, |mixed| f64::from(mixed) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_spread_evenly() {
        let spreads: Vec<f64> = (1..=1000).map(|number| spread(Uuid::from_u128(number))).collect();
        for tenth in 0..10 {
            let low = f64::from(tenth) / 10.0;
            let count = spreads
                .iter()
                .filter(|spread| (low..low + 0.1).contains(*spread))
                .count();
            assert!((50..200).contains(&count), "{count} of 1000 from {low}");
        }
    }

    #[test]
    fn waits_double_up_to_the_cap_and_spread() {
        let cap = Duration::from_secs(60);
        assert_eq!(after(0, cap, 0.5), BASE);
        assert_eq!(after(3, cap, 0.5), BASE * 8);
        assert_eq!(after(1000, cap, 0.5), cap);
        assert_eq!(after(-1, cap, 0.0), BASE.mul_f64(0.75));
        assert_eq!(after(1000, cap, 1.0), cap.mul_f64(1.25));
    }
}
