//! Sessions with a server of PostgreSQL: what each begins with, and when another one takes its place.
//!
//! **A server that is gone without a word** (its machine lost its power, the network lets nothing through) ends no
//! connection: what was sent to it is sent again for a quarter of an hour. Who waits for an answer gives up long before, but
//! sqlx does not, with whose pool the session is then. So one that goes back must answer what it was sent in the time that
//! the server gives a statement, and one that was idle must say that it is there. Else another one takes its place.
//!
//! **A standby**, to which the database's name may lead for a while after a failover, fails each write, and what it reads may
//! be older than what was written, so that work would be done by an old world and count as done. So no session is begun
//! with one: another one takes its place, until it is of the primary.
//!
//! **In its place**: a session that sqlx is told to end, or ends for its age, is shut down first, and over TLS that waits
//! until the server does the same (`RustlsSocket::poll_flush` of 0.9 reads where there is nothing to write). Of one that is
//! silent it does so without end, and the place in the pool is lost. So none is refused, and none ends for its age: another
//! connection is put where it was, and what was there is dropped, which closes its socket and waits for nobody.
//!
//! That is tried until there is one. Whoever waits for a session that begins, or that was idle, gives up in time, and sqlx
//! with him. One that goes back keeps its place: he who wanted that would try the same, and finds a session as soon as there
//! can be one. It ends when the pools are closed.
//!
//! What is left: before a session is idle, sqlx asks it once more, without a bound. So one is lost for the quarter of an hour
//! where the server falls silent in between: some of many, since that takes them a moment.

use std::{future::Future, io, mem, sync::Arc, time::Duration};

use sea_orm::sqlx::{
    self, ConnectOptions, Connection, Executor, PgConnection, Row,
    pool::PoolConnectionMetadata,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use threeport_model::explain;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::connection::ACQUIRE;

/// For how long a session is waited for that has nothing to do.
const ANSWER: Duration = Duration::from_secs(2);
/// After how long it is asked whether it is there.
const IDLE: Duration = Duration::from_secs(5);
/// After how long a session is begun anew: the server that it is with may not be the one that its name leads to.
const LIFETIME: Duration = Duration::from_secs(1800);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// A statement is planned once per connection, for whatever values: all of ours find few rows by an index, so that another
/// plan is never better, and PostgreSQL would plan most of them anew each time, which takes it longer than to run them.
/// No plan is compiled either, which takes longer still: a plan for whatever values of many objects may look as if it were
/// worth it, and one that reads a whole table where that is to be avoided always does.
/// Nothing where the server has no such setting, nor in CockroachDB, whose planner is another one.
const PLAN_ONCE: &str = "SELECT set_config('plan_cache_mode', 'force_generic_plan', false), \
    set_config('jit', 'off', false) \
    WHERE current_setting('plan_cache_mode', true) IS NOT NULL AND version() NOT LIKE '%CockroachDB%'";
/// What a reader of PostgreSQL begins with: all of its transactions see one moment, and none writes.
const READ_ONE_MOMENT: &str = "SELECT set_config('default_transaction_isolation', 'repeatable read', false), \
    set_config('default_transaction_read_only', 'on', false) WHERE version() NOT LIKE '%CockroachDB%'";
/// What whoever writes begins with, and whoever reads.
const WRITER: &[&str] = &[PLAN_ONCE];
const READER: &[&str] = &[PLAN_ONCE, READ_ONE_MOMENT];
/// Whether the server is a standby. CockroachDB has none, and says so.
const IS_STANDBY: &str = "SELECT pg_is_in_recovery()";

/// How the sessions of a pool are begun.
pub(crate) struct Sessions {
    server: PgConnectOptions,
    beginning: &'static [&'static str],
    /// For how long one is waited for that goes back.
    answer: Duration,
    /// Changes when the pools are closed, and ends with them.
    closing: watch::Receiver<()>,
}

impl Sessions {
    pub(crate) fn new(
        server: PgConnectOptions,
        limit: Option<Duration>,
        writes: bool,
        closing: watch::Receiver<()>,
    ) -> Self {
        let isolation = if writes { "serializable" } else { "read committed" };
        // 0 is without a limit.
        let limit = limit.unwrap_or_default();
        let milliseconds = limit.as_millis().to_string();
        let server = server
            .application_name("threeport-api")
            .statement_cache_capacity(512)
            .disable_statement_logging()
            .options([
                ("default_transaction_isolation", isolation),
                ("statement_timeout", &milliseconds),
                ("idle_in_transaction_session_timeout", "10000"),
            ]);
        // A serializable transaction that reads a small table whole collides with whoever writes anything in it.
        let server = if writes {
            server.options([("enable_seqscan", "off")])
        } else {
            server
        };
        Self {
            server,
            beginning: if writes { WRITER } else { READER },
            answer: limit + ANSWER,
            closing,
        }
    }

