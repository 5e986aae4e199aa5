//! The durable work list.
//!
//! Every transaction that may give an object work inserts or refreshes its pending row in that same transaction. A
//! refresh gives the row a new token, so that a run which loaded the world before does not remove it: the object runs
//! again. Whoever waits for others has its row with `not_before` in the future; whatever it waits for makes it due.
//!
//! Definitions count their instances: when that makes them due is [`counting`]'s.
//!
//! What not to do: don't read a row and write it back; each change is one statement that says what it means.

mod counting;

use std::{collections::BTreeSet, time::Duration};

use sea_orm::Value;
use threeport_model::{
    Kind,
    kinds::{KubernetesRuntimeInstance, WorkloadInstance, workload_instance::DEPENDS_ON},
    protocol::claim::Trigger,
};
use uuid::Uuid;

pub(crate) use self::counting::{of_counting, of_definitions, wake_definitions};
use crate::{
    Store,
    database::{
        clock,
        sql::{Fetch, Row, Sql},
        transaction::{Stamp, Transaction},
    },
    error::Result,
    request::Notice,
};

/// The object's columns, those of [`row`], and when it is due.
const INSERT: &str = "INSERT INTO pending (object_id, kind, token, since, attempts, priority, claim_holder, \
    claim_until, not_before) ";

/// What a new row says of itself, whatever object it is of and whenever that is due: in the order of [`INSERT`].
fn row(stamp: &Stamp, trigger: Trigger) -> [Value; 6] {
    [
        stamp.token.clone().into(),
        stamp.now.into(),
        0_i64.into(),
        priority(trigger).into(),
        "".into(),
        0_i64.into(),
    ]
}

/// What becomes of a row that is there: new token; due as early as either says; of the more urgent class. A row that was
/// waiting, or that somebody works on, begins anew; only a change forgets failed attempts.
const REFRESH: &str = " ON CONFLICT (object_id) DO UPDATE SET token = excluded.token, \
    since = CASE WHEN pending.not_before > excluded.since OR pending.claim_until > excluded.since \
        THEN excluded.since ELSE pending.since END, \
    not_before = CASE WHEN pending.not_before < excluded.not_before AND pending.claim_until <= excluded.since \
        THEN pending.not_before ELSE excluded.not_before END, \
    priority = CASE WHEN excluded.priority < pending.priority OR pending.not_before > excluded.since \
        OR pending.claim_until > excluded.since THEN excluded.priority ELSE pending.priority END, \
    attempts = CASE WHEN excluded.priority = 0 THEN 0 ELSE pending.attempts END";

const RETURNING: &str = " RETURNING object_id, kind, token, not_before";

/// The class of a trigger: a lower one is worked on first.
pub(crate) fn priority(trigger: Trigger) -> i64 {
    match trigger {
        Trigger::Change => 0,
        Trigger::Observation => 1,
        Trigger::Retry => 2,
        Trigger::Verification => 3,
    }
}

/// The trigger of a class.
pub(crate) fn trigger(priority: i64) -> Trigger {
    match priority {
        0 => Trigger::Change,
        1 => Trigger::Observation,
        2 => Trigger::Retry,
        _ => Trigger::Verification,
    }
}

/// The statement that makes objects due now.
pub(crate) fn insert(stamp: &Stamp, objects: &[(Uuid, &str)], trigger: Trigger) -> Option<Sql> {
    if objects.is_empty() {
        return None;
    }
    let mut sql = values(stamp, objects, trigger);
    sql.push(REFRESH);
    Some(sql)
}

/// The statement that makes objects due now, those apart that have a row already.
pub(crate) fn insert_missing(stamp: &Stamp, objects: &[(Uuid, &str)], trigger: Trigger) -> Sql {
    let mut sql = values(stamp, objects, trigger);
    sql.push(" ON CONFLICT (object_id) DO NOTHING");
    sql
}

fn values(stamp: &Stamp, objects: &[(Uuid, &str)], trigger: Trigger) -> Sql {
    let mut sql = Sql::new(format!("{INSERT} VALUES "));
    let mut objects = objects.to_vec();
    objects.sort_unstable();
    sql.rows(objects.iter().map(|(id, kind)| {
        let mut values = vec![Value::from(*id), Value::from(*kind)];
        values.extend(row(stamp, trigger));
        values.push(stamp.now.into());
        values
    }));
    sql
}

/// The notices of objects that [`insert`] makes due.
pub(crate) fn notices(stamp: &Stamp, objects: &[(Uuid, &str)]) -> Vec<Notice> {
    let notice = |(id, kind): &(Uuid, &str)| Notice {
        id: *id,
        kind: (*kind).to_owned(),
        token: stamp.token.clone(),
        delay: Duration::ZERO,
    };
    objects.iter().map(notice).collect()
}

