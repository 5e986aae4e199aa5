//! Operations that only write, and know what before they begin: one statement where the database can, which commits
//! itself, so that one round trip is all that it takes.
//!
//! Their rows carry the time that the database's clock has by [`clock::Clock`], worked out from when it was last heard. The
//! statement ends with a look at the clock itself and fails where that is further off than [`clock::Clock::MOST_WRONG`] (as a
//! machine that was stopped in between has it). Where that or a constraint stands against it, nothing of it is written, and
//! a transaction does the same in its order, which finds what was done before, or says what the matter is.

use futures::{FutureExt, future::BoxFuture};
use sea_orm::ConnectionTrait;
use threeport_failpoint::{Write, around};

use super::{Ended, Stamp, Transaction, Transactions, code, violated};
use crate::{
    database::{clock, sql::Sql},
    error::{Error, Result},
    operation::{self, Record},
};

/// SQLSTATE of what the statement fails with where the clock was wrong.
const DIVISION_BY_ZERO: &str = "22012";

impl Transactions {
    /// Writes what `plan` says, as the operations `records`. None of its statements may read what another writes, the row
    /// of the operation included.
    pub(crate) async fn at_once<I, T, P>(
        &self,
        write: Write,
        records: &[&Record],
        input: &I,
        plan: P,
    ) -> Result<Ended<T>>
    where
        I: Sync,
        T: Send,
        P: Fn(&Stamp, &I) -> Result<(Vec<Sql>, T)> + Sync,
    {
        // A closure of `once_as` may borrow from nothing but its input.
        let planned = (input, &plan);
        let attempt = || {
            async {
                match self.statement(write, records, input, &plan).await? {
                    Some(ended) => Ok(ended),
                    None => self.once_as(write, records, &planned, &write_planned).await,
                }
            }
            .boxed()
        };
        self.limited(write.name(), None, &attempt).await
    }

    /// As one statement; nothing where that can't be.
    async fn statement<I, T, P>(
        &self,
        write: Write,
        records: &[&Record],
        input: &I,
        plan: &P,
    ) -> Result<Option<Ended<T>>>
    where
        P: Fn(&Stamp, &I) -> Result<(Vec<Sql>, T)>,
    {
        let (writer, dialect) = (&self.connections.writer, self.connections.dialect);
        if !dialect.merges_writes() {
            return Ok(None);
        }
        let now = match self.clock.now() {
            Some(now) => now,
            None => {
                let now = clock::read(writer, dialect).await?;
                self.clock.note(now);
                now
            }
        };
        let (statements, answer) = plan(&self.stamp(now), input)?;
        let mut all = vec![operation::insert(records, dialect, Some(now))?];
        all.extend(statements);
        if !Sql::may_be_one(dialect, all.iter()) {
            return Ok(None);
        }
        match self
            .execute(write, Sql::merge_and_select(all, clock::check(dialect, now)))
            .await
        {
            Ok(()) => Ok(Some(Ended::Committed(answer))),
            Err(Error::Database(error)) if code(&error) == DIVISION_BY_ZERO => {
                tracing::warn!("the database's clock is not where it was thought to be");
                self.clock.forget();
                Ok(None)
            }
            // Which of several constraints is named, and so what the violation means, is not said by one statement.
            Err(Error::Database(error)) if violated(&error).is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a statement that commits itself.
    async fn execute(&self, write: Write, sql: Sql) -> Result<()> {
        #[cfg(test)]
        self.faults.before_commit(write.name())?;
        let statement = sql.statement(&self.connections.writer);
        let executed = around(write, self.connections.writer.execute_raw(statement)).await;
        // As it is, since what the check says is not the request's fault.
        executed.map_err(|error| match code(&error).as_str() {
            DIVISION_BY_ZERO => Error::Database(error),
            _ => Error::from(error),
        })?;
        #[cfg(test)]
        self.faults.after_commit(write.name())?;
        Ok(())
    }
}

/// Writes what a plan says in an open transaction.
fn write_planned<'t, I, T, P>(
    transaction: &'t Transaction,
    (input, plan): &'t (&I, &P),
) -> BoxFuture<'t, Result<T>>
where
    I: Sync,
    T: Send,
    P: Fn(&Stamp, &I) -> Result<(Vec<Sql>, T)> + Sync,
{
    Box::pin(async move {
        let (statements, answer) = plan(transaction, input)?;
        transaction.write(statements).await?;
        Ok(answer)
    })
}
