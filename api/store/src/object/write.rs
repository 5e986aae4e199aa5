//! Writing objects: what every way of changing desired state ends in. One statement per table, for one object and for
//! three hundred alike; history, references, pending rows and the operation in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use threeport_model::protocol::apply::{Applied, Outcome};
use uuid::Uuid;

use super::{
    change::Change,
    circle,
    plan::{self, Plan, refine},
    remove, rows, secrets,
};
use crate::{
    Store,
    draft::Draft,
    error::Result,
    operation::{Part, Record},
    pending,
    random::Random,
    reference::{self, Resolved},
    request::{Notice, Written},
    row::ObjectRow,
    secret::EncryptionKey,
    sql::Sql,
    status,
    transaction::Transaction,
};

/// What everything that writes objects needs to know.
pub(crate) struct Context<'a> {
    pub(crate) origin: Uuid,
    pub(crate) key: Option<&'a EncryptionKey>,
    pub(crate) random: &'a Random,
    operations: Operations<'a>,
}

/// Whose doing the changes are.
enum Operations<'a> {
    One(&'a Record),
    /// By the object's id.
    Each(Vec<(Uuid, &'a Record)>),
}

impl<'a> Context<'a> {
    /// All changes are one operation.
    pub(crate) fn of_one(store: &'a Store, record: &'a Record) -> Self {
        Self::new(store, Operations::One(record))
    }

    /// Each object's change is an operation of its own.
    pub(crate) fn of_each(store: &'a Store, records: Vec<(Uuid, &'a Record)>) -> Self {
        Self::new(store, Operations::Each(records))
    }

    fn new(store: &'a Store, operations: Operations<'a>) -> Self {
        Self {
            origin: store.control_plane_id(),
            key: store.encryption_key(),
            random: store.random(),
            operations,
        }
    }

    /// Results by the operation that they are of.
    pub(crate) fn by_operation<'r>(&self, results: Vec<(Outcome, &'r ObjectRow)>) -> Vec<Part<'a, 'r>> {
        match &self.operations {
            Operations::One(record) => vec![Part { record, results }],
            Operations::Each(records) => {
                let records: BTreeMap<Uuid, &Record> = records.iter().copied().collect();
                let part = |result: (Outcome, &'r ObjectRow)| {
                    Some(Part {
                        record: records.get(&result.1.id)?,
                        results: vec![result],
                    })
                };
                results.into_iter().filter_map(part).collect()
            }
        }
    }

    /// Whether an answer is kept, even that nothing was to do.
    pub(super) fn keeps_answers(&self) -> bool {
        self.records().iter().any(|record| record.idempotency.is_some())
    }

    /// The statement that forgets the operations, where they turned out to change nothing.
    pub(crate) fn forget(&self) -> Sql {
        let ids: Vec<Uuid> = self.records().iter().map(|record| record.id).collect();
        let mut sql = Sql::new("DELETE FROM operation WHERE id IN ");
        sql.list(&ids);
        sql
    }

    fn records(&self) -> Vec<&'a Record> {
        match &self.operations {
            Operations::One(record) => vec![record],
            Operations::Each(records) => records.iter().map(|(_, record)| *record).collect(),
        }
    }
}

