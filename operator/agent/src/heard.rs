//! When the database heard this agent last, by its own word: that goes with the next heartbeat. A database that does not
//! remember it was set back (by a restore, by a failover that lost the last commits), and lacks what was seen since.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// See the module.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Option<Timestamp>>);

impl Heard {
    /// The latest time that is known.
    pub fn last(&self) -> Option<Timestamp> {
        *self.known()
    }

    /// Observations were taken.
    pub fn observed(&self, at: Option<Timestamp>) {
        let mut known = self.known();
        *known = (*known).max(at);
    }

    /// A heartbeat was answered that said `asked`. Unless observations were taken meanwhile, its answer holds even where it
    /// is earlier: the database's clock was set back.
    pub fn answered(&self, asked: Option<Timestamp>, at: Option<Timestamp>) {
        let mut known = self.known();
        *known = if *known == asked { at } else { (*known).max(at) };
    }

    fn known(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_word_is_remembered_and_an_earlier_one_of_a_heartbeat_alone() {
        let at = |second| Timestamp::from_second(second).ok();
        let heard = Heard::default();
        heard.answered(None, at(5));
        assert_eq!(heard.last(), at(5));
        heard.observed(at(7));
        heard.observed(None);
        assert_eq!(heard.last(), at(7), "an API of a former version says nothing");
        heard.answered(at(5), at(6));
        assert_eq!(heard.last(), at(7), "it was answered late");
        heard.observed(at(3));
        assert_eq!(heard.last(), at(7));
        heard.answered(at(7), at(4));
        assert_eq!(heard.last(), at(4), "the clock was set back");
    }
}
