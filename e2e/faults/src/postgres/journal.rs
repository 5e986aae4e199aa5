//! What is to go wrong next, and what did.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use super::plan::{Fault, Kind, Place, Plan};

/// A fault that took effect.
#[derive(Clone, Debug)]
pub struct Injected {
    /// Of the statement among those of its place, as the plan counts them.
    pub number: u64,
    /// Where.
    pub place: Place,
    /// What.
    pub fault: Fault,
    /// Of the connection, since the start of the proxy.
    pub connection: u64,
    /// The statement's beginning.
    pub statement: String,
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            place,
            fault,
            connection,
            statement,
        } = self;
        write!(
            f,
            "{place:?} {number} on connection {connection}: {fault}: {statement}"
        )
    }
}

/// How often which fault took effect where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<(Place, Kind), u64>);

impl Counts {
    /// Of one kind, in one place.
    pub fn get(&self, place: Place, kind: Kind) -> u64 {
        self.0.get(&(place, kind)).copied().unwrap_or_default()
    }

    /// With those of another proxy.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (key, count) in &other.0 {
            *self.0.entry(*key).or_default() += count;
        }
        self
    }

    /// The kinds that never were, with their places.
    pub fn missing(&self) -> Vec<(Place, Kind)> {
        let all = Place::ALL
            .into_iter()
            .flat_map(|place| Kind::ALL.map(|kind| (place, kind)));
        all.filter(|key| !self.0.contains_key(key)).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in Place::ALL {
            let counts = Kind::ALL.map(|kind| format!("{kind:?} {}", self.get(place, kind)));
            let separator = if place == Place::ALL[0] { "" } else { "; " };
            write!(f, "{separator}{place:?}: {}", counts.join(", "))?;
        }
        Ok(())
    }
}

/// Shared by all connections of a proxy.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<State>);

#[derive(Debug)]
struct State {
    plan: Plan,
    seen: BTreeMap<Place, u64>,
    injected: Vec<Injected>,
    counts: Counts,
}

impl Default for State {
    fn default() -> Self {
        Self {
            plan: Plan::quiet(),
            seen: BTreeMap::new(),
            injected: Vec::new(),
            counts: Counts::default(),
        }
    }
}

impl Journal {
    pub(super) fn begin(&self, plan: Plan) {
        let mut state = self.state();
        state.plan = plan;
        state.seen.clear();
        state.injected.clear();
    }

    /// What is to happen to the statement that came just now, and its number.
    pub(super) fn next(&self, place: Place) -> (u64, Option<Fault>) {
        let mut state = self.state();
        let seen = state.seen.entry(place).or_default();
        let number = *seen;
        *seen += 1;
        (number, state.plan.decide(place, number))
    }

    pub(super) fn record(&self, injected: Injected) {
        let mut state = self.state();
        let key = (injected.place, injected.fault.kind());
        *state.counts.0.entry(key).or_default() += 1;
        state.injected.push(injected);
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    pub(super) fn injected(&self) -> Vec<Injected> {
        self.state().injected.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_begins_at_nought_and_counts_go_on() {
        let journal = Journal::default();
        assert_eq!(journal.next(Place::Commit), (0, None));
        journal.begin(Plan::of([(Place::Commit, 0, Fault::LostAfter)]));
        let (number, fault) = journal.next(Place::Commit);
        assert_eq!((number, fault), (0, Some(Fault::LostAfter)));
        assert!(journal.counts().missing().len() == 10, "decided is not injected");
        journal.record(Injected {
            number,
            place: Place::Commit,
            fault: Fault::LostAfter,
            connection: 1,
            statement: "COMMIT".to_owned(),
        });
        assert_eq!(journal.injected().len(), 1);
        journal.begin(Plan::quiet());
        assert!(journal.injected().is_empty());
        assert_eq!(journal.counts().get(Place::Commit, Kind::LostAfter), 1);
        assert!(
            !journal
                .counts()
                .missing()
                .contains(&(Place::Commit, Kind::LostAfter))
        );
    }
}