/// What an operation did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) results: Vec<(Outcome, ObjectRow)>,
    pub(crate) notices: Vec<Notice>,
}
/// Writes changes and what follows from them: history, references, pending rows, the operation.
pub(crate) async fn write(
    transaction: &Transaction,
    context: &Context<'_>,
    mut changes: Vec<Change<'_>>,
) -> Result<Done> {
    let now = transaction.now;
    let places: Vec<Uuid> = changes.iter().map(Change::id).collect();
    changes.sort_by_key(Change::id);
    let effective: Vec<&Change<'_>> = changes
        .iter()
        .filter(|found| found.outcome() != Outcome::Unchanged)
        .collect();
    let respecified: Vec<&Change<'_>> = effective
        .iter()
        .filter(|found| found.respecified())
        .copied()
        .collect();

    let old: Vec<Uuid> = respecified
        .iter()
        .filter_map(|found| found.old.as_ref().map(|old| old.id))
        .collect();
    let targets = reference::targets(transaction, &old).await?;
    let drafts: Vec<&Draft> = respecified.iter().map(|found| &*found.draft).collect();
    let own = changes.iter().map(|found| {
        (
            (found.draft.kind.kind.to_owned(), found.draft.name.clone()),
            found.id(),
        )
    });
    let resolved = Resolved::load(transaction, context.origin, &drafts, own.collect()).await?;
    let mut references = Vec::new();
    for change in &respecified {
        let before = targets.get(&change.id()).cloned().unwrap_or_default();
        for (reference, to) in resolved.of(&change.draft, &before)? {
            references.push((change.id(), reference, to));
        }
    }
    circle::check(transaction, &respecified, &targets, &references).await?;
    let sealed = secrets::seal(transaction, context, &respecified).await?;

    let plan = Plan {
        places,
        rows: plan::rows_of(&changes, now),
        changes: &changes,
        references,
        sealed,
    };
    if effective.is_empty() && !context.keeps_answers() {
        transaction.run(context.forget()).await?;
        return Ok(plan.done(Vec::new()));
    }

    clear(transaction, &effective, &old).await?;
    let updated = plan.written(Outcome::Configured);
    let mut statements: Vec<Sql> = plan.documents(now).into_iter().collect();
    if !updated.is_empty() {
        transaction.write(std::mem::take(&mut statements)).await?;
        free_slots(transaction, &changes, &updated).await?;
        transaction
            .run(rows::update_objects(&updated, &plan.suspended()))
            .await
            .map_err(|error| refine(error, updated.iter().copied()))?;
    }
    statements.extend(plan.inserts(transaction, context)?);
    transaction
        .write(statements)
        .await
        .map_err(|error| refine(error, plan.written(Outcome::Created).into_iter().chain(updated)))?;

    let templates: Vec<Uuid> = respecified
        .iter()
        .filter(|found| found.old.is_some() && !found.draft.kind.footprint)
        .map(|found| found.id())
        .collect();
    if !templates.is_empty() {
        transaction.run(status::touch_instances(&templates, now)).await?;
    }
    let mut notices = pending::notices(transaction, &plan.due());
    notices.extend(pending::wake_referrers(transaction, &old).await?);
    for change in respecified.iter().filter(|found| found.old.is_some()) {
        if change.draft.kind.kind == "KubernetesRuntimeInstance" {
            notices
                .extend(pending::wake_runtime(transaction, change.id(), change.draft.slot.is_some()).await?);
        }
    }
    let instances: Vec<Uuid> = respecified
        .iter()
        .filter(|found| found.draft.kind.footprint)
        .map(|found| found.id())
        .collect();
    notices.extend(pending::wake_definitions(transaction, &instances).await?);
    // What is being deleted may have waited for just this reference.
    let kept: BTreeSet<Uuid> = plan.references.iter().map(|(_, _, to)| *to).collect();
    let freed: BTreeSet<Uuid> = targets.into_values().flatten().collect();
    let freed: BTreeSet<Uuid> = freed.difference(&kept).copied().collect();
    let (gone, woken) = remove::settle(transaction, freed.clone()).await?;
    notices.extend(woken);
    let waiting: Vec<Uuid> = freed.difference(&gone).copied().collect();
    notices.extend(pending::wake_deleting(transaction, &waiting).await?);
    Ok(plan.done(notices))
}

/// Removes what is written anew, and wakes the definitions that lose an instance.
async fn clear(transaction: &Transaction, effective: &[&Change<'_>], respecified: &[Uuid]) -> Result<()> {
    let relabelled: Vec<Uuid> = effective
        .iter()
        .filter(|change| change.old.is_some() && change.relabelled())
        .map(|change| change.id())
        .collect();
    let mut statements = Vec::new();
    if !relabelled.is_empty() {
        let mut delete = Sql::new("DELETE FROM label WHERE object_id IN ");
        delete.list(&relabelled);
        statements.push(delete);
    }
    if !respecified.is_empty() {
        pending::wake_definitions(transaction, respecified).await?;
        let mut delete = Sql::new("DELETE FROM reference WHERE from_id IN ");
        delete.list(respecified);
        statements.push(delete);
    }
    transaction.write(statements).await
}
/// Lets go of slots that others of the same request take: an index looks at one row at a time, in any order.
async fn free_slots(transaction: &Transaction, changes: &[Change<'_>], updated: &[&ObjectRow]) -> Result<()> {
    let before: BTreeMap<Uuid, &str> = changes
        .iter()
        .filter_map(|change| Some((change.id(), change.old.as_ref()?.slot.as_deref()?)))
        .collect();
    let moved = |row: &&&ObjectRow| {
        before
            .get(&row.id)
            .is_some_and(|slot| row.slot.as_deref() != Some(*slot))
    };
    let freed: Vec<Uuid> = updated.iter().filter(moved).map(|row| row.id).collect();
    if freed.is_empty() || updated.iter().all(|row| row.slot.is_none()) {
        return Ok(());
    }
    let mut sql = Sql::new("UPDATE object SET slot = NULL WHERE id IN ");
    sql.list(&freed);
    transaction.run(sql).await.map(drop)
}

impl Store {
    /// The answer to a write that was done now.
    pub(crate) fn written(&self, record: &Record, done: Done) -> Result<Written> {
        let results = done.results.iter().map(|(outcome, row)| {
            Ok(Applied {
                outcome: *outcome,
                object: row.served()?,
            })
        });
        Ok(Written {
            operation_id: record.id,
            results: results.collect::<Result<_>>()?,
            notices: done.notices,
            replayed: false,
        })
    }
}
