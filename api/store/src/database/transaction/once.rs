//! One try: a transaction from BEGIN to its end.

use futures::future::BoxFuture;
use sea_orm::{AccessMode, IsolationLevel, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use threeport_failpoint::{Write, around};

use super::{Ended, SNAPSHOT, Stamp, Transaction, Transactions, open::begin_with, violated};
use crate::{
    database::{clock, connection::Dialect, sql::Sql},
    error::{Error, Result},
    operation::{self, Record},
};

/// The statement that a transaction begins with: it must select the clock as `now`.
pub(super) type First<'a, I> = &'a (dyn Fn(&I, Dialect) -> Sql + Sync);

/// What the first statement of a transaction does, which also tells the clock.
pub(super) enum Begin<'a, I> {
    /// Nothing else.
    Clock,
    /// It reads.
    Reading(First<'a, I>),
    /// It inserts the rows of operations.
    Operations(&'a [&'a Record]),
}

impl Transactions {
    /// A transaction that writes.
    pub(super) async fn once<I, T, W>(
        &self,
        write: Write,
        begin: Begin<'_, I>,
        input: &I,
        work: &W,
    ) -> Result<T>
    where
        I: Sync,
        T: Send,
        W: for<'t> Fn(&'t Transaction, &'t I) -> BoxFuture<'t, Result<T>> + Sync,
    {
        let transaction = self.begin(begin, input).await?;
        self.carry_out(write, transaction, false, input, work).await
    }

    /// The same as operations, any of which may have been done before.
    pub(super) async fn once_as<I, T, W>(
        &self,
        write: Write,
        records: &[&Record],
        input: &I,
        work: &W,
    ) -> Result<Ended<T>>
    where
        I: Sync,
        T: Send,
        W: for<'t> Fn(&'t Transaction, &'t I) -> BoxFuture<'t, Result<T>> + Sync,
    {
        let transaction = match self.begin(Begin::Operations(records), input).await {
            Ok(transaction) => transaction,
            Err(error) => return before(error),
        };
        let dry_run = records.iter().any(|record| record.dry_run);
        let answer = self.carry_out(write, transaction, dry_run, input, work).await?;
        Ok(Ended::Committed(answer))
    }

    /// Does the work of an open transaction, and ends that.
    async fn carry_out<I, T, W>(
        &self,
        write: Write,
        transaction: Transaction,
        dry_run: bool,
        input: &I,
        work: &W,
    ) -> Result<T>
    where
        I: Sync,
        T: Send,
        W: for<'t> Fn(&'t Transaction, &'t I) -> BoxFuture<'t, Result<T>> + Sync,
    {
        match work(&transaction, input).await {
            Ok(answer) if dry_run => {
                transaction.inner.rollback().await?;
                Ok(answer)
            }
            Ok(answer) => {
                self.commit(write, transaction).await?;
                Ok(answer)
            }
            Err(error) => Err(self.roll_back(write.name(), transaction, error).await),
        }
    }

    /// Ends what failed. Why it did is what counts, whatever comes of the end.
    async fn roll_back(&self, name: &'static str, transaction: Transaction, error: Error) -> Error {
        let ended = transaction.inner.rollback().await;
        #[cfg(test)]
        let ended = ended.and_then(|()| self.faults.after_rollback(name));
        if let Err(failed) = ended {
            tracing::debug!(name, error = %failed, "failed to roll back; the connection does it when it is dropped");
        }
        error
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    async fn begin<I>(&self, begin: Begin<'_, I>, input: &I) -> Result<Transaction> {
        let dialect = self.connections.dialect;
        let options = TransactionOptions {
            isolation_level: None,
            access_mode: None,
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        };
        let inner = self.connections.writer.begin_with_options(options).await?;
        let (first, now) = match begin {
            Begin::Clock => (Vec::new(), clock::read(&inner, dialect).await?),
            Begin::Reading(first) => begin_with(&inner, dialect, first(input, dialect)).await?,
            Begin::Operations(records) => {
                begin_with(&inner, dialect, operation::insert(records, dialect, None)?).await?
            }
        };
        self.clock.note(now);
        Ok(Transaction {
            inner,
            dialect,
            stamp: self.stamp(now),
            first,
        })
    }

    #[cfg(not(test))]
    async fn commit(&self, write: Write, transaction: Transaction) -> Result<()> {
        Ok(around(write, transaction.inner.commit()).await?)
    }

    #[cfg(test)]
    async fn commit(&self, write: Write, transaction: Transaction) -> Result<()> {
        self.faults.before_commit(write.name())?;
        around(write, transaction.inner.commit()).await?;
        self.faults.after_commit(write.name())
    }

    /// A transaction that only reads, of one moment. In PostgreSQL all of a reader's transactions are such: one that says so
    /// once more takes a round trip more.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    pub(super) async fn read<I, T, W>(&self, input: &I, first: First<'_, I>, work: &W) -> Result<T>
    where
        I: Sync,
        T: Send,
        W: for<'t> Fn(&'t Transaction, &'t I) -> BoxFuture<'t, Result<T>> + Sync,
    {
        let dialect = self.connections.dialect;
        let says = dialect == Dialect::Cockroachdb;
        let options = TransactionOptions {
            isolation_level: says.then_some(IsolationLevel::Serializable),
            access_mode: says.then_some(AccessMode::ReadOnly),
            sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
        };
        let inner = self.connections.reader.begin_with_options(options).await?;
        let (first, now) = begin_with(&inner, dialect, first(input, dialect)).await?;
        let transaction = Transaction {
            inner,
            dialect,
            stamp: Stamp {
                token: String::new(),
                now,
            },
            first,
        };
        match work(&transaction, input).await {
            Ok(answer) => {
                #[cfg(test)]
                self.faults.before_commit(SNAPSHOT)?;
                transaction.inner.commit().await?;
                Ok(answer)
            }
            Err(error) => Err(self.roll_back(SNAPSHOT, transaction, error).await),
        }
    }
}

/// What an error says of operations that may have been done before.
fn before<T>(error: Error) -> Result<Ended<T>> {
    let violated = match &error {
        Error::Database(error) => violated(error),
        _ => None,
    };
    match violated.as_deref() {
        Some("operation_key") => Ok(Ended::KeyUsed),
        Some("operation") => Ok(Ended::Before),
        _ => Err(error),
    }
}
