//! An open transaction: what it knows of its beginning, and how its statements are run.

use std::ops::Deref;

use sea_orm::DatabaseTransaction;

use crate::{
    database::{
        clock,
        connection::Dialect,
        sql::{Fetch, Row, Sql},
    },
    error::Result,
};

/// What all rows have in common that one try writes.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// New for every try: what pending rows get that are made or refreshed here.
    pub(crate) token: String,
    /// The database's clock as the transaction began.
    pub(crate) now: i64,
}

/// An open transaction, as closures see it.
pub(crate) struct Transaction {
    pub(super) inner: DatabaseTransaction,
    pub(crate) dialect: Dialect,
    pub(super) stamp: Stamp,
    /// What it read in its first statement, where that was given.
    pub(crate) first: Vec<Row>,
}

impl Deref for Transaction {
    type Target = Stamp;

    fn deref(&self) -> &Stamp {
        &self.stamp
    }
}

/// What the first statement reads, and the clock.
pub(super) async fn begin_with(
    connection: &DatabaseTransaction,
    dialect: Dialect,
    first: Sql,
) -> Result<(Vec<Row>, i64)> {
    let rows = connection.all(first).await?;
    let now = match rows.first() {
        Some(row) => row.get("now")?,
        None => clock::read(connection, dialect).await?,
    };
    Ok((rows, now))
}

impl Transaction {
    /// At most one row.
    pub(crate) async fn one(&self, sql: Sql) -> Result<Option<Row>> {
        self.inner.one(sql).await
    }

    /// All rows.
    pub(crate) async fn all(&self, sql: Sql) -> Result<Vec<Row>> {
        self.inner.all(sql).await
    }

    /// How many rows were changed.
    pub(crate) async fn run(&self, sql: Sql) -> Result<u64> {
        self.inner.run(sql).await
    }

    /// Runs statements that write, in one round trip where the database can. Each must write other rows, and none may
    /// read what another writes; what refers to another's rows comes after it.
    pub(crate) async fn write(&self, statements: Vec<Sql>) -> Result<()> {
        if statements.is_empty() {
            return Ok(());
        }
        for statement in Sql::merged_or_pieces(statements, self.dialect) {
            self.run(statement).await?;
        }
        Ok(())
    }

    /// [`Transaction::write`], with the rows that `reading` return, which write too and must return the same columns.
    pub(crate) async fn write_and_read(&self, statements: Vec<Sql>, reading: Vec<Sql>) -> Result<Vec<Row>> {
        if reading.is_empty() {
            self.write(statements).await?;
            return Ok(Vec::new());
        }
        if Sql::may_be_one(self.dialect, statements.iter().chain(&reading)) {
            return self.all(Sql::merge_returning(statements, reading)).await;
        }
        self.write(statements).await?;
        let mut rows = Vec::new();
        for statement in reading {
            rows.extend(self.all(statement).await?);
        }
        Ok(rows)
    }
}
