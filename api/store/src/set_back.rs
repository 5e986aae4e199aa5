//! Where the database's clock was set back: by a failover to a server whose clock is behind, by NTP after it was wrong.
//!
//! What was written before stands in the future then: work would wait until the clock has caught up, nobody would get the
//! claims of who is gone, and an agent that is gone would count as heard. (Watches see to themselves: [`crate::watch`].)
//!
//! That it was set back is told by what is written all the time: agents are heard every two seconds, and statuses change.
//! A row of the work list alone tells nothing, since it may wait for a reason. So only what waits for longer than anything
//! does is brought back to the present; what has just been written has the right times, and stays.
//!
//! Heartbeats never set the time back at which an agent was heard, for that is how an agent finds out that the database was
//! restored. Here it is, and an agent that remembers a time that is over is told nothing of a restore
//! ([`crate::Store::agent_heartbeat`]).

use sea_orm::Value;
use threeport_model::protocol::claim::{DEFAULT_TTL_SECONDS, Trigger};

use crate::{
    Store,
    database::{
        clock::{self, AHEAD, SECOND},
        connection::Dialect,
        sql::{Fetch, Sql},
        transaction::Transaction,
    },
    error::Result,
    pending, verification,
};

/// Longer than anything waits that did not fail, and than claims last.
const LONG: i64 = 120 * SECOND;
/// Longer than what failed waits.
const FAILED: i64 = 900 * SECOND;
/// How many rows of each table at once.
const BATCH: i64 = 1000;

/// The statement that reads the newest times that there are, and the clock.
fn newest(dialect: Dialect) -> Sql {
    Sql::new(format!(
        "SELECT {} AS now, (SELECT MAX(last_seen) FROM agent) AS heard, \
         (SELECT MAX(updated_at) FROM object_status) AS changed",
        clock::expression(dialect)
    ))
}

/// The statement that makes work due that waits for longer than any does.
fn waiting(now: i64) -> Sql {
    Sql::new(
        "UPDATE pending SET not_before = $1, since = $1 WHERE object_id IN (SELECT object_id FROM pending \
         WHERE not_before > $2 AND (priority <> $3 OR not_before > $4) ORDER BY not_before, object_id LIMIT $5)",
    )
    .values([
        Value::from(now),
        (now + LONG).into(),
        pending::priority(Trigger::Retry).into(),
        (now + FAILED).into(),
        BATCH.into(),
    ])
}

/// The statement that has claims run out soon that last for longer than any does. Whoever is there renews them before.
fn claimed(now: i64) -> Sql {
    let soon = now + i64::from(DEFAULT_TTL_SECONDS) * SECOND;
    Sql::new(
        "UPDATE pending SET claim_until = $1 WHERE object_id IN (SELECT object_id FROM pending \
         WHERE claim_until > $2 ORDER BY object_id LIMIT $3)",
    )
    .values([soon, now + LONG, BATCH].map(Value::from))
}

/// The statement that has agents heard now that would be heard later. Those that are there are heard again.
fn heard(now: i64) -> Sql {
    Sql::new("UPDATE agent SET last_seen = $1 WHERE last_seen > $2")
        .values([now, now + AHEAD].map(Value::from))
}

/// The statement that has objects verified whose turn comes later than that of any.
fn verified(now: i64) -> Sql {
    Sql::new(
        "UPDATE object_status SET verify_at = $1 WHERE object_id IN (SELECT object_id FROM object_status \
         WHERE verify_at > $2 ORDER BY verify_at, object_id LIMIT $3)",
    )
    .values([now, now + verification::LONGEST + AHEAD, BATCH].map(Value::from))
}

/// Brings what waits for a time from before the clock was set back to the present, in bounded batches. Answers how many rows
/// that were.
pub(crate) async fn follow(transaction: &Transaction) -> Result<u64> {
    let now = transaction.now;
    let mut changed = 0;
    for statement in [waiting(now), claimed(now), heard(now), verified(now)] {
        changed += transaction.run(statement).await?;
    }
    Ok(changed)
}

impl Store {
    /// Whether the database's clock was set back, and has not caught up yet.
    pub(crate) async fn is_clock_set_back(&self) -> Result<bool> {
        let Some(row) = self.reader().one(newest(self.dialect())).await? else {
            return Ok(false);
        };
        let (heard, changed): (Option<i64>, Option<i64>) = (row.get("heard")?, row.get("changed")?);
        let newest = heard.max(changed).unwrap_or_default();
        Ok(clock::is_ahead(newest, row.get("now")?))
    }
}
