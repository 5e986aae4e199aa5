//! Who waits for whom, so that a missing reference or a referrer's end wakes at once those that asked for it. Only
//! latency rests on it: whoever waits also tries again by itself.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use crate::queue::Key;

/// Keys by what they wait for (`Kind/name`).
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_reference: Mutex<HashMap<String, HashSet<Key>>>,
}

impl Waiters {
    /// `key` waits for each of `references`.
    pub(crate) fn wait(&self, key: &Key, references: &BTreeSet<String>) {
        let mut map = self.by_reference.lock().unwrap_or_else(PoisonError::into_inner);
        for reference in references {
            map.entry(reference.clone()).or_default().insert(key.clone());
        }
    }

    /// Those that waited for `reference`; they wait no longer.
    pub(crate) fn take(&self, reference: &str) -> HashSet<Key> {
        self.by_reference
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(reference)
            .unwrap_or_default()
    }
}
