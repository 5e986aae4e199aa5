//! Which generation of a custom resource a generation of the database stands for.
//!
//! The two are counted by different parts: a resource that is deleted and made anew starts at 1 while the database
//! goes on at 58; a restored database may stand at 3 under a resource at 57; pins move the database alone. So a
//! number of the database in a condition would let `kubectl wait` return early, or hang. What is put there instead is
//! the resource's own generation, and only for a status that covers it.
//!
//! Nothing has to be remembered for that: a mirror's specification equals the object's or it does not, and an object
//! that Kubernetes manages says in `metadata.source` which generation of which resource it has. Both are read anew
//! each time, so a restart changes nothing. Where a cluster's etcd was restored an equal generation may be another state's:
//! then the resource's status does not say that the database has it, and the specifications are compared.

use threeport_model::{ManagedBy, Object};

/// Where a custom resource stands against the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The resource's own `metadata.generation`.
    pub(crate) resource: i64,
    /// The resource's generation whose desired state the database has; nothing where it has none of this resource's.
    pub(crate) synced: Option<i64>,
    /// The database's generation of that desired state.
    pub(crate) database: i64,
    /// What the resource's status said last: `status.observedGeneration`.
    pub(crate) previous: i64,
}

impl Position {
    /// The position of a mirror, whose specification was compared with the object's.
    pub(crate) fn of_mirror(resource: i64, equal: bool, object: &Object, previous: i64) -> Self {
        Self {
            resource,
            synced: equal.then_some(resource),
            database: object.generation(),
            previous,
        }
    }

    /// The position of a resource that Kubernetes manages. `is_same_state`: whether an object that was taken from this
    /// generation was taken from what the resource says now.
    pub(crate) fn of_source(
        resource: i64,
        uid: &str,
        object: Option<&Object>,
        is_same_state: bool,
        previous: i64,
    ) -> Self {
        let owned = object.filter(|object| object.metadata.managed_by == Some(ManagedBy::Kubernetes));
        let source = owned.and_then(|object| object.metadata.source.as_ref());
        Self {
            resource,
            // A resource that is behind what was taken from it (etcd was restored) is not what the database has.
            synced: source
                .filter(|source| source.uid == uid && source.generation <= resource)
                .map(|source| source.generation)
                .filter(|generation| *generation != resource || is_same_state),
            database: object.map_or(0, Object::generation),
            previous,
        }
    }

    /// The resource's generation for what was observed at `generation` of the database.
    pub(crate) fn resource_generation(&self, generation: i64) -> i64 {
        match self.synced {
            Some(synced) if generation >= self.database => synced,
            // Seen before the database had what it has now: so before `synced`, and not before what was shown.
            Some(synced) => self.previous.min(synced - 1).max(0),
            None => self.previous.min(self.resource - 1).max(0),
        }
    }

    /// Whether the database has what the resource says now.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced == Some(self.resource)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::object::Source;

    use super::*;

    fn object(generation: i64, managed_by: ManagedBy, source: Option<(&str, i64)>) -> Object {
        let mut object = Object::new("WorkloadInstance", "web", json!({}));
        object.metadata.generation = Some(generation);
        object.metadata.managed_by = Some(managed_by);
        object.metadata.source = source.map(|(uid, generation)| Source {
            uid: uid.to_owned(),
            generation,
        });
        object
    }

    #[test]
    fn mirrors() {
        let table = [
            // resource, equal, database, previous, observed => shown
            ("covered", (3, true, 5, 3), 5, 3),
            (
                "made anew at 1 over 57: not yet observed",
                (1, true, 57, 0),
                56,
                0,
            ),
            ("made anew at 1 over 57: covered", (1, true, 57, 0), 57, 1),
            (
                "made anew, edited, 58 not yet written to it",
                (1, false, 58, 1),
                57,
                0,
            ),
            ("edited, 58 written as 2, 57 observed", (2, true, 58, 1), 57, 1),
            ("edited, 58 written as 2, 58 observed", (2, true, 58, 1), 58, 2),
            ("57 over a restored row at 3: covered", (57, true, 3, 56), 3, 57),
            (
                "57 over a restored row at 3: not covered",
                (57, true, 3, 57),
                2,
                56,
            ),
            ("a pin moved the database alone", (4, true, 9, 4), 8, 3),
            ("never observed", (1, true, 1, 0), 0, 0),
        ];
        for (what, (resource, equal, database, previous), observed, shown) in table {
            let object = object(database, ManagedBy::Api, None);
            let position = Position::of_mirror(resource, equal, &object, previous);
            assert_eq!(position.resource_generation(observed), shown, "{what}");
        }
    }

    #[test]
    fn sources() {
        let table = [
            // resource, source, database, previous, observed => shown, synced
            ("covered", (4, Some(("u", 4)), 9, 3), 9, 4, true),
            ("edited, not yet sent", (5, Some(("u", 4)), 9, 4), 9, 4, false),
            (
                "edited and sent, not yet observed",
                (5, Some(("u", 5)), 10, 4),
                9,
                4,
                true,
            ),
            (
                "edited and sent, observed",
                (5, Some(("u", 5)), 10, 4),
                10,
                5,
                true,
            ),
            (
                "made anew: the database has another incarnation",
                (1, Some(("old", 57)), 57, 0),
                57,
                0,
                false,
            ),
            ("made anew and sent", (1, Some(("u", 1)), 57, 0), 57, 1, true),
            (
                "57 over a restored row at 3",
                (57, Some(("u", 57)), 3, 57),
                3,
                57,
                true,
            ),
            (
                "57 over a restored row that knows 40",
                (57, Some(("u", 40)), 3, 57),
                3,
                40,
                false,
            ),
            (
                "the cluster was restored and is behind the database",
                (40, Some(("u", 57)), 9, 40),
                9,
                39,
                false,
            ),
            ("refused, never stored", (1, None, 0, 0), 0, 0, false),
        ];
        for (what, (resource, source, database, previous), observed, shown, synced) in table {
            let object = object(database, ManagedBy::Kubernetes, source);
            let position = Position::of_source(resource, "u", Some(&object), true, previous);
            assert_eq!(position.resource_generation(observed), shown, "{what}");
            assert_eq!(position.is_synced(), synced, "{what}");
        }
    }

    #[test]
    fn an_object_of_another_owner_covers_nothing() {
        let object = object(4, ManagedBy::Api, Some(("u", 2)));
        assert_eq!(Position::of_source(2, "u", Some(&object), true, 0).synced, None);
    }

    #[test]
    fn an_equal_generation_of_another_state_covers_nothing() {
        let object = object(9, ManagedBy::Kubernetes, Some(("u", 4)));
        let synced = |resource, is_same_state| {
            Position::of_source(resource, "u", Some(&object), is_same_state, 3).synced
        };
        assert_eq!((synced(4, true), synced(4, false)), (Some(4), None));
        assert_eq!(
            synced(5, false),
            Some(4),
            "what it was taken from before the edit"
        );
    }
}
