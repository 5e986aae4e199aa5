//! The one way to write: named transactions that are run again where the database says so.
//!
//! [`Transactions::run`] runs a closure at SERIALIZABLE (SQLite: BEGIN IMMEDIATE, its one writer) and runs it again,
//! jittered and capped, where two transactions collided: 40001, 40P01, SQLite's BUSY and LOCKED, from BEGIN to COMMIT.
//! After five seconds ([`Options::timeout`]) it is dead. So the closure must read everything that it decides on inside, and do nothing that
//! a rollback does not undo. Rows are written in the order of their ids, which keeps deadlocks rare.
//!
//! How many run at once is [`crate::pace`]'s.
//!
//! **Round trips** are most of what a small transaction costs, on both sides. So the clock comes with the first statement
//! where that is known beforehand ([`Transactions::run_on`]), and what is written goes in one statement where the database
//! can ([`Transaction::write`], [`Transaction::write_and_read`]).
//!
//! **Ambiguous commits.** A connection that is lost during COMMIT (or 40003) leaves open whether it happened.
//! [`Transactions::operate`] therefore makes the operation's id before the first try and inserts it as the first
//! statement: run again, a duplicate key says that it had committed, and the stored answer is given. Of several
//! operations that commit together that is said of all: whoever sent them runs each by itself then. Closures of `run`
//! are guarded by what they write instead (an epoch, a token, an equal row), so that a second run changes nothing.
//!
//! What not to do: no `begin` anywhere else (clippy forbids it), no network and no waiting inside a closure.

mod at_once;
mod failure;
mod open;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use sea_orm::{
    AccessMode, DbErr, IsolationLevel, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use threeport_failpoint::{Write, around};

use self::open::begin_with;
pub(crate) use self::{
    failure::{Refusal, code, is_connection_lost, is_full, is_retryable, is_transient, refusal, violated},
    open::{Stamp, Transaction},
};

use crate::{
    clock::{self, Clock},
    connection::{Connections, Dialect},
    error::{Error, Result},
    operation::{self, Record},
    options::Options,
    pace::{Asking, Pace, Rank},
    random::Random,
    sql::Sql,
};

/// The name of what only reads.
const SNAPSHOT: &str = "snapshot";
/// The most tries.
const TRIES: u32 = 30;
/// The longest pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// How often transactions of one name ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionCount {
    /// The name.
    pub name: &'static str,
    /// Transactions that committed.
    pub committed: u64,
    /// Tries that were run again.
    pub retried: u64,
    /// Transactions that failed or were refused.
    pub failed: u64,
}

/// Runs transactions.
#[derive(Clone)]
pub(crate) struct Transactions {
    connections: Connections,
    random: Random,
    timeout: Duration,
    pub(crate) pace: Pace,
    pub(crate) clock: Arc<Clock>,
    counts: Arc<Mutex<BTreeMap<&'static str, TransactionCount>>>,
    #[cfg(test)]
    pub(crate) faults: Arc<crate::tests::faults::Faults>,
}

/// The statement that a transaction begins with: it must select the clock as `now`.
type First<'a, I> = &'a (dyn Fn(&I, Dialect) -> Sql + Sync);

