//! What is kept for a while only, removed in bounded batches. Any replica may do it at any time.

use std::time::Duration;

use sea_orm::Value;
use threeport_failpoint::Write;
use threeport_model::explain;

use crate::{
    Store,
    database::sql::Sql,
    error::{Error, Result},
    writes,
};

const TOMBSTONES: &str = "DELETE FROM object WHERE id IN (SELECT o.id FROM object o WHERE o.deleted_at < $1 \
    AND NOT EXISTS (SELECT 1 FROM reference r WHERE r.to_id = o.id) \
    AND NOT EXISTS (SELECT 1 FROM inventory i WHERE i.instance_id = o.id) \
    AND NOT EXISTS (SELECT 1 FROM inventory i WHERE i.runtime_id = o.id) ORDER BY o.deleted_at, o.id LIMIT $2)";

const REVISIONS: &str = "DELETE FROM revision WHERE (object_id, generation) IN (SELECT r.object_id, r.generation \
    FROM revision r JOIN object o ON o.id = r.object_id WHERE r.created_at < $1 AND r.generation <= o.generation - $3 \
    ORDER BY r.created_at LIMIT $2)";

const OPERATIONS: &str = "DELETE FROM operation WHERE id IN (SELECT id FROM operation WHERE created_at < $1 \
    ORDER BY created_at, id LIMIT $2)";

const ANSWERS: &str = "UPDATE operation SET idempotency_key = NULL, body_digest = NULL, answer = NULL WHERE id IN \
    (SELECT id FROM operation WHERE idempotency_key IS NOT NULL AND created_at < $1 ORDER BY created_at LIMIT $2)";

/// Those of a tombstone go after it: they may say what it left in a cluster.
const EVENTS: &str = "DELETE FROM event WHERE id IN (SELECT e.id FROM event e WHERE e.last_seen < $1 \
    AND NOT EXISTS (SELECT 1 FROM object o WHERE o.id = e.object_id AND o.deleted_at IS NOT NULL) \
    ORDER BY e.last_seen, e.id LIMIT $2)";

const DOCUMENTS: &str = "DELETE FROM document WHERE digest IN (SELECT d.digest FROM document d WHERE d.created_at < $1 \
    AND NOT EXISTS (SELECT 1 FROM object o WHERE o.document = d.digest) \
    AND NOT EXISTS (SELECT 1 FROM revision r WHERE r.document = d.digest) LIMIT $2)";

/// What is past its time in one table.
struct Past {
    write: Write,
    /// For how long a row is kept.
    keep: Duration,
    /// Removes rows from before `$1`, `$2` at most.
    statement: &'static str,
    /// Its `$3`, where it has one.
    also: Option<i64>,
}

/// A time as the database has it.
fn microseconds(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 2)
}

/// How many rows one batch removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Objects that were gone for long.
    pub tombstones: u64,
    /// Former desired states.
    pub revisions: u64,
    /// Who did what.
    pub operations: u64,
    /// Answers for idempotency keys.
    pub answers: u64,
    /// What happened.
    pub events: u64,
    /// Large YAML that nothing refers to any more.
    pub documents: u64,
    /// Kinds that nothing in a runtime is of any more.
    pub watched_kinds: u64,
    more: bool,
}

impl Purged {
    /// Whether there may be more to remove right now.
    pub fn more(&self) -> bool {
        self.more
    }
}

impl Store {
    /// Removes a batch of everything that is past its retention. A table that fails holds up no other: this fails once the
    /// others have no more.
    pub async fn purge(&self) -> Result<Purged> {
        let retention = self.retention();
        let past = |write, keep, statement| Past {
            write,
            keep,
            statement,
            also: None,
        };
        let tables = [
            past(writes::PURGE_TOMBSTONES, retention.tombstones, TOMBSTONES),
            Past {
                also: Some(retention.newest_revisions),
                ..past(writes::PURGE_REVISIONS, retention.revisions, REVISIONS)
            },
            past(writes::PURGE_OPERATIONS, retention.revisions, OPERATIONS),
            past(writes::PURGE_ANSWERS, retention.answers, ANSWERS),
            past(writes::PURGE_EVENTS, retention.events, EVENTS),
            past(writes::PURGE_DOCUMENTS, retention.answers, DOCUMENTS),
        ];
        let mut removed = [0; 6];
        let mut failed = None;
        for (removed, table) in removed.iter_mut().zip(tables) {
            *removed = or_nothing(self.purge_one(table).await, &mut failed);
        }
        let kinds = or_nothing(self.purge_watched_kinds().await, &mut failed);
        let full = u64::try_from(retention.batch).unwrap_or_default().max(1);
        let more = removed.into_iter().any(|count| count >= full) || kinds.most >= full;
        if let Some(error) = failed {
            if !more {
                return Err(error);
            }
            log(&error);
        }
        let [tombstones, revisions, operations, answers, events, documents] = removed;
        Ok(Purged {
            tombstones,
            revisions,
            operations,
            answers,
            events,
            documents,
            watched_kinds: kinds.removed,
            more,
        })
    }

