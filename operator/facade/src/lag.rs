//! How long a change in the database takes until Kubernetes shows it: `threeport_mirror_lag_seconds`, and the stage
//! `mirrored`.
//!
//! It counts from when the object or its status changed, whatever is newer: an object's own row may be a year old. And it
//! counts once. A custom resource is also written where nothing changed in the database (an edit was refused, a mirror was
//! lost and is made again); that would show the age of the last change as a lag. So what every resource shows is
//! remembered. A process that was just started remembers nothing: what it finds settled counts as shown, what it has to
//! write changed while nobody looked.

use jiff::Timestamp;
use threeport_model::Metadata;

use crate::{queue::Key, remembered::Remembered};

/// The time of the change that each custom resource shows.
#[derive(Debug, Default)]
pub(crate) struct Shown(Remembered<Timestamp>);

impl Shown {
    /// The resource of `key` shows the object up to `changed`. Answers whether that is news.
    pub(crate) fn note(&self, key: Key, changed: Timestamp) -> bool {
        self.0.set(key, changed).is_none_or(|before| before < changed)
    }

    /// Up to which change the resource of `key` shows its object, as far as is remembered.
    pub(crate) fn get(&self, key: &Key) -> Option<Timestamp> {
        self.0.get(key)
    }

    /// The object is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.0.forget(key);
    }
}

/// When what is shown of an object last changed, by the database's clock.
pub(crate) fn changed(metadata: &Metadata) -> Option<Timestamp> {
    metadata.updated_at.max(metadata.status_updated_at)
}

#[cfg(test)]
mod tests {
    use threeport_model::find_kind;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_change_is_news_once() {
        let shown = Shown::default();
        let key = |name| Key::new(find_kind("tpwi").unwrap(), name);
        assert!(shown.note(key("web"), at(1)));
        assert!(
            !shown.note(key("web"), at(1)),
            "it was written for another reason"
        );
        assert!(shown.note(key("other"), at(1)));
        assert!(shown.note(key("web"), at(2)));
        shown.forget(&key("web"));
        assert!(shown.note(key("web"), at(2)), "another object of that name");
    }

    #[test]
    fn it_counts_from_the_status_where_that_changed_last() {
        let metadata = |updated, status| Metadata {
            updated_at: Some(at(updated)),
            status_updated_at: Some(at(status)),
            ..Metadata::default()
        };
        assert_eq!(changed(&metadata(1, 7)), Some(at(7)));
        assert_eq!(
            changed(&metadata(9, 7)),
            Some(at(9)),
            "and from the object where that did"
        );
        assert_eq!(changed(&Metadata::default()), None);
    }
}