/// `INSERT ... SELECT` of what `source` selects from `object o`: everything from FROM on. Due at once.
fn insert_select(transaction: &Transaction, trigger: Trigger, source: impl FnOnce(&mut Sql)) -> Sql {
    let at_once = |sql: &mut Sql| {
        sql.bind(transaction.now);
    };
    insert_select_due(transaction, trigger, at_once, source)
}

/// The same, due when the expression says that `not_before` appends.
fn insert_select_due(
    transaction: &Transaction,
    trigger: Trigger,
    not_before: impl FnOnce(&mut Sql),
    source: impl FnOnce(&mut Sql),
) -> Sql {
    let mut sql = Sql::new(format!("{INSERT} SELECT DISTINCT o.id, o.kind"));
    for value in row(transaction, trigger) {
        sql.push(", ").bind(value);
    }
    sql.push(", ");
    not_before(&mut sql);
    sql.push(" ");
    source(&mut sql);
    sql.push(REFRESH).push(RETURNING);
    sql
}

/// The statement that makes those due that refer to `ids`. Not what refers to itself: whoever writes it writes its row of
/// the work list in the same statement.
pub(crate) fn of_referrers(transaction: &Transaction, ids: &[Uuid]) -> Sql {
    insert_select(transaction, Trigger::Change, |sql| {
        sql.push("FROM reference r JOIN object o ON o.id = r.from_id WHERE r.to_id IN ")
            .list(ids);
        sql.push(" AND r.from_id <> r.to_id AND o.deleted_at IS NULL");
    })
}

/// Makes those due that refer to `ids`.
pub(crate) async fn wake_referrers(transaction: &Transaction, ids: &[Uuid]) -> Result<Vec<Notice>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    wake(transaction, of_referrers(transaction, ids)).await
}

/// The statement that makes those due that wait for a condition of an object.
pub(crate) fn of_dependents(transaction: &Transaction, id: Uuid) -> Sql {
    insert_select(transaction, Trigger::Change, |sql| {
        sql.push("FROM reference r JOIN object o ON o.id = r.from_id WHERE r.to_id = ")
            .bind(id);
        // As the index sorts them: `spec.dependsOn[0]` and its like.
        sql.push(" AND r.field >= ")
            .bind(format!("{DEPENDS_ON}["))
            .push(" AND r.field < ")
            .bind(format!("{DEPENDS_ON}]"));
        sql.push(" AND r.from_id <> r.to_id AND o.deleted_at IS NULL");
    })
}

/// The statement that makes the instances of a runtime due: those that refer to it, those with objects in it and, where it
/// is the default one, those that name none.
pub(crate) fn of_runtime(transaction: &Transaction, id: Uuid, is_default: bool, trigger: Trigger) -> Sql {
    insert_select(transaction, trigger, |sql| in_runtime(sql, id, is_default))
}

/// Makes the instances of a runtime due: see [`of_runtime`].
pub(crate) async fn wake_runtime(
    transaction: &Transaction,
    id: Uuid,
    is_default: bool,
) -> Result<Vec<Notice>> {
    let sql = of_runtime(transaction, id, is_default, Trigger::Observation);
    wake(transaction, sql).await
}

/// Appends what [`of_runtime`] selects. A union, not conditions with OR: for those PostgreSQL reads all objects.
pub(crate) fn in_runtime(sql: &mut Sql, id: Uuid, is_default: bool) {
    sql.push("FROM (SELECT from_id AS id FROM reference WHERE to_id = ")
        .bind(id)
        .push(" UNION SELECT instance_id AS id FROM inventory WHERE runtime_id = ")
        .bind(id);
    if is_default {
        sql.push(
            " UNION SELECT i.id FROM object i WHERE i.origin = (SELECT control_plane_id FROM control_plane WHERE id = 1) \
             AND i.kind = ",
        )
        .bind(WorkloadInstance::KIND)
        .push(
            " AND i.deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM reference r WHERE r.from_id = i.id AND r.to_kind = ",
        )
        .bind(KubernetesRuntimeInstance::KIND)
        .push(")");
    }
    sql.push(") AS c JOIN object o ON o.id = c.id WHERE o.deleted_at IS NULL");
}

/// The statement that makes objects due that were observed to differ, tombstones included.
pub(crate) fn of_observed(transaction: &Transaction, ids: &BTreeSet<Uuid>) -> Option<Sql> {
    if ids.is_empty() {
        return None;
    }
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    Some(insert_select(transaction, Trigger::Observation, |sql| {
        sql.push("FROM object o WHERE o.id IN ").list(&ids);
    }))
}

