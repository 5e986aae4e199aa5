//! Since when what lacks something has lacked it, as seen by this process.
//!
//! Another replica may have seen the end of a lapse: one that was not seen for as long as [`LAPSE`] is forgotten, and what
//! lacks something then begins anew. Each part has its own: the restarts of several, one after the other, are no lapse of
//! any of them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// How long what was ready may lack something before that is told.
pub(super) const LAPSE: SignedDuration = SignedDuration::from_secs(15);

/// By what lacks something.
#[derive(Default)]
pub(super) struct Lapses(BTreeMap<String, Lapse>);

struct Lapse {
    begun: Timestamp,
    seen: Timestamp,
}

impl Lapses {
    /// How long the longest of what is `lacking` at `now` has lasted; what is not among it has ended.
    pub(super) fn longest<'a>(
        &mut self,
        lacking: impl IntoIterator<Item = &'a str>,
        now: Timestamp,
    ) -> SignedDuration {
        let mut before = std::mem::take(&mut self.0);
        for name in lacking {
            let known = before
                .remove(name)
                .filter(|lapse| now.duration_since(lapse.seen) < LAPSE);
            let begun = known.map_or(now, |lapse| lapse.begun);
            self.0.insert(name.to_owned(), Lapse { begun, seen: now });
        }
        let lasted = self.0.values().map(|lapse| now.duration_since(lapse.begun));
        lasted.max().unwrap_or(SignedDuration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lapse_lasts_from_when_it_was_seen_to_begin_until_it_was_seen_to_end() {
        let mut lapses = Lapses::default();
        let mut seen = |second, lacking: &[&str]| {
            let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
            lapses.longest(lacking.iter().copied(), now).as_secs()
        };
        assert_eq!(seen(0, &["nats"]), 0);
        assert_eq!(seen(10, &["nats"]), 10);
        assert_eq!(seen(20, &["api", "nats"]), 20);
        assert_eq!(seen(22, &["api"]), 2, "one restart after the other");
        assert_eq!(seen(24, &[]), 0);
        assert_eq!(seen(26, &["api"]), 0, "it was seen to end");
        // Another replica saw the end of it.
        assert_eq!(seen(26 + LAPSE.as_secs(), &["api"]), 0);
    }
}
