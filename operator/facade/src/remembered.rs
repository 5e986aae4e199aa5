//! What is remembered of each object, in memory alone: a process that was just started remembers nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::queue::Key;

/// A value per key.
#[derive(Debug)]
pub(crate) struct Remembered<V>(Mutex<HashMap<Key, V>>);

impl<V> Default for Remembered<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Clone> Remembered<V> {
    /// What is remembered.
    pub(crate) fn get(&self, key: &Key) -> Option<V> {
        self.values().get(key).cloned()
    }

    /// Remembers; answers what was remembered before.
    pub(crate) fn set(&self, key: Key, value: V) -> Option<V> {
        self.values().insert(key, value)
    }

    /// Remembers, unless there is no room for another one.
    pub(crate) fn set_if_room(&self, key: Key, value: V, most: usize) {
        let mut values = self.values();
        if values.len() < most || values.contains_key(&key) {
            values.insert(key, value);
        }
    }

    /// What is remembered, and is not any more.
    pub(crate) fn take(&self, key: &Key) -> Option<V> {
        self.values().remove(key)
    }

    /// The object is gone, or this is of no more use.
    pub(crate) fn forget(&self, key: &Key) {
        self.values().remove(key);
    }

    /// Nothing of it holds any more.
    pub(crate) fn clear(&self) {
        self.values().clear();
    }

    fn values(&self) -> MutexGuard<'_, HashMap<Key, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