/// Makes objects due that were observed to differ: see [`of_observed`].
pub(crate) async fn wake_observed(transaction: &Transaction, ids: &BTreeSet<Uuid>) -> Result<Vec<Notice>> {
    match of_observed(transaction, ids) {
        Some(sql) => wake(transaction, sql).await,
        None => Ok(Vec::new()),
    }
}

/// Makes those of `ids` due that are being deleted: what they waited for may be gone.
pub(crate) async fn wake_deleting(transaction: &Transaction, ids: &[Uuid]) -> Result<Vec<Notice>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = insert_select(transaction, Trigger::Change, |sql| {
        sql.push("FROM object o WHERE o.id IN ").list(ids);
        sql.push(" AND o.deletion_requested_at IS NOT NULL AND o.deleted_at IS NULL");
    });
    wake(transaction, sql).await
}

/// The statement that gives those a new token that are worked on right now, so that they run again: what they loaded is out
/// of date. A claim that ran out counts: for as long as nobody else takes it, its run may still end well, and remove the row.
pub(crate) fn of_claimed(transaction: &Transaction, ids: &BTreeSet<Uuid>) -> Option<Sql> {
    if ids.is_empty() {
        return None;
    }
    let mut sql = Sql::new("UPDATE pending SET token = ");
    sql.bind(transaction.token.clone())
        .push(", since = ")
        .bind(transaction.now)
        .push(", not_before = ");
    sql.bind(transaction.now)
        .push(", priority = ")
        .bind(priority(Trigger::Observation));
    sql.push(" WHERE claim_holder <> '' AND object_id IN ");
    sql.list(&ids.iter().copied().collect::<Vec<_>>());
    Some(sql)
}

/// Runs one of the statements above.
async fn wake(transaction: &Transaction, sql: Sql) -> Result<Vec<Notice>> {
    woken(transaction, &transaction.all(sql).await?)
}

/// The notices of the rows that statements of this module returned.
pub(crate) fn woken(transaction: &Transaction, rows: &[Row]) -> Result<Vec<Notice>> {
    rows.iter().map(|row| notice(row, transaction.now)).collect()
}

fn notice(row: &Row, now: i64) -> Result<Notice> {
    let not_before: i64 = row.get("not_before")?;
    let delay = u64::try_from(not_before.saturating_sub(now)).unwrap_or_default();
    Ok(Notice {
        id: row.get("object_id")?,
        kind: row.get("kind")?,
        token: row.get("token")?,
        delay: Duration::from_micros(delay),
    })
}

/// The oldest due row of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldestPending {
    /// The kind.
    pub kind: String,
    /// For how long its oldest row has been due.
    pub age: Duration,
    /// How many rows are due.
    pub count: i64,
}

impl Store {
    /// What is due and has been unclaimed for at least `older_than`, the longest due first: what the relay publishes.
    pub async fn pending_due(&self, limit: u32, older_than: Duration) -> Result<Vec<Notice>> {
        let now = clock::read(&self.reader(), self.dialect()).await?;
        let before = now - i64::try_from(older_than.as_micros()).unwrap_or(i64::MAX / 2);
        self.reader()
            .all(due(before, i64::from(limit)))
            .await?
            .iter()
            .map(|row| notice(row, now))
            .collect()
    }

    /// Per kind, for how long the oldest work has been due, and how much is.
    pub async fn pending_oldest(&self) -> Result<Vec<OldestPending>> {
        let now = clock::read(&self.reader(), self.dialect()).await?;
        let query = Sql::new(
            "SELECT kind, MIN(not_before) AS oldest, COUNT(*) AS count FROM pending WHERE not_before <= $1 \
             GROUP BY kind ORDER BY kind",
        )
        .values([now.into()]);
        let read = |row: &Row| {
            let oldest: i64 = row.get("oldest")?;
            let age = Duration::from_micros(u64::try_from(now - oldest).unwrap_or_default());
            Ok(OldestPending {
                kind: row.get("kind")?,
                age,
                count: row.get("count")?,
            })
        };
        self.reader().all(query).await?.iter().map(read).collect()
    }
}

/// The statement of the relay.
pub(crate) fn due(before: i64, limit: i64) -> Sql {
    Sql::new(
        "SELECT object_id, kind, token, not_before FROM pending WHERE not_before <= $1 AND claim_until <= $1 \
         ORDER BY not_before, object_id LIMIT $2",
    )
    .values([before.into(), limit.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_triggers_are_one_to_one() {
        for found in [
            Trigger::Change,
            Trigger::Observation,
            Trigger::Retry,
            Trigger::Verification,
        ] {
            assert_eq!(trigger(priority(found)), found);
        }
    }
}
