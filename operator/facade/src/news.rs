//! What the API's watch said of objects, kept for the run that it wakes: it need not read them once more.
//!
//! A run may only use what is not older than what its resource shows. The watch tells late, and a run that was woken by
//! something else may have read newer since; would it then show the older again and the watch break off before it tells the
//! newer one, nothing would bring that back. For the same reason nothing is kept over a new list.
//!
//! Only mirrors are shown so. What Kubernetes manages is decided on by what the database has now.

use std::{io, sync::Arc};

use threeport_model::{ManagedBy, Object};

use crate::{
    lag::{self, Shown},
    queue::Key,
    remembered::Remembered,
};

/// How many are kept at most, each of at most how many bytes: what finds no room is read again.
const MOST: usize = 512;
const LARGEST: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct News(Remembered<Arc<Object>>);

impl News {
    /// The watch said this.
    pub(crate) fn heard(&self, key: &Key, object: Object) {
        self.0.forget(key);
        if object.metadata.managed_by != Some(ManagedBy::Kubernetes) && is_small(&object) {
            self.0.set_if_room(key.clone(), Arc::new(object), MOST);
        }
    }

    /// What there is to show of an object, unless it has to be read.
    pub(crate) fn take(&self, key: &Key, shown: &Shown) -> Option<Arc<Object>> {
        let object = self.0.take(key)?;
        let is_newest = lag::changed(&object.metadata) >= shown.get(key);
        is_newest.then_some(object)
    }

    /// What was said of an object does not hold any more.
    pub(crate) fn forget(&self, key: &Key) {
        self.0.forget(key);
    }

    /// Nothing that was said holds any more.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}

fn is_small(object: &Object) -> bool {
    /// Counts down to nothing, which is an error.
    struct Room(usize);
    impl io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let rest = self.0.checked_sub(bytes.len());
            self.0 = rest.ok_or(io::ErrorKind::OutOfMemory)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(LARGEST), object).is_ok()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use threeport_model::find_kind;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn object(second: i64) -> Object {
        let mut object = Object::new("WorkloadInstance", "web", json!({"definition": "web"}));
        object.metadata.updated_at = Some(at(second));
        object
    }

    #[test]
    fn only_what_is_not_older_than_what_is_shown_is_used_and_once() {
        let (news, shown) = (News::default(), Shown::default());
        let key = Key::new(find_kind("tpwi").unwrap(), "web");
        news.heard(&key, object(2));
        assert_eq!(news.take(&key, &shown).as_deref(), Some(&object(2)));
        assert_eq!(news.take(&key, &shown), None);
        shown.note(key.clone(), at(3));
        news.heard(&key, object(2));
        assert_eq!(news.take(&key, &shown), None, "a run has shown a newer one since");
        news.heard(&key, object(3));
        assert!(news.take(&key, &shown).is_some());
        news.heard(&key, object(4));
        news.clear();
        assert_eq!(news.take(&key, &shown), None, "there is a new list");
    }

    #[test]
    fn what_kubernetes_manages_and_what_is_large_is_read() {
        let (news, shown) = (News::default(), Shown::default());
        let key = Key::new(find_kind("tpwi").unwrap(), "web");
        let mut managed = object(1);
        managed.metadata.managed_by = Some(ManagedBy::Kubernetes);
        news.heard(&key, managed);
        assert_eq!(news.take(&key, &shown), None);
        let mut large = object(1);
        large.spec = json!({"yamlDocument": "a".repeat(LARGEST)});
        news.heard(&key, object(0));
        news.heard(&key, large);
        assert_eq!(news.take(&key, &shown), None);
    }
}