/// One try.
type Attempt<'a, T> = &'a (dyn Fn() -> BoxFuture<'a, Result<Ended<T>>> + Sync);

/// How an operation ended.
pub(crate) enum Ended<T> {
    /// By committing now.
    Committed(T),
    /// By having committed before: its answer is in the database.
    Before,
    /// Its idempotency key was used before.
    KeyUsed,
}

impl Transactions {
    pub(crate) fn new(connections: Connections, options: &Options) -> Self {
        let pace = Pace::new(usize::try_from(connections.writers).unwrap_or(usize::MAX));
        Self {
            connections,
            random: options.random.clone(),
            timeout: options.timeout,
            pace,
            clock: Arc::default(),
            counts: Arc::default(),
            #[cfg(test)]
            faults: Arc::default(),
        }
    }

    /// How often transactions ended how, by name.
    pub(crate) fn counts(&self) -> Vec<TransactionCount> {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .copied()
            .collect()
    }

    /// Says for as long as it is kept that somebody who is no controller wants to write.
    pub(crate) fn asking(&self) -> Asking {
        self.pace.asking()
    }

    /// Runs `work` on `input` in a transaction. See the module for what it may do.
    pub(crate) async fn run<I, T, W>(&self, write: Write, input: &I, work: W) -> Result<T>
    where
        I: Sync,
        T: Send,
        W: for<'t> Fn(&'t Transaction, &'t I) -> BoxFuture<'t, Result<T>> + Sync,
    {
        let attempt = || self.once(write, &[], None, input, &work).boxed();
        finished(write, self.limited(write, Some(Rank::Behind), &attempt).await?)
    }

    /// The same, with what `first` reads in [`Transaction::first`]. It must select the clock as `now`.
    pub(crate) async fn run_on<I, T, W>(
        &self,
        write: Write,
        input: &I,
        first: impl Fn(&I, Dialect) -> Sql + Sync,
        work: W,
    ) -> Result<T>
    where
        I: Sync,
        T: Send,
        W: for<'t> Fn(&'t Transaction, &'t I) -> BoxFuture<'t, Result<T>> + Sync,
    {
        let attempt = || self.once(write, &[], Some(&first), input, &work).boxed();
        finished(write, self.limited(write, Some(Rank::Behind), &attempt).await?)
    }

    /// Runs `work` as the operation `records` has, or as several that commit together.
    pub(crate) async fn operate<I, T, W>(
        &self,
        write: Write,
        records: &[&Record],
        input: &I,
        work: W,
    ) -> Result<Ended<T>>
    where
        I: Sync,
        T: Send,
        W: for<'t> Fn(&'t Transaction, &'t I) -> BoxFuture<'t, Result<T>> + Sync,
    {
        let attempt = || self.once(write, records, None, input, &work).boxed();
        self.limited(write, Some(Rank::First), &attempt).await
    }

    /// Runs reading statements that see one moment, and runs them again where the database says so or was lost. In
    /// CockroachDB one moment is only seen by SERIALIZABLE, which can collide with writers.
    pub(crate) async fn snapshot<I, T, W>(
        &self,
        input: &I,
        first: impl Fn(&I, Dialect) -> Sql + Sync,
        work: W,
    ) -> Result<T>
    where
        I: Sync,
        T: Send,
        W: for<'t> Fn(&'t Transaction, &'t I) -> BoxFuture<'t, Result<T>> + Sync,
    {
        let name = SNAPSHOT;
        let tries = async {
            let mut tried = 0;
            loop {
                match self.read(input, &first, &work).await {
                    Err(Error::Database(error)) => {
                        tried += 1;
                        self.pause_or_fail(name, tried, error).await?;
                    }
                    ended => return ended,
                }
            }
        };
        let seconds = self.timeout.as_secs();
        let answer = tokio::time::timeout(self.timeout, tries).await;
        answer.unwrap_or(Err(Error::TimedOut { name, seconds }))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    async fn read<I, T, W>(&self, input: &I, first: First<'_, I>, work: &W) -> Result<T>
    where
        I: Sync,
        T: Send,
        W: for<'t> Fn(&'t Transaction, &'t I) -> BoxFuture<'t, Result<T>> + Sync,
    {
        let dialect = self.connections.dialect;
        let options = TransactionOptions {
            isolation_level: match dialect {
                Dialect::Sqlite => None,
                Dialect::Postgresql => Some(IsolationLevel::RepeatableRead),
                Dialect::Cockroachdb => Some(IsolationLevel::Serializable),
            },
            access_mode: (dialect != Dialect::Sqlite).then_some(AccessMode::ReadOnly),
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
        let answer = work(&transaction, input).await;
        if answer.is_err() {
            transaction.inner.rollback().await?;
            return answer;
        }
        #[cfg(test)]
        self.faults.before_commit(SNAPSHOT)?;
        transaction.inner.commit().await?;
        answer
    }

    /// Attempts until one ends well, in time, each in its turn. Without a rank: whenever it likes.
    async fn limited<T>(
        &self,
        write: Write,
        rank: Option<Rank>,
        attempt: Attempt<'_, T>,
    ) -> Result<Ended<T>> {
        let answer = tokio::time::timeout(self.timeout, self.tries(write, rank, attempt)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(Error::TimedOut {
                name: write.name(),
                seconds: self.timeout.as_secs(),
            })
        });
        self.count(write.name(), |count| match &answer {
            Ok(_) => count.committed += 1,
            Err(_) => count.failed += 1,
        });
        answer
    }

    async fn tries<T>(&self, write: Write, rank: Option<Rank>, attempt: Attempt<'_, T>) -> Result<Ended<T>> {
        let mut tried = 0;
        loop {
            let turn = match rank {
                Some(rank) => Some(self.pace.turn(rank).await),
                None => None,
            };
            let error = match attempt().await {
                Err(Error::Database(error)) => error,
                ended => {
                    if let (Ok(_), Some(turn)) = (&ended, &turn) {
                        turn.committed();
                    }
                    return ended;
                }
            };
            if let (true, Some(turn)) = (is_retryable(&error), &turn) {
                turn.collided();
            }
            drop(turn);
            tried += 1;
            self.pause_or_fail(write.name(), tried, error).await?;
        }
    }

    /// Comes back where it is worth another try.
    async fn pause_or_fail(&self, name: &'static str, tried: u32, error: DbErr) -> Result<()> {
        if tried >= TRIES || !(is_retryable(&error) || is_connection_lost(&error)) {
            return Err(error.into());
        }
        self.count(name, |count| count.retried += 1);
        let pause = Duration::from_millis(2)
            .saturating_mul(1 << tried.min(8))
            .min(PAUSE);
        tokio::time::sleep(self.random.jitter(pause)).await;
        Ok(())
    }

    async fn once<I, T, W>(
        &self,
        write: Write,
        records: &[&Record],
        first: Option<First<'_, I>>,
        input: &I,
        work: &W,
    ) -> Result<Ended<T>>
    where
        I: Sync,
        T: Send,
        W: for<'t> Fn(&'t Transaction, &'t I) -> BoxFuture<'t, Result<T>> + Sync,
    {
        let transaction = match self.begin(records, first, input).await {
            Ok(transaction) => transaction,
            Err(error) => return before(error),
        };
        match work(&transaction, input).await {
            Ok(answer) if records.iter().any(|record| record.dry_run) => {
                transaction.inner.rollback().await?;
                Ok(Ended::Committed(answer))
            }
            Ok(answer) => {
                self.commit(write, transaction).await?;
                Ok(Ended::Committed(answer))
            }
            Err(error) => {
                if let Err(failed) = transaction.inner.rollback().await {
                    tracing::debug!(name = write.name(), error = %failed, "failed to roll back; the connection does it when it is dropped");
                }
                Err(error)
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    async fn begin<I>(
        &self,
        records: &[&Record],
        first: Option<First<'_, I>>,
        input: &I,
    ) -> Result<Transaction> {
        let dialect = self.connections.dialect;
        let options = TransactionOptions {
            isolation_level: None,
            access_mode: None,
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        };
        let inner = self.connections.writer.begin_with_options(options).await?;
        let (first, now) = match first {
            _ if !records.is_empty() => {
                begin_with(&inner, dialect, operation::insert(records, dialect, None)?).await?
            }
            Some(first) => begin_with(&inner, dialect, first(input, dialect)).await?,
            None => (Vec::new(), clock::read(&inner, dialect).await?),
        };
        self.clock.note(now);
        Ok(Transaction {
            inner,
            dialect,
            stamp: self.stamp(now),
            first,
        })
    }

    fn stamp(&self, now: i64) -> Stamp {
        Stamp {
            token: self.random.uuid().to_string(),
            now,
        }
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

    fn count(&self, name: &'static str, change: impl FnOnce(&mut TransactionCount)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        change(counts.entry(name).or_insert_with(|| TransactionCount {
            name,
            ..TransactionCount::default()
        }));
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

/// Without an operation there is only one way to end well.
fn finished<T>(write: Write, ended: Ended<T>) -> Result<T> {
    match ended {
        Ended::Committed(answer) => Ok(answer),
        Ended::Before | Ended::KeyUsed => Err(Error::Conflict(format!("{} has no operation", write.name()))),
    }
}
