//! The one way to write: named transactions that are run again where the database says so.
//!
//! [`Transactions::run`] runs a closure at SERIALIZABLE (SQLite: BEGIN IMMEDIATE, its one writer) and runs it again,
//! jittered and capped, where two transactions collided: 40001, 40P01, SQLite's BUSY and LOCKED, from BEGIN to COMMIT.
//! After five seconds ([`Options::timeout`]) it is dead. So the closure must read everything that it decides on inside, and do nothing that
//! a rollback does not undo. Rows are written in the order of their ids, which keeps deadlocks rare.
//!
//! How many run at once is [`super::pace`]'s.
//!
//! **Round trips** are most of what a small transaction costs, on both sides. So the clock comes with the first statement
//! where that is known beforehand ([`Transactions::run_on`]), and what is written goes in one statement where the database
//! can ([`Transaction::write`], [`Transaction::write_and_read`]). What is one statement altogether commits itself
//! ([`Transactions::at_once`], [`Transactions::alone`]).
//!
//! **Ambiguous commits.** A connection that is lost during COMMIT (or 40003) leaves open whether it happened.
//! [`Transactions::operate`] therefore makes the operation's id before the first try and inserts it as the first
//! statement: run again, a duplicate key says that it had committed, and the stored answer is given. Of several
//! operations that commit together that is said of all: whoever sent them runs each by itself then. Closures of `run`
//! are guarded by what they write instead (an epoch, a token, an equal row), so that a second run changes nothing.
//!
//! What not to do: no `begin` anywhere else (clippy forbids it), no network and no waiting inside a closure.

mod alone;
mod at_once;
mod failure;
mod once;
mod open;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use sea_orm::DbErr;
use threeport_failpoint::Write;

use self::once::Begin;
pub(crate) use self::{
    failure::{
        Refusal, code, is_connection_lost, is_full, is_retryable, is_transient, is_unanswered, refusal,
        violated,
    },
    open::{Stamp, Transaction},
};

use super::{
    clock::Clock,
    connection::{Connections, Dialect},
    pace::{Asking, Pace, Rank},
    random::Random,
    sql::Sql,
};
use crate::{
    error::{Error, Result},
    operation::Record,
    options::Options,
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
    /// Dry runs: done, and rolled back at their end.
    pub rolled_back: u64,
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

/// One try.
type Attempt<'a, T> = &'a (dyn Fn() -> BoxFuture<'a, Result<T>> + Sync);

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
        let attempt = || self.once(write, Begin::Clock, input, &work).boxed();
        self.limited(write.name(), Some(Rank::Behind), &attempt).await
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
        let attempt = || self.once(write, Begin::Reading(&first), input, &work).boxed();
        self.limited(write.name(), Some(Rank::Behind), &attempt).await
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
        let attempt = || self.once_as(write, records, input, &work).boxed();
        let answer = self.in_time(write.name(), Some(Rank::First), &attempt).await;
        let dry_run = records.iter().any(|record| record.dry_run);
        self.count(write.name(), |count| match &answer {
            Ok(_) if dry_run => count.rolled_back += 1,
            Ok(_) => count.committed += 1,
            Err(_) => count.failed += 1,
        });
        answer
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
        let attempt = || self.read(input, &first, &work).boxed();
        self.limited(SNAPSHOT, None, &attempt).await
    }

    /// Attempts in time, and counts how that ended.
    async fn limited<T>(&self, name: &'static str, rank: Option<Rank>, attempt: Attempt<'_, T>) -> Result<T> {
        let answer = self.in_time(name, rank, attempt).await;
        self.count(name, |count| match &answer {
            Ok(_) => count.committed += 1,
            Err(_) => count.failed += 1,
        });
        answer
    }

    /// Attempts until one ends well, in time, each in its turn. Without a rank: whenever it likes.
    async fn in_time<T>(&self, name: &'static str, rank: Option<Rank>, attempt: Attempt<'_, T>) -> Result<T> {
        let seconds = self.timeout.as_secs();
        let answer = tokio::time::timeout(self.timeout, self.tries(name, rank, attempt)).await;
        answer.unwrap_or(Err(Error::TimedOut { name, seconds }))
    }

    async fn tries<T>(&self, name: &'static str, rank: Option<Rank>, attempt: Attempt<'_, T>) -> Result<T> {
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
            self.pause_or_fail(name, tried, error).await?;
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

    fn stamp(&self, now: i64) -> Stamp {
        Stamp {
            token: self.random.uuid().to_string(),
            now,
        }
    }

    fn count(&self, name: &'static str, change: impl FnOnce(&mut TransactionCount)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        change(counts.entry(name).or_insert_with(|| TransactionCount {
            name,
            ..TransactionCount::default()
        }));
    }
}
