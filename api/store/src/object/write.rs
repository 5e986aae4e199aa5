//! Writing objects: what every way of changing desired state ends in. One statement per table, for one object and for
//! three hundred alike (only runtimes wake their instances one after the other); history, references, pending rows and the
//! operation in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use threeport_model::protocol::apply::{Applied, Outcome};
use uuid::Uuid;

use super::{
    change::Change,
    circle, cluster,
    draft::Draft,
    plan::{self, Plan, refine},
    remove,
    row::ObjectRow,
    rows, secrets,
};
use crate::{
    Store,
    database::{random::Random, sql::Sql, transaction::Transaction},
    error::Result,
    operation::{Part, Record},
    pending,
    reference::{self, Resolved},
    request::{Notice, Written},
    secret::EncryptionKey,
    status,
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

/// What each object referred to before.
type Before = BTreeMap<Uuid, BTreeSet<Uuid>>;

/// Writes changes and what follows from them: history, references, pending rows, the operation.
pub(crate) async fn write(
    transaction: &Transaction,
    context: &Context<'_>,
    mut changes: Vec<Change<'_>>,
) -> Result<Done> {
    let places: Vec<Uuid> = changes.iter().map(Change::id).collect();
    changes.sort_by_key(Change::id);
    let (plan, before) = resolve(transaction, context, places, &changes).await?;
    if !changes.iter().any(Change::is_effective) && !context.keeps_answers() {
        transaction.run(context.forget()).await?;
        return Ok(plan.done(Vec::new()));
    }
    let mut notices = store(transaction, context, &plan).await?;
    notices.extend(wake(transaction, &plan, before).await?);
    Ok(plan.done(notices))
}

/// What the changes refer to, which must be there, and the secret values that they bring.
async fn resolve<'p, 'c>(
    transaction: &Transaction,
    context: &Context<'_>,
    places: Vec<Uuid>,
    changes: &'p [Change<'c>],
) -> Result<(Plan<'p, 'c>, Before)> {
    let mut plan = Plan {
        places,
        rows: plan::rows_of(changes, transaction.now),
        changes,
        references: Vec::new(),
        sealed: Vec::new(),
    };
    let before = reference::targets(transaction, &plan.rewritten()).await?;
    let respecified: Vec<&Change<'_>> = plan.respecified().collect();
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
        let before = before.get(&change.id()).cloned().unwrap_or_default();
        for (reference, to) in resolved.of(&change.draft, &before)? {
            references.push((change.id(), reference, to));
        }
    }
    circle::check(transaction, &respecified, &before, &references).await?;
    plan.sealed = secrets::seal(transaction, context, &respecified).await?;
    plan.references = references;
    Ok((plan, before))
}

/// Writes the rows, and ends the operations. What is written anew is removed before; what others refer to comes first.
/// Where all is new, the definitions of instances are woken in the same round trip.
async fn store(transaction: &Transaction, context: &Context<'_>, plan: &Plan<'_, '_>) -> Result<Vec<Notice>> {
    let mut notices = clear(transaction, plan).await?;
    let updated = plan.written(Outcome::Configured);
    let mut statements: Vec<Sql> = plan.documents(transaction.now).into_iter().collect();
    if !updated.is_empty() {
        transaction.write(std::mem::take(&mut statements)).await?;
        free_slots(transaction, plan.changes, &updated).await?;
        transaction
            .run(rows::update_objects(&updated, &plan.suspended()))
            .await
            .map_err(|error| refine(error, updated.iter().copied()))?;
    }
    statements.extend(plan.inserts(transaction, context)?);
    let counting = plan.counting();
    let wakes = (!counting.is_empty()).then(|| pending::of_counting(transaction, &counting));
    let woken = transaction
        .write_and_read(statements, wakes.into_iter().collect())
        .await
        .map_err(|error| refine(error, plan.written(Outcome::Created).into_iter().chain(updated)))?;
    notices.extend(pending::woken(transaction, &woken)?);
    cluster::check(transaction, context.origin, plan.changes).await?;
    Ok(notices)
}

/// Removes what is written anew, and wakes the definitions that lose an instance.
async fn clear(transaction: &Transaction, plan: &Plan<'_, '_>) -> Result<Vec<Notice>> {
    let relabelled = plan.changes.iter().filter(|change| change.relabelled());
    let of = |table: &str, column: &str, ids: &[Uuid]| {
        (!ids.is_empty()).then(|| {
            let mut delete = Sql::new(format!("DELETE FROM {table} WHERE {column} IN "));
            delete.list(ids);
            delete
        })
    };
    let relabelled = plan::ids_of_old(relabelled);
    let rewritten = plan.rewritten();
    let notices = pending::wake_definitions(transaction, &rewritten).await?;
    let statements = [
        of("label", "object_id", &relabelled),
        of("reference", "from_id", &rewritten),
    ];
    transaction
        .write(statements.into_iter().flatten().collect())
        .await?;
    Ok(notices)
}

/// Makes those due that the changes are about, or for whom they matter, and lets go of what is referred to no longer.
async fn wake(transaction: &Transaction, plan: &Plan<'_, '_>, before: Before) -> Result<Vec<Notice>> {
    let templates = plan.respecified().filter(|found| !found.draft.kind.footprint);
    let templates = plan::ids_of_old(templates);
    if !templates.is_empty() {
        transaction
            .run(status::touch_instances(&templates, transaction.now))
            .await?;
    }
    let mut notices = pending::notices(transaction, &plan.due());
    notices.extend(pending::wake_referrers(transaction, &plan.rewritten()).await?);
    for (id, is_default) in plan.runtimes() {
        notices.extend(pending::wake_runtime(transaction, id, is_default).await?);
    }
    if !plan.is_new() {
        let instances = plan.respecified().filter(|found| found.draft.kind.footprint);
        let instances: Vec<Uuid> = instances.map(Change::id).collect();
        notices.extend(pending::wake_definitions(transaction, &instances).await?);
    }
    // What is being deleted may have waited for just this reference.
    let kept: BTreeSet<Uuid> = plan.references.iter().map(|(_, _, to)| *to).collect();
    let freed: BTreeSet<Uuid> = before.into_values().flatten().collect();
    let freed = freed.difference(&kept).copied().collect();
    notices.extend(remove::let_go(transaction, freed).await?);
    Ok(notices)
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
