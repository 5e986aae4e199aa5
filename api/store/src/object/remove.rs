//! The way out: deletion is asked for, what was made goes, a tombstone stays for a while.
//!
//! Objects without a footprint (definitions, runtimes) become tombstones as soon as nobody refers to them, in the very
//! transaction that makes it so. Objects with one become tombstones when their controller says that what they made is
//! gone. A tombstone lets go of its references, so what waited for it may go in turn.

use std::collections::{BTreeMap, BTreeSet};

use threeport_model::{
    ManagedBy,
    kinds::control_plane_instance::SELF_SLOT,
    protocol::{apply::Outcome, claim::Trigger},
};
use uuid::Uuid;

use super::{
    circle, owner,
    row::{self, COLUMNS, ObjectRow, has_footprint},
    write::{Context, Done},
};
use crate::{
    database::{
        sql::{Row, Sql},
        transaction::Transaction,
    },
    error::{Error, Result},
    operation, pending, reference,
    request::Notice,
    revision, status,
};

/// Of how many objects the referrers are read at once.
const AT_ONCE: usize = 1024;

/// Asks for the deletion of `target` and, with `cascade`, of all that refers to it.
pub(crate) async fn request(
    transaction: &Transaction,
    context: &Context<'_>,
    writer: ManagedBy,
    target: ObjectRow,
    cascade: bool,
) -> Result<Done> {
    let id = target.id;
    let reached = reach(transaction, target, cascade).await?;
    let fresh: Vec<&ObjectRow> = reached
        .values()
        .filter(|row| row.deletion_requested_at.is_none())
        .collect();
    owner::check(writer, fresh.iter().copied())?;
    if let Some(own) = fresh.iter().find(|row| row.slot.as_deref() == Some(SELF_SLOT)) {
        let message = format!(
            "{} is this control plane itself; uninstall it to remove it",
            own.reference()
        );
        return Err(Error::Conflict(message));
    }
    if fresh.is_empty() {
        let target = reached.into_values().filter(|row| row.id == id);
        let results: Vec<(Outcome, ObjectRow)> = target.map(|row| (Outcome::Unchanged, row)).collect();
        nothing(transaction, context, &results).await?;
        return Ok(Done {
            results,
            notices: Vec::new(),
        });
    }
    let mut rows: Vec<(Outcome, ObjectRow)> = reached
        .into_values()
        .filter_map(|row| match row.deletion_requested_at {
            None => Some((Outcome::Configured, deleting(row, transaction.now))),
            Some(_) => (row.id == id).then_some((Outcome::Unchanged, row)),
        })
        .collect();
    // Whoever sends the same again is answered with the first of what is kept: what was asked for.
    rows.sort_by_key(|(_, row)| row.id != id);
    let notices = mark(transaction, context, &rows).await?;
    let (gone, mut woken) = settle(transaction, rows.iter().map(|(_, row)| row.id).collect()).await?;
    let notices: Vec<Notice> = notices
        .into_iter()
        .filter(|notice| !gone.contains(&notice.id))
        .collect();
    woken.extend(notices);
    rows.retain(|(_, row)| row.id == id);
    Ok(Done {
        results: rows,
        notices: woken,
    })
}

/// Keeps the answer where it may be asked for again, which may be when the object is gone; else there was no operation.
async fn nothing(
    transaction: &Transaction,
    context: &Context<'_>,
    results: &[(Outcome, ObjectRow)],
) -> Result<()> {
    let statement = if context.keeps_answers() {
        let results = results.iter().map(|(outcome, row)| (*outcome, row));
        operation::finish(&context.by_operation(results.collect()), operation::changed)?
    } else {
        Some(context.forget())
    };
    transaction.write(statement.into_iter().collect()).await
}

/// The target and, with `cascade`, all that refers to it, over any number of steps. Fails where there are living
/// referrers that may not be taken along.
async fn reach(
    transaction: &Transaction,
    target: ObjectRow,
    cascade: bool,
) -> Result<BTreeMap<Uuid, ObjectRow>> {
    if !cascade {
        check_unreferenced(transaction, &target).await?;
        return Ok(BTreeMap::from([(target.id, target)]));
    }
    let mut reached = BTreeMap::new();
    let mut next = vec![target.id];
    reached.insert(target.id, target);
    while !next.is_empty() {
        let mut referrers = Vec::new();
        for ids in next.chunks(AT_ONCE) {
            referrers.extend(transaction.all(referring(ids)).await?);
        }
        next = Vec::new();
        for row in referrers {
            let row = ObjectRow::read(&row)?;
            if let std::collections::btree_map::Entry::Vacant(vacant) = reached.entry(row.id) {
                next.push(row.id);
                vacant.insert(row);
            }
        }
    }
    Ok(reached)
}

