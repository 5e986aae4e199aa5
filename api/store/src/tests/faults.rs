//! Failures at COMMIT and ROLLBACK, as a network makes them: before the database did it and after.

use std::sync::{Mutex, PoisonError};

use sea_orm::{DbErr, RuntimeErr, sqlx};

use crate::error::{Error, Result};

/// Where the next end of a transaction fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is lost before COMMIT reached the database.
    BeforeCommit,
    /// The connection is lost before the answer to COMMIT came back.
    AfterCommit,
    /// The connection is lost before the answer to ROLLBACK came back.
    AfterRollback,
}

/// The failures that are still to come, by the transaction's name.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<(&'static str, Fault)>>);

impl Faults {
    /// Plans a failure.
    pub(crate) fn plan(&self, name: &'static str, fault: Fault) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((name, fault));
    }

    pub(crate) fn before_commit(&self, name: &'static str) -> Result<()> {
        self.hit(name, Fault::BeforeCommit).map_err(Error::Database)
    }

    pub(crate) fn after_commit(&self, name: &'static str) -> Result<()> {
        self.hit(name, Fault::AfterCommit).map_err(Error::Database)
    }

    pub(crate) fn after_rollback(&self, name: &'static str) -> Result<(), DbErr> {
        self.hit(name, Fault::AfterRollback)
    }

    fn hit(&self, name: &'static str, fault: Fault) -> Result<(), DbErr> {
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = planned.iter().position(|planned| *planned == (name, fault)) else {
            return Ok(());
        };
        planned.remove(index);
        let lost = std::io::Error::new(
            std::io::ErrorKind::ConnectionReset,
            "connection reset by the test",
        );
        Err(DbErr::Exec(RuntimeErr::SqlxError(sqlx::Error::Io(lost).into())))
    }
}
