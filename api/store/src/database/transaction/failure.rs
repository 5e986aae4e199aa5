//! What a database's error means: run it again, or not; and which constraint it speaks of.

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// Whether the transaction collided with another one, so that it can be run again.
pub(crate) fn is_retryable(error: &DbErr) -> bool {
    match database_error(error) {
        Some(found) if found.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() => {
            let code = found
                .code()
                .and_then(|code| code.parse::<i32>().ok())
                .unwrap_or_default();
            // SQLITE_BUSY and SQLITE_LOCKED, with all of their extended codes.
            matches!(code & 0xff, 5 | 6)
        }
        Some(found) => {
            let code = found.code().unwrap_or_default();
            // CockroachDB says CR000 for some of its retries.
            matches!(code.as_ref(), "40001" | "40P01" | "40003" | "CR000")
        }
        None => false,
    }
}

/// Whether the database could not be asked, or ended while it was.
pub(crate) fn is_connection_lost(error: &DbErr) -> bool {
    if matches!(error, DbErr::ConnectionAcquire(_)) {
        return false;
    }
    match sqlx_error(error) {
        Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed) => true,
        // Terminated, shutting down, starting up: the administrator's hand, not the statement's fault.
        Some(sqlx::Error::Database(found)) => {
            matches!(
                found.code().unwrap_or_default().as_ref(),
                "57P01" | "57P02" | "57P03" | "08000" | "08003" | "08006"
            )
        }
        _ => false,
    }
}

/// SQLSTATE of a server that takes no writes now: its administrator, or whoever hosts it, closed it for a while.
const READ_ONLY: &str = "25006";

/// Whether the same may succeed later.
pub(crate) fn is_transient(error: &DbErr) -> bool {
    matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_))
        || is_retryable(error)
        || is_connection_lost(error)
        || ["57014", "53300", "25P03", READ_ONLY].contains(&code(error).as_str())
}

/// Whether no server answered, or one that only starts or ends.
pub(crate) fn is_unanswered(error: &DbErr) -> bool {
    matches!(error, DbErr::ConnectionAcquire(_))
        || matches!(sqlx_error(error), Some(sqlx::Error::PoolTimedOut))
        || is_connection_lost(error)
}

/// Whether the database has no room for what is to be written: SQLITE_FULL, or SQLSTATE class 53's disk_full.
pub(crate) fn is_full(error: &DbErr) -> bool {
    ["13", "53100"].contains(&code(error).as_str())
}

/// Why a database takes a statement never, whoever sends it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A value that it can't keep: SQLSTATE class 22.
    Content,
    /// More parameters than it takes.
    Size,
}

/// Whether the statement itself was refused.
pub(crate) fn refusal(error: &DbErr) -> Option<Refusal> {
    let says = |text: &str| sqlx_error(error).is_some_and(|error| error.to_string().contains(text));
    let code = code(error);
    // SQLite's codes are numbers, too, but none has five characters and begins like this.
    if code.len() == 5 && code.starts_with("22") {
        Some(Refusal::Content)
    } else if says("too many arguments") || says("too many SQL variables") {
        Some(Refusal::Size)
    } else {
        None
    }
}

/// The SQLSTATE, or SQLite's code.
pub(crate) fn code(error: &DbErr) -> String {
    database_error(error)
        .and_then(sqlx::error::DatabaseError::code)
        .unwrap_or_default()
        .into_owned()
}

/// The unique constraint that was violated, if one was: the index's name, or the table's for a primary key.
pub(crate) fn violated(error: &DbErr) -> Option<String> {
    let found = database_error(error)?;
    if !found.is_unique_violation() {
        return None;
    }
    if let Some(constraint) = found.constraint() {
        return Some(constraint.trim_end_matches("_pkey").to_owned());
    }
    // SQLite names columns: `UNIQUE constraint failed: object.origin, object.slot`.
    let columns = found.message().rsplit(": ").next().unwrap_or_default();
    let name = match columns {
        columns if columns.contains("object.slot") => "object_slot",
        columns if columns.contains("object.name") => "object_name",
        columns if columns.contains("operation.idempotency_key") => "operation_key",
        columns if columns.contains("inventory.runtime_id") => "inventory_identity",
        columns => columns.split('.').next().unwrap_or_default(),
    };
    Some(name.to_owned())
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error))
        | DbErr::Conn(RuntimeErr::SqlxError(error)) => Some(error.as_ref()),
        _ => None,
    }
}

fn database_error(error: &DbErr) -> Option<&(dyn sqlx::error::DatabaseError + 'static)> {
    match sqlx_error(error)? {
        sqlx::Error::Database(error) => Some(error.as_ref()),
        _ => None,
    }
}