/// Fails where a living object refers to `target`, or to something on its way out that does.
async fn check_unreferenced(transaction: &Transaction, target: &ObjectRow) -> Result<()> {
    let mut seen = BTreeSet::from([target.id]);
    let mut next = vec![target.id];
    while !next.is_empty() {
        let mut deleting = Vec::new();
        for ids in next.chunks(AT_ONCE) {
            let living = transaction.all(living_referrers(ids)).await?;
            let living = living
                .iter()
                .filter_map(|row| match row.get::<Uuid>("id") {
                    Ok(id) if ids.contains(&id) => None,
                    Ok(_) => Some(name_of(row)),
                    Err(error) => Some(Err(error)),
                })
                .collect::<Result<Vec<String>>>()?;
            if !living.is_empty() {
                return Err(Error::Referenced {
                    what: target.reference(),
                    referrers: living,
                    circle: circle::is_in_one(transaction, target.id).await?,
                });
            }
            deleting.extend(transaction.all(deleting_referrers(ids)).await?);
        }
        next = Vec::new();
        for row in deleting {
            let id = row.get("id")?;
            if seen.insert(id) {
                next.push(id);
            }
        }
    }
    Ok(())
}

fn name_of(row: &Row) -> Result<String> {
    let (kind, name): (String, String) = (row.get("kind")?, row.get("name")?);
    Ok(format!("{kind}/{name}"))
}

/// Appends the ids of what refers to any of `ids`, by reference or by what it has in a runtime. A union, not two
/// conditions with OR: for those PostgreSQL reads all objects.
fn referrers(sql: &mut Sql, ids: &[Uuid]) {
    sql.push("(SELECT from_id AS id FROM reference WHERE to_id IN ")
        .list(ids)
        .push(" UNION SELECT instance_id AS id FROM inventory WHERE runtime_id IN ")
        .list(ids)
        .push(") AS c");
}

/// The statement of the objects that refer to any of `ids`, in full.
pub(crate) fn referring(ids: &[Uuid]) -> Sql {
    let mut query = Sql::new(format!("SELECT {COLUMNS} FROM "));
    referrers(&mut query, ids);
    query.push(" JOIN object o ON o.id = c.id ");
    row::join(&mut query);
    query.push(" WHERE o.deleted_at IS NULL");
    query
}

/// The statement of those that stand against a deletion, as many as are named.
pub(crate) fn living_referrers(ids: &[Uuid]) -> Sql {
    let mut query = Sql::new("SELECT o.id, o.kind, o.name FROM ");
    referrers(&mut query, ids);
    query.push(
        " JOIN object o ON o.id = c.id WHERE o.deleted_at IS NULL AND o.deletion_requested_at IS NULL \
         ORDER BY o.kind, o.name LIMIT ",
    );
    query.bind(reference::NAMED);
    query
}

/// The statement of those that are on their way out.
fn deleting_referrers(ids: &[Uuid]) -> Sql {
    let mut query = Sql::new("SELECT o.id FROM ");
    referrers(&mut query, ids);
    query.push(
        " JOIN object o ON o.id = c.id WHERE o.deleted_at IS NULL AND o.deletion_requested_at IS NOT NULL",
    );
    query
}

fn deleting(mut row: ObjectRow, now: i64) -> ObjectRow {
    row.generation += 1;
    row.resource_version += 1;
    row.updated_at = now;
    row.deletion_requested_at = Some(now);
    row
}

