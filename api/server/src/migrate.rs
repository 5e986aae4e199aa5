//! `threeport-api migrate`: what every start of an API begins with.
//!
//! A database that does not answer yet (it starts at the same time, on a node that comes back say) is waited for: a container
//! that ends instead is started again ever later, and the API would be away for up to five minutes after its database is
//! back. One that refuses is not: somebody has to do something.

use std::time::Duration;

use threeport_model::explain;
use threeport_store::{Error, Options, Store};
use tokio::time::{Instant, sleep};

use crate::configuration::Database;

/// For how long. Who looks on finds why in the log; an end says it to Kubernetes, too.
const PATIENCE: Duration = Duration::from_secs(600);
const AGAIN: Duration = Duration::from_secs(1);

/// Brings the schema up.
pub async fn run(database: &Database) -> anyhow::Result<()> {
    let options = Options::new(database.url()?);
    let version = once_answered(async || Store::migrate(&options).await, Error::is_unanswered).await?;
    tracing::info!("the database has schema version {version}");
    Ok(())
}

async fn once_answered<T, E: std::error::Error>(
    attempt: impl AsyncFn() -> Result<T, E>,
    is_unanswered: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Err(error) if is_unanswered(&error) && Instant::now() < until => {
                tracing::warn!(error = %explain(&error), "failed to reach the database, trying again");
                sleep(AGAIN).await;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, io};

    use super::*;

    /// What comes of a database that refuses connections `times` times, and then answers so; and after how many attempts.
    async fn of_attempts(times: u64, then: Result<(), io::ErrorKind>) -> (Result<(), io::ErrorKind>, u64) {
        let made = Cell::new(0);
        let attempt = async || {
            made.set(made.get() + 1);
            if made.get() <= times {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            then.map_err(io::Error::from)
        };
        let is_unanswered = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        let done = once_answered(attempt, is_unanswered).await;
        (done.map_err(|error| error.kind()), made.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_not_there_yet_is_waited_for_and_one_that_refuses_is_not() {
        let refused = Err(io::ErrorKind::PermissionDenied);
        assert_eq!(of_attempts(90, Ok(())).await, (Ok(()), 91));
        assert_eq!(of_attempts(3, refused).await, (refused, 4));
        let (gone, attempts) = of_attempts(u64::MAX, Ok(())).await;
        assert_eq!(gone, Err(io::ErrorKind::ConnectionRefused));
        assert_eq!(attempts, PATIENCE.as_secs() / AGAIN.as_secs() + 1);
    }
}
