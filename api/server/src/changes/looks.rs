//! How often the tailer looks: at once where it has time, and less often the more a look is to the database.
//!
//! What a look costs is the quickest of the last few. One that was slow alone met something else (a checkpoint, another
//! process at its heaviest): a pause as long as three of it would make a second of a third of one, for every watcher.

use std::time::Duration;

/// Many commits in a row are one look.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// Between two looks are so many times as long as one takes: under load many commits are one look.
const PAUSES_PER_LOOK: u32 = 3;
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

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
        assert_eq!([pause(100), pause(200)], [120, 300], "this is load");
        assert_eq!(pause(400), 300);
        assert_eq!([pause(400), pause(400)], [600, 1000], "it still looks");
    }
}