/// Writes that the deletion of `rows` was asked for: the unchanged ones are named by the operation and no more.
async fn mark(
    transaction: &Transaction,
    context: &Context<'_>,
    rows: &[(Outcome, ObjectRow)],
) -> Result<Vec<Notice>> {
    let now = transaction.now;
    let fresh: Vec<&ObjectRow> = rows
        .iter()
        .filter(|(outcome, _)| *outcome != Outcome::Unchanged)
        .map(|(_, row)| row)
        .collect();
    let ids: Vec<Uuid> = fresh.iter().map(|row| row.id).collect();
    let mut update =
        Sql::new("UPDATE object SET generation = generation + 1, resource_version = resource_version + 1, ");
    update
        .push("updated_at = ")
        .bind(now)
        .push(", deletion_requested_at = ")
        .bind(now)
        .push(" WHERE id IN ");
    update.list(&ids);
    let due: Vec<(Uuid, &str)> = fresh.iter().map(|row| (row.id, row.kind.as_str())).collect();
    let parts = context.by_operation(rows.iter().map(|(outcome, row)| (*outcome, row)).collect());
    let statements = [
        Some(update),
        revision::insert(&parts, &ids.iter().copied().collect()),
        pending::insert(transaction, &due, Trigger::Change),
        operation::finish(&parts, operation::deleted)?,
    ];
    transaction
        .write(statements.into_iter().flatten().collect())
        .await?;
    let templates: Vec<Uuid> = fresh
        .iter()
        .filter(|row| !has_footprint(&row.kind))
        .map(|row| row.id)
        .collect();
    if !templates.is_empty() {
        transaction.run(status::touch_instances(&templates, now)).await?;
    }
    let mut notices = pending::notices(transaction, &due);
    notices.extend(pending::wake_definitions(transaction, &ids).await?);
    Ok(notices)
}

/// What lost a reference goes, if it waited for just that; the rest of it that is being deleted looks again.
pub(crate) async fn let_go(transaction: &Transaction, freed: BTreeSet<Uuid>) -> Result<Vec<Notice>> {
    let (gone, mut notices) = settle(transaction, freed.clone()).await?;
    let waiting: Vec<Uuid> = freed.difference(&gone).copied().collect();
    notices.extend(pending::wake_deleting(transaction, &waiting).await?);
    Ok(notices)
}

/// Turns those of `candidates` into tombstones that are being deleted, have no footprint and are not referred to, then
/// what they referred to, and so on. Answers what is gone, and what was woken.
async fn settle(
    transaction: &Transaction,
    candidates: BTreeSet<Uuid>,
) -> Result<(BTreeSet<Uuid>, Vec<Notice>)> {
    let mut gone = BTreeSet::new();
    let mut notices = Vec::new();
    let mut candidates: Vec<Uuid> = candidates.into_iter().collect();
    while !candidates.is_empty() {
        let mut query = Sql::new("SELECT o.id, o.kind FROM object o WHERE o.id IN ");
        query.list(&candidates).push(
            " AND o.deletion_requested_at IS NOT NULL AND o.deleted_at IS NULL \
             AND NOT EXISTS (SELECT 1 FROM reference r WHERE r.to_id = o.id AND r.from_id <> o.id) \
             AND NOT EXISTS (SELECT 1 FROM inventory i WHERE i.runtime_id = o.id)",
        );
        let mut ready = Vec::new();
        for row in transaction.all(query).await? {
            let kind: String = row.get("kind")?;
            if !has_footprint(&kind) {
                ready.push(row.get::<Uuid>("id")?);
            }
        }
        let (freed, woken) = bury(transaction, &ready).await?;
        gone.extend(ready);
        notices.extend(woken);
        candidates = freed;
    }
    Ok((gone, notices))
}

/// Turns objects into tombstones. Answers what they referred to and what was woken.
pub(crate) async fn bury(transaction: &Transaction, ids: &[Uuid]) -> Result<(Vec<Uuid>, Vec<Notice>)> {
    if ids.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let notices = pending::wake_definitions(transaction, ids).await?;
    let targets: BTreeSet<Uuid> = reference::targets(transaction, ids)
        .await?
        .into_values()
        .flatten()
        .collect();
    let of = |text: &str, column: &str| {
        let mut sql = Sql::new(format!("{text} WHERE {column} IN "));
        sql.list(ids);
        sql
    };
    let mut tombstone = Sql::new("UPDATE object SET resource_version = resource_version + 1, deleted_at = ");
    tombstone
        .bind(transaction.now)
        .push(", updated_at = ")
        .bind(transaction.now)
        .push(" WHERE id IN ")
        .list(ids);
    transaction
        .write(vec![
            of("DELETE FROM reference", "from_id"),
            of("DELETE FROM label", "object_id"),
            of("DELETE FROM secret_value", "object_id"),
            of("DELETE FROM pending", "object_id"),
            of("UPDATE object_status SET verify_at = NULL", "object_id"),
            tombstone,
        ])
        .await?;
    Ok((targets.into_iter().collect(), notices))
}
