//! Reading outside of a transaction: one statement, which changes nothing, so that it is sent again where the connection was
//! lost before it was answered. A database that was restarted leaves every connection of the pool like that, and nobody
//! should be told of one after the other.

use std::{future::Future, time::Duration};

use sea_orm::DatabaseConnection;
use tokio::time::sleep;

use super::{
    sql::{Fetch, Row, Sql},
    transaction::is_connection_lost,
};
use crate::error::{Error, Result};

/// More than there are connections: each that is lost says so once.
const TRIES: usize = 32;
/// A server that is starting says so at once, each time.
const PAUSE: Duration = Duration::from_millis(5);

/// The pool that reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a DatabaseConnection);

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
        again(|| self.0.one(sql.clone())).await
    }

    async fn all(&self, sql: Sql) -> Result<Vec<Row>> {
        again(|| self.0.all(sql.clone())).await
    }

    async fn run(&self, sql: Sql) -> Result<u64> {
        self.0.run(sql).await
    }
}
