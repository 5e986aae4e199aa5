//! What changes of objects insert, planned: statements that read nothing, and the answer.
//!
//! Objects that are new and refer to nothing are no more than that ([`new`]), so they can be written in one statement.

use std::collections::{BTreeMap, BTreeSet};

use threeport_model::{
    Kind, Reference,
    kinds::KubernetesRuntimeInstance,
    protocol::{apply::Outcome, claim::Trigger},
};
use uuid::Uuid;

use super::{
    change::Change,
    row::ObjectRow,
    rows, secrets,
    write::{Context, Done},
};
use crate::{
    database::{
        sql::Sql,
        transaction::{Stamp, violated},
    },
    document,
    error::{Error, Result},
    operation, pending, reference,
    request::Notice,
    revision,
    secret::{seal::Sealed, table},
};

/// Changes and what follows from them.
pub(crate) struct Plan<'p, 'c> {
    /// Ids in the order of the request.
    pub(crate) places: Vec<Uuid>,
    /// By their ids, as all below: rows are written in that order.
    pub(crate) changes: &'p [Change<'c>],
    pub(crate) rows: Vec<(Outcome, ObjectRow)>,
    pub(crate) references: Vec<(Uuid, Reference, Uuid)>,
    pub(crate) sealed: Vec<(Uuid, i64, Sealed)>,
}

/// The statements that make new objects, which refer to nothing and show no value that was sealed before.
pub(crate) fn new(
    stamp: &Stamp,
    context: &Context<'_>,
    mut changes: Vec<Change<'_>>,
) -> Result<(Vec<Sql>, Done)> {
    let places = changes.iter().map(Change::id).collect();
    changes.sort_by_key(Change::id);
    let mut sealed = Vec::new();
    for change in &changes {
        secrets::seal_new(context, change, &mut sealed)?;
    }
    let plan = Plan {
        places,
        rows: rows_of(&changes, stamp.now),
        changes: &changes,
        references: Vec::new(),
        sealed,
    };
    let mut statements: Vec<Sql> = plan.documents(stamp.now).into_iter().collect();
    statements.extend(plan.inserts(stamp, context)?);
    let notices = pending::notices(stamp, &plan.due());
    Ok((statements, plan.done(notices)))
}

/// The rows as they will be: each as is read of it once all of them are written.
pub(crate) fn rows_of(changes: &[Change<'_>], now: i64) -> Vec<(Outcome, ObjectRow)> {
    let row = |change: &Change<'_>| match (&change.old, change.outcome()) {
        (Some(old), Outcome::Unchanged) => (Outcome::Unchanged, old.clone()),
        (_, outcome) => (outcome, change.row(now)),
    };
    let mut rows: Vec<(Outcome, ObjectRow)> = changes.iter().map(row).collect();
    let written = rows
        .iter()
        .map(|(_, row)| (row.id, (row.generation, row.updated_at)));
    let written: BTreeMap<Uuid, (i64, i64)> = written.collect();
    for (_, row) in &mut rows {
        row.see_definition(&written);
    }
    rows
}

/// The ids of what was there before.
pub(crate) fn ids_of_old<'c>(changes: impl Iterator<Item = &'c Change<'c>>) -> Vec<Uuid> {
    changes
        .filter_map(|change| change.old.as_ref().map(|old| old.id))
        .collect()
}

impl Plan<'_, '_> {
    /// The documents that are new to some object.
    pub(crate) fn documents(&self, now: i64) -> Option<Sql> {
        let documents: BTreeMap<&str, &document::Document> = self
            .respecified()
            .filter_map(|change| change.draft.document.as_ref())
            .map(|document| (document.digest.as_str(), document))
            .collect();
        document::insert(&documents.into_values().collect::<Vec<_>>(), now)
    }