    /// One transaction per table: small ones collide with little.
    async fn purge_one(&self, table: Past) -> Result<u64> {
        let input = (table, self.retention().batch);
        self.transactions()
            .run(input.0.write, &input, |transaction, (table, batch)| {
                Box::pin(async move {
                    let before = transaction.now.saturating_sub(microseconds(table.keep));
                    let values = [before, *batch].into_iter().chain(table.also);
                    let sql = Sql::new(table.statement).values(values.map(Value::from));
                    transaction.run(sql).await
                })
            })
            .await
    }

    /// A kind is watched for as long as tombstones are kept after the last object of it: what a replica that was paused
    /// makes late is found by that, and by nothing else.
    async fn purge_watched_kinds(&self) -> Result<Kinds> {
        let retention = self.retention();
        let input = (microseconds(retention.tombstones), retention.batch);
        self.transactions()
            .run(
                writes::PURGE_WATCHED_KINDS,
                &input,
                |transaction, (keep, batch)| {
                    Box::pin(async move {
                        let before = transaction.now.saturating_sub(*keep);
                        let again = transaction.run(used_again(*batch)).await?;
                        let no_longer = transaction.run(used_no_longer(transaction.now, *batch)).await?;
                        let removed = transaction
                            .run(remove_unused("watched_kind", before, *batch))
                            .await?;
                        let forgotten = transaction
                            .run(remove_unused("unused_kind", before, *batch))
                            .await?;
                        Ok(Kinds {
                            removed,
                            most: again.max(no_longer).max(forgotten),
                        })
                    })
                },
            )
            .await
    }
}

/// What was removed; nothing where that failed. The first failure is kept, the others are for the log.
fn or_nothing<T: Default>(removed: Result<T>, failed: &mut Option<Error>) -> T {
    removed.unwrap_or_else(|error| {
        match failed {
            None => *failed = Some(error),
            Some(_) => log(&error),
        }
        T::default()
    })
}

fn log(error: &Error) {
    tracing::warn!("failed to purge one table: {}", explain(error));
}

/// What became of the kinds that are watched.
#[derive(Default)]
struct Kinds {
    removed: u64,
    /// The most rows that one statement changed.
    most: u64,
}

/// The statement that forgets since when kinds were not used that are used again.
fn used_again(batch: i64) -> Sql {
    let used = used("u");
    Sql::new(format!(
        "DELETE FROM unused_kind WHERE (runtime_id, api_group, kind) IN \
         (SELECT u.runtime_id, u.api_group, u.kind FROM unused_kind u WHERE {used} LIMIT $1)"
    ))
    .values([batch.into()])
}

/// The statement that says since when kinds are not used.
fn used_no_longer(now: i64, batch: i64) -> Sql {
    let used = used("w");
    Sql::new(format!(
        "INSERT INTO unused_kind (runtime_id, api_group, kind, since) \
         SELECT w.runtime_id, w.api_group, w.kind, $1 FROM watched_kind w WHERE NOT {used} \
         AND NOT EXISTS (SELECT 1 FROM unused_kind u WHERE u.runtime_id = w.runtime_id \
         AND u.api_group = w.api_group AND u.kind = w.kind) LIMIT $2 \
         ON CONFLICT (runtime_id, api_group, kind) DO NOTHING"
    ))
    .values([now.into(), batch.into()])
}

/// The statement that removes from `table` what was not used since before a time: of both tables the same.
fn remove_unused(table: &str, before: i64, batch: i64) -> Sql {
    let used = used("u");
    Sql::new(format!(
        "DELETE FROM {table} WHERE (runtime_id, api_group, kind) IN \
         (SELECT u.runtime_id, u.api_group, u.kind FROM unused_kind u WHERE u.since < $1 AND NOT {used} \
         ORDER BY u.since, u.runtime_id, u.api_group, u.kind LIMIT $2)"
    ))
    .values([before.into(), batch.into()])
}

/// Whether there are objects of the kind that a row of `table` names.
fn used(table: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM inventory i WHERE i.runtime_id = {table}.runtime_id \
         AND i.api_group = {table}.api_group AND i.kind = {table}.kind)"
    )
}
