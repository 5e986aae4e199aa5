//! How often the tailer looks: at once where it has time, and less often the more a look is to the database.
//!
//! What a look costs is the quickest of the last few. One that was slow alone met something else (a checkpoint, another
//! process at its heaviest): a pause as long as three of it would make a second of a third of one, for every watcher.
//! Transactions met it too, and may commit that much later than what they say: so the next looks go further back.

use std::time::Duration;

/// Many commits in a row are one look.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// Between two looks are so many times as long as one takes: under load many commits are one look.
const PAUSES_PER_LOOK: u32 = 3;
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);
/// How far a look goes back at least: as long as most transactions live.
const SHORT_OVERLAP: Duration = Duration::from_millis(300);
/// A transaction is some statements, as a look is.
const OVERLAPS_PER_LOOK: u32 = 3;
/// How far at most. Those that are still later are found when all of the time is looked at that one may last.
const LONG_OVERLAP: Duration = Duration::from_secs(3);

/// How long the last looks took.
#[derive(Debug, Default)]
pub(super) struct Looks([Duration; 3]);

impl Looks {
    /// How long to pause after a look that took so long.
    pub(super) fn pause(&mut self, took: Duration) -> Duration {
        let [_, older, newer] = self.0;
        self.0 = [older, newer, took];
        let quickest = older.min(newer).min(took);
        (quickest * PAUSES_PER_LOOK).clamp(AT_MOST_EVERY, LONGEST)
    }

    /// How far back the next look goes.
    pub(super) fn overlap(&self) -> Duration {
        let [oldest, older, last] = self.0;
        let slowest = oldest.max(older).max(last);
        (slowest * OVERLAPS_PER_LOOK).clamp(SHORT_OVERLAP, LONG_OVERLAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_are_slow_are_spread_and_one_that_was_slow_alone_delays_none() {
        let mut looks = Looks::default();
        let mut pause = |took| looks.pause(Duration::from_millis(took)).as_millis();
        assert_eq!([pause(10), pause(20), pause(30)], [50, 50, 50]);
        assert_eq!(pause(400), 60, "it met something else");
        assert_eq!([pause(30), pause(40)], [90, 90]);
        assert_eq!([pause(100), pause(200)], [90, 120], "this is load");
        assert_eq!(pause(400), 300);
        assert_eq!([pause(400), pause(400)], [600, 1000], "it still looks");
    }

    #[test]
    fn looks_go_further_back_after_one_that_was_slow() {
        let mut looks = Looks::default();
        let mut overlap_after = |took| {
            looks.pause(Duration::from_millis(took));
            looks.overlap().as_millis()
        };
        assert_eq!(overlap_after(10), 300);
        assert_eq!(overlap_after(400), 1200);
        assert_eq!([overlap_after(10), overlap_after(10)], [1200, 1200]);
        assert_eq!(overlap_after(10), 300);
        assert_eq!(overlap_after(5000), 3000);
    }
}
