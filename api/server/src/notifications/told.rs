//! What JetStream acknowledged lately, for this replica: the relay does not repeat it at once. Under load work waits for
//! longer than the relay does, and telling of all of it every two seconds would make it wait longer still.
//!
//! All of it is forgotten where the stream may be another one: what that has was not told by us.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use uuid::Uuid;

/// For how long.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// The most that is remembered: more than that is told again.
const MOST: usize = 16_384;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<Uuid, (String, Instant)>>);

impl Told {
    /// JetStream has the message of that object and token.
    pub(super) fn note(&self, id: Uuid, token: String, now: Instant) {
        let mut told = self.told();
        if told.len() >= MOST {
            told.retain(|_, (_, at)| is_fresh(*at, now));
            if told.len() >= MOST {
                told.clear();
            }
        }
        told.insert(id, (token, now));
    }

    /// Whether it has had it for so short a time that it need not be told again.
    pub(super) fn is_known(&self, id: Uuid, token: &str, now: Instant) -> bool {
        let told = self.told();
        told.get(&id)
            .is_some_and(|(known, at)| known == token && is_fresh(*at, now))
    }

    /// It may have nothing of what it had.
    pub(super) fn forget(&self) {
        self.told().clear();
    }

    fn told(&self) -> MutexGuard<'_, HashMap<Uuid, (String, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < REPEAT_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_known_for_a_while_by_its_token() {
        let (told, now, id) = (Told::default(), Instant::now(), Uuid::from_u128(1));
        assert!(!told.is_known(id, "a", now));
        told.note(id, "a".to_owned(), now);
        assert!(told.is_known(id, "a", now));
        assert!(!told.is_known(id, "b", now), "new work has a new token");
        assert!(!told.is_known(id, "a", now + REPEAT_AFTER));
        told.forget();
        assert!(!told.is_known(id, "a", now));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let (told, now) = (Told::default(), Instant::now());
        for number in 0..MOST as u128 * 2 {
            told.note(Uuid::from_u128(number), "a".to_owned(), now);
        }
        assert!(told.told().len() <= MOST);
    }
}
