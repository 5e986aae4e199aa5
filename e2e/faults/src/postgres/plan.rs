//! Which statement gets which fault: a pure function of a seed and the statement's number.
//!
//! What is random in a run is what the seed says, and nothing else here. Where several connections are at work, which of
//! them sends the nth statement is up to their threads: a run that is told again gets the same faults at the same
//! numbers, and mostly, but not always, in the same places.

use std::{collections::BTreeMap, fmt, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server fails the statement, and with it the transaction, with SQLSTATE 40001.
    Serialization,
    /// The connection is lost before the statement reached the server.
    LostBefore,
    /// The connection is lost when the server has carried the statement out; its answer is seen by nobody.
    LostAfter,
    /// The statement reaches the server so much later, and its answer comes back so much later again.
    Delayed(Duration),
    /// So many thousandths of the answer arrive, at least a byte and never all of it; then the connection is lost.
    Truncated(u32),
}

/// A [`Fault`] without its amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// See [`Fault::Serialization`].
    Serialization,
    /// See [`Fault::LostBefore`].
    LostBefore,
    /// See [`Fault::LostAfter`].
    LostAfter,
    /// See [`Fault::Delayed`].
    Delayed,
    /// See [`Fault::Truncated`].
    Truncated,
}

/// Where it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// At COMMIT, or at a write outside of a transaction, which commits itself.
    Commit,
    /// At any other statement.
    Statement,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Serialization,
        Self::LostBefore,
        Self::LostAfter,
        Self::Delayed,
        Self::Truncated,
    ];
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Commit, Self::Statement];
}

impl Fault {
    /// Its kind.
    pub fn kind(self) -> Kind {
        match self {
            Self::Serialization => Kind::Serialization,
            Self::LostBefore => Kind::LostBefore,
            Self::LostAfter => Kind::LostAfter,
            Self::Delayed(_) => Kind::Delayed,
            Self::Truncated(_) => Kind::Truncated,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delayed(time) => write!(f, "delayed by {time:?}"),
            Self::Truncated(thousandths) => write!(f, "truncated to {thousandths}/1000"),
            other => write!(f, "{:?}", other.kind()),
        }
    }
}

/// How many of a thousand statements get which fault. A write is some twenty statements and one COMMIT, or one statement
/// that commits itself; a connection that is lost costs its client more than all else, so it is lost where it matters.
const STATEMENTS: [(Kind, u32); 5] = [
    (Kind::Serialization, 8),
    (Kind::LostBefore, 1),
    (Kind::LostAfter, 1),
    (Kind::Delayed, 8),
    (Kind::Truncated, 1),
];
const COMMITS: [(Kind, u32); 5] = [
    (Kind::Serialization, 50),
    (Kind::LostBefore, 30),
    (Kind::LostAfter, 50),
    (Kind::Delayed, 40),
    (Kind::Truncated, 30),
];
/// The longest delay on either way, in milliseconds.
const LONGEST: u64 = 30;

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan(Choice);

#[derive(Clone, Debug)]
enum Choice {
    Seeded(u64),
    Listed(BTreeMap<(Place, u64), Fault>),
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Choice::Seeded(seed))
    }

    /// Nothing goes wrong.
    pub fn quiet() -> Self {
        Self::of([])
    }

    /// Just these: the fault of the nth statement, or of the nth COMMIT, from nought.
    pub fn of(faults: impl IntoIterator<Item = (Place, u64, Fault)>) -> Self {
        let listed = faults
            .into_iter()
            .map(|(place, number, fault)| ((place, number), fault));
        Self(Choice::Listed(listed.collect()))
    }

    /// What happens to the nth statement, or the nth COMMIT, from nought.
    pub fn decide(&self, place: Place, number: u64) -> Option<Fault> {
        match &self.0 {
            Choice::Listed(faults) => faults.get(&(place, number)).copied(),
            Choice::Seeded(seed) => choose(*seed, place, number),
        }
    }
}

fn choose(seed: u64, place: Place, number: u64) -> Option<Fault> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16] = u8::from(place == Place::Commit);
    let mut random = StdRng::from_seed(bytes);
    let shares = match place {
        Place::Commit => COMMITS,
        Place::Statement => STATEMENTS,
    };
    let mut drawn = random.random_range(0..1000);
    for (kind, share) in shares {
        if drawn < share {
            return Some(match kind {
                Kind::Serialization => Fault::Serialization,
                Kind::LostBefore => Fault::LostBefore,
                Kind::LostAfter => Fault::LostAfter,
                Kind::Delayed => Fault::Delayed(Duration::from_millis(random.random_range(1..=LONGEST))),
                Kind::Truncated => Fault::Truncated(random.random_range(0..1000)),
            });
        }
        drawn -= share;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn some(plan: &Plan, place: Place, count: u64) -> Vec<Option<Fault>> {
        (0..count).map(|number| plan.decide(place, number)).collect()
    }

    #[test]
    fn a_seed_is_a_plan_and_another_seed_another() {
        for place in Place::ALL {
            assert_eq!(some(&Plan::new(7), place, 200), some(&Plan::new(7), place, 200));
            assert_ne!(some(&Plan::new(7), place, 200), some(&Plan::new(8), place, 200));
        }
        assert_ne!(
            some(&Plan::new(7), Place::Commit, 200),
            some(&Plan::new(7), Place::Statement, 200)
        );
    }

    #[test]
    fn every_kind_comes_in_every_place_and_most_statements_are_let_be() {
        for place in Place::ALL {
            let drawn = some(&Plan::new(1), place, 4000);
            let kinds: BTreeSet<Kind> = drawn.iter().flatten().map(|fault| fault.kind()).collect();
            assert_eq!(kinds, Kind::ALL.into_iter().collect());
            let faults = drawn.iter().flatten().count();
            assert!(
                (40..1200).contains(&faults),
                "{place:?}: {faults} of {}",
                drawn.len()
            );
        }
    }

    #[test]
    fn a_listed_plan_does_what_it_lists() {
        let plan = Plan::of([(Place::Commit, 1, Fault::LostAfter)]);
        assert_eq!(plan.decide(Place::Commit, 1), Some(Fault::LostAfter));
        assert_eq!(plan.decide(Place::Commit, 0), None);
        assert_eq!(plan.decide(Place::Statement, 1), None);
        assert_eq!(Plan::quiet().decide(Place::Commit, 0), None);
    }
}
