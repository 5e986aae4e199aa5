//! Time is the database's: microseconds since 1970, read inside the transaction, so that replicas with different
//! clocks agree on what is due and on the order in which a watch sees changes.

use jiff::Timestamp;

use crate::{
    connection::Dialect,
    error::{Error, Result},
    sql::{Fetch, Sql},
};

/// A second, in microseconds.
pub(crate) const SECOND: i64 = 1_000_000;

/// The expression that reads the clock. Not the transaction's start: a long transaction must not write into the past
/// of a watch.
pub(crate) fn expression(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        Dialect::Postgresql | Dialect::Cockroachdb => {
            "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
        }
    }
}

/// What the clock says.
pub(crate) async fn read(connection: &impl Fetch, dialect: Dialect) -> Result<i64> {
    let row = connection
        .one(Sql::new(format!("SELECT {} AS now", expression(dialect))))
        .await?;
    row.map_or_else(|| Err(decode("no row".to_owned())), |row| row.get("now"))
}

/// Microseconds as a timestamp.
pub(crate) fn timestamp(microseconds: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(microseconds).map_err(|error| decode(error.to_string()))
}

/// An optional column as a timestamp.
pub(crate) fn optional(microseconds: Option<i64>) -> Result<Option<Timestamp>> {
    microseconds.map(timestamp).transpose()
}

fn decode(why: String) -> Error {
    Error::Decode {
        what: "a time".to_owned(),
        why,
    }
}
