//! Connections: one pool that writes, one that reads.
//!
//! Writers run at SERIALIZABLE. Single reading statements see one moment at any level, so readers run at one at which they
//! never collide with writers; reads of several statements that must see one moment use [`super::transaction`]'s snapshot.
//! In PostgreSQL that is the readers' level already (REPEATABLE READ), so that a snapshot need not ask for it. In SQLite
//! there is one writer (WAL lets readers go on), and it syncs fully: what was acknowledged survives a loss of power.
//! What PostgreSQL's connections begin with, and when they are begun anew, is [`super::session`]'s.

use std::{net::IpAddr, sync::Arc, time::Duration};

use sea_orm::{
    ConnectOptions, Database, DatabaseConnection,
    sqlx::{
        postgres::{PgConnectOptions, PgSslMode},
        sqlite::{SqliteJournalMode, SqliteSynchronous},
    },
};
use threeport_model::explain;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    session::Sessions,
    sql::{Fetch, Sql},
    transaction::is_retryable,
};
use crate::{
    error::{Error, Result},
    options::Options,
};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgresql,
    Cockroachdb,
}

impl Dialect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgresql => "postgresql",
            Self::Cockroachdb => "cockroachdb",
        }
    }

    /// Column types: ids, text that sorts by bytes, bytes.
    pub(crate) fn types(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Sqlite => ("BLOB", "TEXT", "BLOB"),
            Self::Postgresql => ("UUID", "TEXT COLLATE \"C\"", "BYTEA"),
            Self::Cockroachdb => ("UUID", "TEXT", "BYTEA"),
        }
    }

    /// Whether statements that write may be common table expressions of one statement.
    pub(crate) fn merges_writes(self) -> bool {
        self != Self::Sqlite
    }
}

/// Both pools.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pub(crate) writer: DatabaseConnection,
    pub(crate) reader: DatabaseConnection,
    pub(crate) dialect: Dialect,
    /// How many write at most.
    pub(crate) writers: u32,
    /// What says that both are closed.
    closing: watch::Sender<()>,
}

/// How long anybody waits for a connection.
pub(super) const ACQUIRE: Duration = Duration::from_secs(5);
/// Between two tries at a busy SQLite database.
const BUSY: Duration = Duration::from_millis(20);
/// How long connections are waited for that end.
const CLOSE: Duration = Duration::from_secs(2);

impl Connections {
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        Self::with(options, Some(options.timeout)).await
    }

    /// For statements that take as long as they take: an index on a large table.
    pub(crate) async fn for_migration(options: &Options) -> Result<Self> {
        Self::with(options, None).await
    }

    async fn with(options: &Options, timeout: Option<Duration>) -> Result<Self> {
        let sqlite = options.url.starts_with("sqlite:");
        if !sqlite
            && !["postgres://", "postgresql://"]
                .iter()
                .any(|scheme| options.url.starts_with(scheme))
        {
            return Err(Error::Options(
                "the URL must start with sqlite:// or postgresql://".to_owned(),
            ));
        }
        // One that can't be parsed is refused by the first connect.
        let server: Option<PgConnectOptions> = if sqlite { None } else { options.url.parse().ok() };
        if server.as_ref().is_some_and(is_open_to_others) {
            tracing::warn!(
                "nobody verifies who the database is: whoever is between can read and change all of it; let its URL say \
                 sslmode=verify-full&sslrootcert=FILE"
            );
        }
        let writers = if sqlite { 1 } else { options.writers.max(1) };
        let readers = options.readers.max(1);
        let (closing, closes) = watch::channel(());
        let sessions = |writes| {
            let server = server.clone()?;
            Some(Arc::new(Sessions::new(server, timeout, writes, closes.clone())))
        };
        let writer = connect(configure(&options.url, writers, timeout, true, sessions(true))).await?;
        let reader = connect(configure(&options.url, readers, timeout, false, sessions(false))).await?;
        let dialect = if sqlite {
            Dialect::Sqlite
        } else {
            which(&writer).await?
        };
        Ok(Self {
            writer,
            reader,
            dialect,
            writers,
            closing,
        })
    }

    /// Those with a server that is gone are left behind.
    pub(crate) async fn close(&self) {
        self.closing.send_replace(());
        let closed = async {
            for pool in [&self.reader, &self.writer] {
                if let Err(error) = pool.close_by_ref().await {
                    tracing::debug!(error = %explain(&error), "failed to close connections");
                }
            }
        };
        if self.dialect == Dialect::Sqlite {
            closed.await;
        } else if timeout(CLOSE, closed).await.is_err() {
            tracing::debug!("left connections behind that the database does not end");
        }
    }
}

/// Whether somebody between could pass for the server. Without `sslmode` there may even be no TLS.
fn is_open_to_others(postgres: &PgConnectOptions) -> bool {
    let host = postgres.get_host().trim_matches(['[', ']']);
    let is_here = postgres.get_socket().is_some()
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let verifies = matches!(
        postgres.get_ssl_mode(),
        PgSslMode::VerifyCa | PgSslMode::VerifyFull
    );
    !is_here && !verifies
}

/// Connects. Again for a while where SQLite is busy: nobody waits in it for the process that turns on the journal of a new
/// database.
async fn connect(options: ConnectOptions) -> Result<DatabaseConnection> {
    let until = Instant::now() + ACQUIRE;
    loop {
        match Database::connect(options.clone()).await {
            Err(error) if is_retryable(&error) && Instant::now() < until => sleep(BUSY).await,
            connected => return Ok(connected?),
        }
    }
}

fn configure(
    url: &str,
    connections: u32,
    timeout: Option<Duration>,
    writes: bool,
    sessions: Option<Arc<Sessions>>,
) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.replacen("postgresql://", "postgres://", 1));
    options
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    if let Some(sessions) = sessions {
        let server = sessions.server();
        options.map_sqlx_postgres_opts(move |_| server.clone());
        options.map_sqlx_postgres_pool_opts(move |pool| Arc::clone(&sessions).keep(pool));
    } else {
        configure_sqlite(&mut options, timeout, writes);
    }
    options
}

fn configure_sqlite(options: &mut ConnectOptions, timeout: Option<Duration>, writes: bool) {
    options
        .min_connections(1)
        .idle_timeout(Duration::from_secs(300))
        .max_lifetime(Duration::from_secs(1800))
        .test_before_acquire_if_idle_for(Duration::from_secs(5));
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(timeout.unwrap_or(ACQUIRE))
            .statement_cache_capacity(256)
            .pragma("query_only", if writes { "OFF" } else { "ON" })
    });
}

async fn which(connection: &DatabaseConnection) -> Result<Dialect> {
    let row = connection.one(Sql::new("SELECT version() AS version")).await?;
    let version: String = row.map_or_else(|| Ok(String::new()), |row| row.get("version"))?;
    Ok(if version.contains("CockroachDB") {
        Dialect::Cockroachdb
    } else {
        Dialect::Postgresql
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_nobody_verifies_is_open_to_others() {
        for (place, expected) in [
            ("db.example.com/t?sslmode=disable", true),
            ("db.example.com/t?sslmode=prefer", true),
            ("db.example.com/t?sslmode=require", true),
            ("db.example.com/t?sslmode=verify-ca", false),
            ("db.example.com/t?sslmode=verify-full", false),
            ("127.0.0.1:5432/t?sslmode=disable", false),
        ] {
            let postgres = format!("postgresql://u:p@{place}").parse().unwrap();
            assert_eq!(is_open_to_others(&postgres), expected, "{place}");
        }
    }
}
