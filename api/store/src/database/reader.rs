//! Reading outside of a transaction: one statement, which changes nothing, so that it is sent again where the connection was
//! lost before it was answered. A database that was restarted leaves every connection of the pool like that, and nobody
//! should be told of one after the other.
//!
//! It ends in time whether or not it is answered: nobody else gives up what the tailer or the relay ask.

use std::{future::Future, time::Duration};

use sea_orm::DatabaseConnection;
use tokio::time::{sleep, timeout};

use super::{
    sql::{Fetch, Row, Sql},
    transaction::is_connection_lost,
};
use crate::error::{Error, Result};

/// More than there are connections: each that is lost says so once.
const TRIES: usize = 32;
/// A server that is starting says so at once, each time.
const PAUSE: Duration = Duration::from_millis(5);

/// How much longer it may take than the statement, which the database ends: a session is waited for as well.
const BESIDE: Duration = Duration::from_secs(6);

/// The pool that reads, and how long a statement may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a DatabaseConnection, pub(crate) Duration);

impl Reader<'_> {
    async fn in_time<T, F: Future<Output = Result<T>>>(&self, attempt: impl Fn() -> F) -> Result<T> {
        let longest = self.1 + BESIDE;
        let answer = timeout(longest, again(attempt)).await;
        answer.unwrap_or_else(|_| {
            Err(Error::TimedOut {
                name: "read",
                seconds: longest.as_secs(),
            })
        })
    }
}

async fn again<T, F: Future<Output = Result<T>>>(attempt: impl Fn() -> F) -> Result<T> {
    for _ in 1..TRIES {
        match attempt().await {
            Err(Error::Database(error)) if is_connection_lost(&error) => {}
            answer => return answer,
        }
        sleep(PAUSE).await;
    }
    attempt().await
}

impl Fetch for Reader<'_> {
    async fn one(&self, sql: Sql) -> Result<Option<Row>> {
        self.in_time(|| self.0.one(sql.clone())).await
    }

    async fn all(&self, sql: Sql) -> Result<Vec<Row>> {
        self.in_time(|| self.0.all(sql.clone())).await
    }

    async fn run(&self, sql: Sql) -> Result<u64> {
        self.0.run(sql).await
    }
}
