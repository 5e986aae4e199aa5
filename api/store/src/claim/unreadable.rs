//! Objects that can't be read: no controller gets them, their status says so, and they are tried again after a while.
//!
//! One of them must not cost the others their claims. Its status speaks about its newest generation, so that it is
//! served as it is; where the status itself is what can't be read, that stays for somebody to mend, and only the columns
//! say it.

use std::time::Duration;

use serde_json::Value;
use threeport_model::{
    Condition, ConditionStatus,
    condition::{self, READY, STALLED, SUMMARY},
    protocol::claim::{StatusUpdate, Trigger},
};

use super::{Taken, release, world::Worlds};
use crate::{
    Store,
    database::{clock, sql::Sql, transaction::Transaction},
    error::{Error, Result},
    pending,
    request::Notice,
    status::{self, Subject},
    writes,
};

/// After how long it is tried again.
const AGAIN: Duration = Duration::from_secs(60);
const REASON: &str = "Unreadable";
const NEXT: &str = "Apply it again as it should be, restore the database, or run the version (with the encryption key) \
    that wrote it; it is tried again every minute";

impl Store {
    /// Gives claims back whose objects can't be read, and those for which there was no room. Answers who was woken.
    pub(crate) async fn set_aside(&self, worlds: &Worlds) -> Result<Vec<Notice>> {
        for (one, why) in &worlds.unreadable {
            tracing::error!(object = %one.id, why, "an object can't be read: it is left alone");
        }
        self.transactions()
            .run(writes::CLAIM_UNREADABLE, worlds, |transaction, worlds| {
                Box::pin(async move {
                    let mut notices = Vec::new();
                    for (one, why) in &worlds.unreadable {
                        let message = format!("What the database holds can't be read ({why}). {NEXT}.");
                        if let Some(woken) = say(transaction, one, &message).await? {
                            give_back(transaction, one).await?;
                            notices.extend(woken);
                        }
                    }
                    release(transaction, &worlds.left).await?;
                    Ok(notices)
                })
            })
            .await
    }
}

/// Answers who was woken; nothing where the claim is not the newest any more.
async fn say(transaction: &Transaction, one: &Taken, message: &str) -> Result<Option<Vec<Notice>>> {
    match Subject::by_id(transaction, one.id).await {
        Ok(subject) if subject.epoch != one.epoch => Ok(None),
        Ok(subject) => {
            let update = update(&subject, message, clock::timestamp(transaction.now)?);
            let woken = status::write(transaction, &subject, &update, subject.definition).await?;
            Ok(Some(woken))
        }
        Err(Error::Decode { .. }) => {
            let columns = Sql::new(
                "UPDATE object_status SET ready = $1, reason = $2, message = $3 WHERE object_id = $4 AND epoch = $5",
            );
            let ready = ConditionStatus::False.as_str();
            let values = [
                ready.into(),
                REASON.into(),
                message.into(),
                one.id.into(),
                one.epoch.into(),
            ];
            let written = transaction.run(columns.values(values)).await?;
            Ok((written > 0).then(Vec::new))
        }
        Err(error) => Err(error),
    }
}

fn update(subject: &Subject, message: &str, now: jiff::Timestamp) -> StatusUpdate {
    let says = |kind, status| Condition::new(kind, status, REASON, message, subject.generation);
    let said = vec![
        says(READY, ConditionStatus::False),
        says(STALLED, ConditionStatus::True),
    ];
    let mut status = subject.status.clone();
    condition::say(&mut status, &SUMMARY, said, now);
    status["observedGeneration"] = Value::from(subject.generation);
    StatusUpdate {
        observed_generation: subject.generation,
        status,
    }
}

/// Due again later; a change that came meanwhile, at once.
async fn give_back(transaction: &Transaction, one: &Taken) -> Result<()> {
    let later = transaction.now + i64::try_from(AGAIN.as_micros()).unwrap_or(i64::MAX / 2);
    let mut sql = Sql::new(
        "UPDATE pending SET claim_holder = '', claim_until = 0, attempts = attempts + 1, priority = ",
    );
    sql.bind(pending::priority(Trigger::Retry))
        .push(", not_before = ");
    sql.bind(later)
        .push(" WHERE object_id = ")
        .bind(one.id)
        .push(" AND token = ")
        .bind(one.token.clone());
    let kept = transaction.run(sql).await?;
    if kept == 0 {
        let release = Sql::new("UPDATE pending SET claim_holder = '', claim_until = 0 WHERE object_id = $1");
        transaction.run(release.values([one.id.into()])).await?;
    }
    Ok(())
}
