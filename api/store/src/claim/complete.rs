//! Ending a run: status, events, inventory and what becomes of the pending row, all or nothing, and once.
//!
//! Whoever gets no answer sends the same again. Only ending a run takes the holder off the pending row (or the row away)
//! while the epoch stays the newest; so an epoch without a holder is one that was ended, and nothing is written or
//! counted a second time.

use std::collections::BTreeSet;

use threeport_model::protocol::claim::{CompleteRequest, CompleteResponse, Next, Trigger};
use uuid::Uuid;

use crate::{
    Store,
    error::{Error, Result},
    event, inventory,
    object::remove,
    pending,
    request::Notice,
    sql::Sql,
    status::{self, Subject},
    transaction::Transaction,
    verification, writes,
};

impl Store {
    /// Ends a run. Refused as a whole where the claim's epoch is not the newest; ended twice is ended once.
    pub async fn claim_complete(&self, request: &CompleteRequest) -> Result<(CompleteResponse, Vec<Notice>)> {
        let input = (self, request);
        self.transactions()
            .run(writes::CLAIM_COMPLETE, &input, |transaction, (store, request)| {
                Box::pin(complete(transaction, store, request))
            })
            .await
    }
}

async fn complete(
    transaction: &Transaction,
    store: &Store,
    request: &CompleteRequest,
) -> Result<(CompleteResponse, Vec<Notice>)> {
    let subject = Subject::by_id(transaction, request.id).await?;
    status::check_epoch(&subject, Some(request.epoch))?;
    if !subject.claimed {
        let refreshed = subject.token.is_some_and(|token| token != request.token);
        let answer = CompleteResponse {
            pending: refreshed && !request.finalize,
            status_written: false,
        };
        return Ok((answer, Vec::new()));
    }
    let mut notices = Vec::new();
    let mut status_written = false;
    if let Some(update) = &request.status {
        // A token that nobody refreshed says that the definition is still the one of the claim.
        let current = subject.token.as_ref() == Some(&request.token);
        let seen = subject.definition.filter(|_| current);
        let (written, woken) = status::write(transaction, &subject, update, seen).await?;
        status_written = written;
        notices.extend(woken);
    }
    inventory::remove(transaction, request.id, &request.inventory_removed).await?;
    inventory::write(transaction, request.id, &request.inventory).await?;
    event::record(transaction, store.random(), &request.events).await?;
    if request.finalize && !subject.deleted {
        notices.extend(finalize(transaction, &subject).await?);
    }
    let gone = request.finalize || subject.deleted;
    let pending = settle(transaction, &subject, request, gone).await?;
    Ok((
        CompleteResponse {
            pending,
            status_written,
        },
        notices,
    ))
}

/// Turns an object into a tombstone whose controller says that everything is gone.
async fn finalize(transaction: &Transaction, subject: &Subject) -> Result<Vec<Notice>> {
    let what = subject.reference();
    if !subject.deleting {
        return Err(Error::Conflict(format!(
            "{what} can't end: nobody asked for its deletion"
        )));
    }
    let query = Sql::new("SELECT COUNT(*) AS count FROM inventory WHERE instance_id = $1 OR runtime_id = $1")
        .values([subject.id.into()]);
    let left: i64 = transaction
        .one(query)
        .await?
        .map_or(Ok(0), |row| row.get("count"))?;
    if left > 0 {
        return Err(Error::Conflict(format!(
            "{what} can't end: {left} objects are left in its inventory"
        )));
    }
    let (freed, mut notices) = remove::bury(transaction, &[subject.id]).await?;
    let freed: BTreeSet<Uuid> = freed.into_iter().collect();
    let (gone, woken) = remove::settle(transaction, freed.clone()).await?;
    notices.extend(woken);
    let waiting: Vec<Uuid> = freed.difference(&gone).copied().collect();
    notices.extend(pending::wake_deleting(transaction, &waiting).await?);
    Ok(notices)
}

/// What becomes of the pending row. Answers whether the object has work again already.
async fn settle(
    transaction: &Transaction,
    subject: &Subject,
    request: &CompleteRequest,
    gone: bool,
) -> Result<bool> {
    let now = transaction.now;
    let released = matches!(request.next, Next::Release { .. });
    let verify = if gone {
        None
    } else {
        Some(verification::next(subject.id, now))
    };
    let reconciled =
        Sql::new("UPDATE object_status SET reconciled_at = $1, verify_at = $2 WHERE object_id = $3")
            .values([now.into(), verify.into(), subject.id.into()]);
    let Some(token) = &subject.token else {
        if !released {
            transaction.run(reconciled).await?;
        }
        return Ok(false);
    };
    let refreshed = *token != request.token;
    let row = match request.next {
        _ if refreshed => {
            Sql::new("UPDATE pending SET claim_holder = '', claim_until = 0 WHERE object_id = $1")
                .values([subject.id.into()])
        }
        Next::Done => Sql::new("DELETE FROM pending WHERE object_id = $1 AND token = $2")
            .values([subject.id.into(), request.token.clone().into()]),
        Next::After { milliseconds } => again(
            subject,
            request,
            now,
            milliseconds,
            subject.attempts + 1,
            Trigger::Retry,
        ),
        Next::Recheck { milliseconds } => {
            again(subject, request, now, milliseconds, 0, Trigger::Verification)
        }
        Next::Release { milliseconds } => Sql::new(
            "UPDATE pending SET claim_holder = '', claim_until = 0, not_before = $1 WHERE object_id = $2 AND token = $3",
        )
        .values([
            due(now, milliseconds).into(),
            subject.id.into(),
            request.token.clone().into(),
        ]),
    };
    let mut statements = vec![row];
    if !released {
        statements.push(reconciled);
    }
    transaction.write(statements).await?;
    Ok(refreshed && !request.finalize)
}

fn due(now: i64, milliseconds: i64) -> i64 {
    now.saturating_add(milliseconds.max(0).saturating_mul(1000))
}

fn again(
    subject: &Subject,
    request: &CompleteRequest,
    now: i64,
    milliseconds: i64,
    attempts: i64,
    trigger: Trigger,
) -> Sql {
    let due = due(now, milliseconds);
    Sql::new(
        "UPDATE pending SET not_before = $1, since = $1, attempts = $2, priority = $3, claim_holder = '', \
         claim_until = 0 WHERE object_id = $4 AND token = $5",
    )
    .values([
        due.into(),
        attempts.into(),
        pending::priority(trigger).into(),
        subject.id.into(),
        request.token.clone().into(),
    ])
}
