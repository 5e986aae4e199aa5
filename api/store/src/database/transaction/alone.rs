//! A statement that writes, answers rows and commits itself: one round trip where a transaction takes four.
//!
//! It is run again like a transaction, and no operation says that it was done before: what it did unheard it must do once
//! more without harm.

use futures::FutureExt;
use threeport_failpoint::{Write, around};

use super::Transactions;
use crate::{
    database::{
        pace::Rank,
        sql::{Fetch, Row, Sql},
    },
    error::Result,
};

impl Transactions {
    /// The rows that a statement answers.
    pub(crate) async fn alone(&self, write: Write, statement: &Sql) -> Result<Vec<Row>> {
        let attempt = || self.execute_and_read(write, statement.clone()).boxed();
        self.limited(write.name(), Some(Rank::Behind), &attempt).await
    }

    async fn execute_and_read(&self, write: Write, sql: Sql) -> Result<Vec<Row>> {
        #[cfg(test)]
        self.faults.before_commit(write.name())?;
        let rows = around(write, self.connections.writer.all(sql)).await?;
        #[cfg(test)]
        self.faults.after_commit(write.name())?;
        Ok(rows)
    }
}
