//! What agents say of whole kinds: a list was complete, or there can be none.

use threeport_model::{kinds::workload_instance::Health, protocol::agent::WatchedKind};

use super::Batch;
use crate::{
    database::{sql::Sql, transaction::Transaction},
    error::Result,
};

impl Batch<'_> {
    /// A complete list ended: what was not in it since the epoch began is Missing. So is what is still Unknown: whatever
    /// was in the list was said again since its kind could not be listed, and an agent that had seen an object go before
    /// that says so only once.
    pub(super) async fn close(&mut self, transaction: &Transaction, kind: &WatchedKind) -> Result<()> {
        let mut sql = Sql::new("UPDATE inventory SET observed_health = ");
        sql.bind(Health::Missing.as_str()).push(
            ", observed_message = '', observed_uid = NULL, \
            observed_resource_version = NULL, observed_ownership_digest = NULL, observed_epoch = ",
        );
        sql.bind(self.request.epoch)
            .push(", observed_sequence = ")
            .bind(self.request.sequence);
        sql.push(", seen_at = ").bind(transaction.now);
        self.of_kind(&mut sql, kind);
        sql.push(" AND (observed_epoch < ")
            .bind(self.request.epoch)
            .push(" OR observed_health = ")
            .bind(Health::Unknown.as_str())
            .push(") RETURNING instance_id");
        self.all_relevant(transaction, sql).await?;
        self.mark(transaction, kind, self.request.epoch).await
    }

    /// A kind can't be listed: nobody knows how its objects are, until the list that is complete in the end.
    pub(super) async fn unlistable(
        &mut self,
        transaction: &Transaction,
        kind: &WatchedKind,
        message: &str,
    ) -> Result<()> {
        let message = message.replace('\0', "");
        let mut sql = Sql::new("UPDATE inventory SET observed_health = ");
        sql.bind(Health::Unknown.as_str())
            .push(", observed_message = ")
            .bind(message.clone());
        self.of_kind(&mut sql, kind);
        sql.push(" AND (observed_health <> ")
            .bind(Health::Unknown.as_str());
        sql.push(" OR observed_message <> ")
            .bind(message)
            .push(") RETURNING instance_id");
        self.all_relevant(transaction, sql).await?;
        self.mark(transaction, kind, 0).await
    }

    fn of_kind(&self, sql: &mut Sql, kind: &WatchedKind) {
        sql.push(" WHERE runtime_id = ")
            .bind(self.runtime)
            .push(" AND api_group = ")
            .bind(kind.group.clone());
        sql.push(" AND kind = ").bind(kind.kind.clone());
    }

    async fn all_relevant(&mut self, transaction: &Transaction, sql: Sql) -> Result<()> {
        for row in transaction.all(sql).await? {
            self.changed += 1;
            self.relevant.insert(row.get("instance_id")?);
        }
        Ok(())
    }

    /// Remembers in which epoch a kind's list was complete.
    async fn mark(&self, transaction: &Transaction, kind: &WatchedKind, epoch: i64) -> Result<()> {
        let mut sql = Sql::new("UPDATE watched_kind SET closed_epoch = ");
        sql.bind(epoch);
        self.of_kind(&mut sql, kind);
        transaction.run(sql).await.map(drop)
    }
}
