//! Whether a server of PostgreSQL is there.
//!
//! One that is gone without a word (its machine lost its power, a failover took its address, the network lets nothing
//! through) ends no connection: what was sent to it is sent again for a quarter of an hour. Who waits for an answer gives up
//! long before. But his session goes back into the pool, which asks it whether it lives, without a bound: so all sessions
//! were lost for as long, though the database was somewhere else already. So one that goes back must answer in time, or it
//! is ended, and its place is free for another one.
//!
//! That is asked only while no statement is answered, and for a while after that, since what hangs is given up at different
//! times. Else it would be one round trip more for each. (Those that were just going back when the server fell silent are lost
//! for the quarter of an hour: some of many, since that takes them a moment.)

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::sqlx::{self, Connection, PgConnection};
use tokio::time::timeout;

/// After how long without an answer: the tailer asks every second.
const SILENCE: Duration = Duration::from_millis(2500);
/// For how long a session that was in use meanwhile may still go back.
const AFTERWARDS: Duration = Duration::from_secs(60);
/// For how long a session is waited for.
const ANSWER: Duration = Duration::from_secs(2);

/// When statements were answered. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Mutex<Answered>>);

#[derive(Clone, Copy, Debug)]
struct Answered {
    last: Instant,
    /// The first one after a silence.
    again: Option<Instant>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Answered {
            last: Instant::now(),
            again: None,
        })))
    }
}

impl Pulse {
    /// A statement was answered.
    pub(crate) fn beat(&self) {
        let now = Instant::now();
        let mut answered = self.answered();
        if now.saturating_duration_since(answered.last) >= SILENCE {
            answered.again = Some(now);
        }
        answered.last = now;
    }

    /// Whether sessions may be of a server that is gone.
    fn is_doubtful(&self) -> bool {
        let Answered { last, again } = *self.answered();
        last.elapsed() >= SILENCE || again.is_some_and(|again| again.elapsed() < AFTERWARDS)
    }

    fn answered(&self) -> MutexGuard<'_, Answered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a session may go back into its pool. One that fails is ended without another word to its server.
    pub(crate) async fn check(&self, session: &mut PgConnection) -> Result<bool, sqlx::Error> {
        if !self.is_doubtful() {
            return Ok(true);
        }
        match timeout(ANSWER, session.ping()).await {
            Ok(answer) => {
                answer?;
                self.beat();
                Ok(true)
            }
            Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())),
        }
    }
}
