//! How a store is opened.

use std::time::Duration;

use crate::{database::random::Random, secret::EncryptionKey};

/// What a store needs to know from outside.
#[derive(Clone, Debug)]
pub struct Options {
    /// `sqlite:///path/file.db` or `postgresql://...` (CockroachDB, too). May hold a password: never log it.
    pub url: String,
    /// What secret values are encrypted with. Without it, Secrets are refused.
    pub encryption_key: Option<EncryptionKey>,
    /// The most connections that read.
    pub readers: u32,
    /// The most connections that write; how many transactions there are at once is found out. SQLite always has one.
    pub writers: u32,
    /// Ids, tokens, jitter.
    pub random: Random,
    /// How long things are kept.
    pub retention: Retention,
    /// After how long a transaction is given up, tries included, and a statement, waiting for locks included. Watches
    /// look back fifteen seconds for what committed late: this must stay well below.
    pub timeout: Duration,
}

impl Options {
    /// The defaults for a database.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            encryption_key: None,
            readers: 6,
            writers: 8,
            random: Random::from_system(),
            retention: Retention::default(),
            timeout: Duration::from_secs(5),
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Objects that are gone; also how old a watch token may be.
    pub tombstones: Duration,
    /// Former desired states, and the operations that made them.
    pub revisions: Duration,
    /// This many revisions of each object are kept however old they are.
    pub newest_revisions: i64,
    /// Events, since they were last seen; those of an object that is gone at least as long as its tombstone.
    pub events: Duration,
    /// Answers for idempotency keys.
    pub answers: Duration,
    /// The most rows that one call of purge removes per table.
    pub batch: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            tombstones: 7 * DAY,
            revisions: 90 * DAY,
            newest_revisions: 10,
            events: DAY,
            answers: DAY,
            batch: 500,
        }
    }
}
