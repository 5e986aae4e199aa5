//! The keyed queue: plain data, no clock, no lock, no I/O. Times are milliseconds on any one clock.
//!
//! A key is in one of three states: *ready* (in the order class, then arrival), *later* (ready at a time), or *taken*
//! (being claimed or running). That it is in at most one of them is what makes two runs of one key impossible; that
//! `finish` is the only way out of taken, and puts a dirty key back, is what makes nothing get lost.
//!
//! Where one commit made work for hundreds (an edit of what thousands of instances are of), whoever changes anything else
//! would wait until they are through. So these go behind, but for one of [`SHARE`], which they get however much is fresh.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

/// What goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Somebody changed something.
    Fresh,
    /// The same, and it made work for hundreds.
    Many,
    /// It failed or waits.
    Retry,
    /// It is looked at again from time to time.
    Verification,
}

/// Which way the work came: the label `trigger` of `threeport_reconcile_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Found {
    /// A message from a commit.
    Signal,
    /// A message from the relay, or an own timer.
    Retry,
    /// The sweep.
    Sweep,
}

impl Found {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Retry => "retry",
            Self::Sweep => "sweep",
        }
    }
}

/// What became of an offered key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It was not there and is now.
    Queued,
    /// It waits already.
    Merged,
    /// It runs, and runs again afterwards.
    Dirty,
    /// No room: offer it again later.
    Full,
}

/// Of so many keys that are taken one is of [`Class::Many`], where there are any.
const SHARE: usize = 4;

/// How often a key is tried again that somebody else holds, or that is due a little later.
const MAX_BUSY: u8 = 8;

#[derive(Clone, Copy, Debug)]
struct Work {
    class: Class,
    found: Found,
    busy: u8,
}

impl Work {
    fn new(class: Class, found: Found) -> Self {
        Self {
            class,
            found,
            busy: 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Ready(Work, u64),
    Later(Work, u64),
    Taken { work: Work, dirty: Option<Work> },
}

/// See the module.
#[derive(Debug)]
pub struct Queue<K> {
    capacity: usize,
    states: HashMap<K, State>,
    ready: BTreeMap<(Class, u64), K>,
    later: BTreeSet<(u64, K)>,
    arrivals: u64,
    /// How many were taken since a share was due.
    taken: usize,
}

impl<K: Copy + Eq + Hash + Ord> Queue<K> {
    /// A queue for at most `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            states: HashMap::new(),
            ready: BTreeMap::new(),
            later: BTreeSet::new(),
            arrivals: 0,
            taken: 0,
        }
    }

    /// How many keys it holds, taken ones included.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// When the first key that waits for a time is ready.
    pub fn next_due(&self) -> Option<u64> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Whether a key is ready at `now`.
    pub fn has_ready(&self, now: u64) -> bool {
        !self.ready.is_empty() || self.next_due().is_some_and(|at| at <= now)
    }

    /// Says that `key` may have work.
    pub fn offer(&mut self, key: K, class: Class, found: Found) -> Offered {
        let offered = Work::new(class, found);
        match self.states.get(&key).copied() {
            None if self.states.len() >= self.capacity => Offered::Full,
            None => {
                self.make_ready(key, offered);
                Offered::Queued
            }
            Some(State::Ready(work, arrival)) => {
                if class < work.class {
                    self.ready.remove(&(work.class, arrival));
                    self.ready.insert((class, arrival), key);
                    self.states.insert(key, State::Ready(offered, arrival));
                }
                Offered::Merged
            }
            Some(State::Later(_, at)) => {
                self.later.remove(&(at, key));
                self.make_ready(key, offered);
                Offered::Merged
            }
            Some(State::Taken { work, dirty }) => {
                let better = dirty.filter(|dirty| dirty.class <= class).unwrap_or(offered);
                self.states.insert(
                    key,
                    State::Taken {
                        work,
                        dirty: Some(better),
                    },
                );
                Offered::Dirty
            }
        }
    }

