//! What is kept for a while only, removed in bounded batches. Any replica may do it at any time.

use std::time::Duration;

use threeport_failpoint::Write;

use crate::{Store, error::Result, sql::Sql, transaction::Transaction, writes};

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
    batch: u64,
}

impl Purged {
    /// Whether there may be more to remove right now.
    pub fn more(&self) -> bool {
        let counts = [
            self.tombstones,
            self.revisions,
            self.operations,
            self.answers,
            self.events,
            self.documents,
        ];
        counts.iter().any(|count| *count >= self.batch)
    }
}

impl Store {
    /// Removes a batch of everything that is past its retention.
    pub async fn purge(&self) -> Result<Purged> {
        let retention = self.retention();
        let batch = retention.batch;
        let old = |keep: Duration| i64::try_from(keep.as_micros()).unwrap_or(i64::MAX / 2);
        let tombstones = self
            .purge_one(writes::PURGE_TOMBSTONES, old(retention.tombstones), |before| {
                Sql::new(
                    "DELETE FROM object WHERE id IN (SELECT o.id FROM object o WHERE o.deleted_at < $1 \
                     AND NOT EXISTS (SELECT 1 FROM reference r WHERE r.to_id = o.id) \
                     AND NOT EXISTS (SELECT 1 FROM inventory i WHERE i.instance_id = o.id) \
                     AND NOT EXISTS (SELECT 1 FROM inventory i WHERE i.runtime_id = o.id) \
                     ORDER BY o.deleted_at, o.id LIMIT $2)",
                )
                .values([before.into(), batch.into()])
            })
            .await?;
        let newest = retention.newest_revisions;
        let revisions = self
            .purge_one(writes::PURGE_REVISIONS, old(retention.revisions), |before| {
                Sql::new(
                    "DELETE FROM revision WHERE (object_id, generation) IN (SELECT r.object_id, r.generation \
                     FROM revision r JOIN object o ON o.id = r.object_id WHERE r.created_at < $1 \
                     AND r.generation <= o.generation - $2 ORDER BY r.created_at LIMIT $3)",
                )
                .values([before.into(), newest.into(), batch.into()])
            })
            .await?;
        let operations = self
            .purge_one(writes::PURGE_OPERATIONS, old(retention.revisions), |before| {
                Sql::new(
                    "DELETE FROM operation WHERE id IN (SELECT id FROM operation WHERE created_at < $1 \
                     ORDER BY created_at, id LIMIT $2)",
                )
                .values([before.into(), batch.into()])
            })
            .await?;
        let answers = self
            .purge_one(writes::PURGE_ANSWERS, old(retention.answers), |before| {
                Sql::new(
                    "UPDATE operation SET idempotency_key = NULL, body_digest = NULL, answer = NULL WHERE id IN \
                     (SELECT id FROM operation WHERE idempotency_key IS NOT NULL AND created_at < $1 \
                     ORDER BY created_at LIMIT $2)",
                )
                .values([before.into(), batch.into()])
            })
            .await?;
        let events = self
            .purge_one(writes::PURGE_EVENTS, old(retention.events), |before| {
                Sql::new(
                    "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE last_seen < $1 \
                     ORDER BY last_seen, id LIMIT $2)",
                )
                .values([before.into(), batch.into()])
            })
            .await?;
        let documents = self
            .purge_one(writes::PURGE_DOCUMENTS, old(retention.answers), |before| {
                Sql::new(
                    "DELETE FROM document WHERE digest IN (SELECT d.digest FROM document d WHERE d.created_at < $1 \
                     AND NOT EXISTS (SELECT 1 FROM object o WHERE o.document = d.digest) \
                     AND NOT EXISTS (SELECT 1 FROM revision r WHERE r.document = d.digest) LIMIT $2)",
                )
                .values([before.into(), batch.into()])
            })
            .await?;
        let watched_kinds = self.purge_watched_kinds(old(retention.tombstones)).await?;
        let batch = u64::try_from(batch).unwrap_or_default().max(1);
        Ok(Purged {
            tombstones,
            revisions,
            operations,
            answers,
            events,
            documents,
            watched_kinds,
            batch,
        })
    }

    /// A kind is watched for as long as tombstones are kept after the last object of it: what a replica that was paused
    /// makes late is found by that, and by nothing else.
    async fn purge_watched_kinds(&self, keep: i64) -> Result<u64> {
        self.transactions()
            .run(writes::PURGE_WATCHED_KINDS, &keep, |transaction: &Transaction, keep| {
                let before = transaction.now.saturating_sub(*keep);
                Box::pin(async move {
                    let used = Sql::new(format!("DELETE FROM unused_kind WHERE {}", used("unused_kind")));
                    transaction.run(used).await?;
                    let unused = Sql::new(format!(
                        "INSERT INTO unused_kind (runtime_id, api_group, kind, since) \
                         SELECT w.runtime_id, w.api_group, w.kind, $1 FROM watched_kind w WHERE NOT {} \
                         ON CONFLICT (runtime_id, api_group, kind) DO NOTHING",
                        self::used("w")
                    ));
                    transaction.run(unused.values([transaction.now.into()])).await?;
                    let old = Sql::new(
                        "DELETE FROM watched_kind WHERE EXISTS (SELECT 1 FROM unused_kind u WHERE u.since < $1 \
                         AND u.runtime_id = watched_kind.runtime_id AND u.api_group = watched_kind.api_group \
                         AND u.kind = watched_kind.kind)",
                    );
                    let purged = transaction.run(old.values([before.into()])).await?;
                    let forgotten = Sql::new("DELETE FROM unused_kind WHERE since < $1");
                    transaction.run(forgotten.values([before.into()])).await?;
                    Ok(purged)
                })
            })
            .await
    }

    /// One transaction per table: small ones collide with little.
    async fn purge_one(&self, write: Write, keep: i64, statement: impl Fn(i64) -> Sql + Sync) -> Result<u64> {
        let input = (keep, statement);
        self.transactions()
            .run(write, &input, |transaction: &Transaction, (keep, statement)| {
                let sql = statement(transaction.now.saturating_sub(*keep));
                Box::pin(async move { transaction.run(sql).await })
            })
            .await
    }
}

/// Whether there are objects of the kind that a row of `table` names.
fn used(table: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM inventory i WHERE i.runtime_id = {table}.runtime_id \
         AND i.api_group = {table}.api_group AND i.kind = {table}.kind)"
    )
}