    /// What they connect with.
    pub(crate) fn server(&self) -> PgConnectOptions {
        self.server.clone()
    }

    /// Has a pool begin its sessions so, and end none by itself.
    pub(crate) fn keep(self: Arc<Self>, pool: PgPoolOptions) -> PgPoolOptions {
        let (begun, lent, back) = (Arc::clone(&self), Arc::clone(&self), self);
        pool.min_connections(0)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |session, _| {
                let sessions = Arc::clone(&begun);
                Box::pin(async move {
                    sessions.begun(session).await;
                    Ok(())
                })
            })
            .before_acquire(move |session, times| {
                let sessions = Arc::clone(&lent);
                Box::pin(async move {
                    sessions.lend(session, &times).await;
                    Ok(true)
                })
            })
            .after_release(move |session, _| {
                let sessions = Arc::clone(&back);
                Box::pin(async move { sessions.take_back(session).await })
            })
    }

    /// One that sqlx connected.
    async fn begun(&self, session: &mut PgConnection) {
        if let Err(why) = within(ACQUIRE, self.begin(session)).await {
            self.replace(session, why).await;
        }
    }

    /// One that was idle, before somebody uses it.
    async fn lend(&self, session: &mut PgConnection, times: &PoolConnectionMetadata) {
        if is_old(times.age, times.idle_for)
            && let Ok(next) = within(ANSWER, self.connect()).await
        {
            let former = mem::replace(session, next);
            // So that the server does not log that somebody was lost.
            let _ = within(ANSWER, former.close()).await;
            return;
        }
        if times.idle_for >= IDLE
            && let Err(why) = within(ANSWER, session.ping()).await
        {
            self.replace(session, why).await;
        }
    }

    /// One that somebody used.
    async fn take_back(&self, session: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let mut closing = self.closing.clone();
        tokio::select! {
            biased;
            () = self.settle(session) => Ok(true),
            _ = closing.changed() => Err(sqlx::Error::PoolClosed),
        }
    }

    /// Waits for what was given up before it was answered.
    async fn settle(&self, session: &mut PgConnection) {
        let answered = async {
            loop {
                match session.flush().await {
                    // A statement that failed is an answer, too. What follows on it is waited for.
                    Err(sqlx::Error::Database(_)) => {}
                    settled => return settled,
                }
            }
        };
        if let Err(why) = within(self.answer, answered).await {
            self.replace(session, why).await;
        }
    }

    /// Puts another session in the place of this one.
    async fn replace(&self, session: &mut PgConnection, mut why: sqlx::Error) {
        let mut told = String::new();
        loop {
            let reason = explain(&why);
            if reason != told {
                tracing::warn!(error = %reason, "a session with the database has to be begun anew");
                told = reason;
            }
            match within(ACQUIRE, self.connect()).await {
                Ok(next) => {
                    *session = next;
                    return;
                }
                Err(error) => why = error,
            }
            sleep(PAUSE).await;
        }
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut session = PgConnection::connect_with(&self.server).await?;
        self.begin(&mut session).await?;
        Ok(session)
    }

    async fn begin(&self, session: &mut PgConnection) -> Result<(), sqlx::Error> {
        let is_standby: bool = session.fetch_one(IS_STANDBY).await?.try_get(0)?;
        if is_standby {
            let why = "the server is a standby: it takes no writes, and may lack the newest that were taken";
            return Err(sqlx::Error::Configuration(why.into()));
        }
        for statement in self.beginning {
            session.execute(*statement).await?;
        }
        Ok(())
    }
}

/// Whether a session came to be old, once more perhaps, while it was idle: its age is that of its place. One that was in use
/// at that very moment is kept until the next: whoever used it was answered.
fn is_old(age: Duration, idle_for: Duration) -> bool {
    let lives = |age: Duration| age.as_secs() / LIFETIME.as_secs();
    lives(age) != lives(age.saturating_sub(idle_for))
}

/// Nothing that sqlx asks a server has an end of its own.
async fn within<T>(
    longest: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let answer = timeout(longest, answer).await;
    answer.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_begun_anew_once_in_its_lifetime() {
        let seconds = Duration::from_secs;
        for (age, idle_for, expected) in [
            (0, 0, false),
            (1799, 10, false),
            (1805, 10, true),
            (1820, 10, false),
            (3605, 10, true),
            (9000, 3600, true),
        ] {
            assert_eq!(
                is_old(seconds(age), seconds(idle_for)),
                expected,
                "{age} s, idle for {idle_for}"
            );
        }
    }
}
