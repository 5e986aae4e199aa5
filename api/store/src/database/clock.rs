//! Time is the database's: microseconds since 1970, read inside the transaction, so that replicas with different
//! clocks agree on what is due and on the order in which a watch sees changes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    connection::Dialect,
    sql::{Fetch, Sql},
};
use crate::error::{Error, Result};

/// A second, in microseconds.
pub(crate) const SECOND: i64 = 1_000_000;
/// How far a time that was written may be ahead of the clock: the most by which the clocks of a database's nodes, or a clock
/// before and after it was corrected, differ without anybody having to begin anew.
pub(crate) const AHEAD: i64 = 15 * SECOND;

/// Whether a time is further ahead of the clock than it may be: the clock was set back since it was written.
pub(crate) fn is_ahead(at: i64, now: i64) -> bool {
    at > now.saturating_add(AHEAD)
}

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

/// What the database's clock says now, from what it said a while ago and the time that went by here since. It is never
/// ahead, and behind by what the answer took; [`Clock::MOST_WRONG`] is what a statement that relies on it allows.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<Option<(i64, Instant)>>);

impl Clock {
    /// Longer than a statement and its answer take; a process or a machine that was stopped in between is beyond.
    pub(crate) const MOST_WRONG: i64 = SECOND;
    /// For how long it is worked out from one answer.
    const FRESH: Duration = Duration::from_secs(1);

    /// The database said so just now.
    pub(crate) fn note(&self, now: i64) {
        *self.last() = Some((now, Instant::now()));
    }

    /// It was wrong.
    pub(crate) fn forget(&self) {
        *self.last() = None;
    }

    /// What it says now; nothing where that was not heard for too long.
    pub(crate) fn now(&self) -> Option<i64> {
        let (now, at) = (*self.last())?;
        let since = at.elapsed();
        (since < Self::FRESH).then(|| now + i64::try_from(since.as_micros()).unwrap_or_default())
    }

    fn last(&self) -> MutexGuard<'_, Option<(i64, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An expression that fails, with a division by zero, where the clock is not about where `now` says.
pub(crate) fn check(dialect: Dialect, now: i64) -> Sql {
    let mut sql = Sql::new(format!("1 / CASE WHEN ABS({} - ", expression(dialect)));
    sql.bind(now).push(") < ").bind(Clock::MOST_WRONG);
    sql.push(" THEN 1 ELSE 0 END");
    sql
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