    /// All other rows, and what ends the operations.
    pub(crate) fn inserts(&self, stamp: &Stamp, context: &Context<'_>) -> Result<impl Iterator<Item = Sql>> {
        let created = self.written(Outcome::Created);
        let labelled: Vec<&ObjectRow> = self
            .rows
            .iter()
            .zip(self.changes)
            .filter(|((outcome, _), change)| *outcome != Outcome::Unchanged && change.relabelled())
            .map(|((_, row), _)| row)
            .collect();
        let references: Vec<_> = self
            .references
            .iter()
            .map(|(from, reference, to)| (*from, reference, *to))
            .collect();
        let sealed: Vec<_> = self
            .sealed
            .iter()
            .map(|(id, generation, sealed)| (*id, *generation, sealed))
            .collect();
        let rows: BTreeMap<Uuid, &(Outcome, ObjectRow)> =
            self.rows.iter().map(|found| (found.1.id, found)).collect();
        let ordered = self.places.iter().filter_map(|id| rows.get(id));
        let parts = context.by_operation(ordered.map(|(outcome, row)| (*outcome, row)).collect());
        let revised = self.respecified().map(Change::id).collect();
        let statements = [
            rows::insert_objects(context.origin, &created, &self.suspended())?,
            rows::insert_statuses(&created, stamp.now),
            rows::insert_labels(&labelled),
            reference::insert(&references),
            revision::insert(&parts, &revised),
            table::insert(&sealed),
            pending::insert(stamp, &self.due(), Trigger::Change),
            operation::finish(&parts, operation::changed)?,
        ];
        Ok(statements.into_iter().flatten())
    }

    /// The rows that come to be so.
    pub(crate) fn written(&self, as_what: Outcome) -> Vec<&ObjectRow> {
        let rows = self.rows.iter().filter(|(outcome, _)| *outcome == as_what);
        rows.map(|(_, row)| row).collect()
    }

    /// Those whose specification is suspended.
    pub(crate) fn suspended(&self) -> BTreeSet<Uuid> {
        let suspended = self.changes.iter().filter(|change| change.draft.suspended);
        suspended.map(Change::id).collect()
    }

    /// What has work from now on.
    pub(crate) fn due(&self) -> Vec<(Uuid, &'static str)> {
        self.respecified()
            .map(|change| (change.id(), change.draft.kind.kind))
            .collect()
    }

    /// Whether nothing of it was there before.
    pub(crate) fn is_new(&self) -> bool {
        self.changes.iter().all(|change| change.old.is_none())
    }

    /// The definitions of instances, where all is new: nothing that is written is of what counts in these.
    pub(crate) fn counting(&self) -> Vec<Uuid> {
        if !self.is_new() {
            return Vec::new();
        }
        let instances = self.respecified().filter(|change| change.draft.kind.footprint);
        let instances: BTreeSet<Uuid> = instances.map(Change::id).collect();
        let definitions = self
            .references
            .iter()
            .filter(|(from, found, _)| found.field == reference::DEFINITION && instances.contains(from));
        let definitions: BTreeSet<Uuid> = definitions.map(|(_, _, to)| *to).collect();
        definitions.into_iter().collect()
    }

    /// What is specified anew, new objects too.
    pub(crate) fn respecified(&self) -> impl Iterator<Item = &Change<'_>> {
        self.changes.iter().filter(|change| change.respecified())
    }

    /// What is specified anew and was there before.
    pub(crate) fn rewritten(&self) -> Vec<Uuid> {
        ids_of_old(self.respecified())
    }

    /// The runtimes among those, and whether they are the default one from now on.
    pub(crate) fn runtimes(&self) -> Vec<(Uuid, bool)> {
        let runtimes = self.respecified().filter(|change| {
            change.old.is_some() && change.draft.kind.kind == KubernetesRuntimeInstance::KIND
        });
        runtimes
            .map(|change| (change.id(), change.draft.slot.is_some()))
            .collect()
    }

    /// The answer.
    pub(crate) fn done(self, notices: Vec<Notice>) -> Done {
        let mut by_id: BTreeMap<Uuid, (Outcome, ObjectRow)> =
            self.rows.into_iter().map(|row| (row.1.id, row)).collect();
        Done {
            results: self.places.iter().filter_map(|id| by_id.remove(id)).collect(),
            notices,
        }
    }
}

/// Says which object a violated constraint speaks of.
pub(crate) fn refine<'r>(error: Error, rows: impl IntoIterator<Item = &'r ObjectRow>) -> Error {
    let Error::Database(database) = &error else {
        return error;
    };
    let rows: Vec<&ObjectRow> = rows.into_iter().collect();
    let what = || rows.first().map_or_else(String::new, |row| row.reference());
    match violated(database).as_deref() {
        Some("object_name") => Error::AlreadyExists { what: what() },
        Some("object_slot") => {
            let holder = rows.iter().find(|row| row.slot.is_some());
            Error::SlotTaken {
                what: holder.map_or_else(what, |row| row.reference()),
                slot: holder.and_then(|row| row.slot.clone()).unwrap_or_default(),
            }
        }
        _ => error,
    }
}