    /// Takes up to `limit` keys that are ready at `now` and `eligible`: the most urgent, and the share of [`Class::Many`].
    pub fn take(&mut self, limit: usize, now: u64, eligible: impl Fn(&K) -> bool) -> Vec<(K, Found)> {
        while let Some(&(at, key)) = self.later.first().filter(|(at, _)| *at <= now) {
            self.later.remove(&(at, key));
            if let Some(State::Later(work, _)) = self.states.get(&key).copied() {
                self.make_ready(key, work);
            }
        }
        let share = self.taken.saturating_add(limit) / SHARE;
        let many = self.ready.range((Class::Many, 0)..(Class::Retry, 0));
        let many = many.filter(|(_, key)| eligible(key)).take(share);
        let mut taken: BTreeMap<(Class, u64), K> = many.map(|(order, key)| (*order, *key)).collect();
        for (order, key) in &self.ready {
            if taken.len() >= limit {
                break;
            }
            if eligible(key) {
                taken.insert(*order, *key);
            }
        }
        self.taken = self.taken.saturating_add(taken.len()) % SHARE;
        taken
            .into_iter()
            .filter_map(|(order, key)| {
                self.ready.remove(&order);
                let Some(State::Ready(work, _)) = self.states.get(&key).copied() else {
                    return None;
                };
                self.states.insert(key, State::Taken { work, dirty: None });
                Some((key, work.found))
            })
            .collect()
    }

    /// Takes `key`, which a sweep was given; says which way its work came, or nothing where it is taken already.
    pub fn adopt(&mut self, key: K, class: Class) -> Option<Found> {
        let work = match self.states.get(&key).copied() {
            Some(State::Taken { .. }) => return None,
            Some(State::Ready(work, arrival)) => {
                self.ready.remove(&(work.class, arrival));
                work
            }
            Some(State::Later(work, at)) => {
                self.later.remove(&(at, key));
                work
            }
            None => Work::new(class, Found::Sweep),
        };
        self.states.insert(key, State::Taken { work, dirty: None });
        Some(work.found)
    }

    /// Ends a run: the key is ready again if it was marked dirty, else at `again` if that is given, else gone.
    pub fn finish(&mut self, key: K, again: Option<(u64, Class)>) {
        let Some(State::Taken { dirty, .. }) = self.states.get(&key).copied() else {
            return;
        };
        self.states.remove(&key);
        match (dirty, again) {
            // The relay repeating what is known already is no reason to skip a wait.
            (Some(work), Some((at, class))) if work.class >= Class::Retry => {
                self.make_later(key, Work::new(class.min(work.class), Found::Retry), at);
            }
            (Some(work), _) => self.make_ready(key, work),
            (None, Some((at, class))) => self.make_later(key, Work::new(class, Found::Retry), at),
            (None, None) => {}
        }
    }

    /// The claim of a taken key was not given, since it is held elsewhere or due later: it is ready again at `at`, a
    /// few times. After that its pending row brings it back (relay, sweep).
    pub fn busy(&mut self, key: K, at: u64) {
        let Some(State::Taken { work, dirty }) = self.states.get(&key).copied() else {
            return;
        };
        self.states.remove(&key);
        match dirty {
            Some(work) => self.make_later(key, work, at),
            None if work.busy < MAX_BUSY && work.found != Found::Sweep => {
                self.make_later(
                    key,
                    Work {
                        busy: work.busy + 1,
                        ..work
                    },
                    at,
                );
            }
            None => {}
        }
    }

    fn make_ready(&mut self, key: K, work: Work) {
        self.arrivals += 1;
        self.ready.insert((work.class, self.arrivals), key);
        self.states.insert(key, State::Ready(work, self.arrivals));
    }

    fn make_later(&mut self, key: K, work: Work, at: u64) {
        self.later.insert((at, key));
        self.states.insert(key, State::Later(work, at));
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
