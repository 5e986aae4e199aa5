//! Ending a run: status, events, inventory and what becomes of the pending row, all or nothing, and once.
//!
//! Whoever gets no answer sends the same again. Only ending a run takes the holder off the pending row (or the row away)
//! while the epoch stays the newest; so an epoch without a holder is one that was ended, and nothing is written or
//! counted a second time.

use sea_orm::Value;
use threeport_model::protocol::claim::{CompleteRequest, CompleteResponse, Next, Trigger};
use uuid::Uuid;

use crate::{
    Store,
    database::{sql::Sql, transaction::Transaction},
    error::{Error, Result},
    event, inventory,
    object::remove,
    pending,
    request::Notice,
    status::{self, Subject},
    verification, writes,
};

impl Store {
    /// Ends a run. Refused as a whole where the claim's epoch is not the newest; ended twice is ended once.
    pub async fn claim_complete(&self, request: &CompleteRequest) -> Result<(CompleteResponse, Vec<Notice>)> {
        let input = (self, request);
        self.transactions()
            .run_on(
                writes::CLAIM_COMPLETE,
                &input,
                |(_, request), dialect| Subject::statement(request.id, dialect),
                |transaction, (store, request)| Box::pin(complete(transaction, store, request)),
            )
            .await
    }
}

async fn complete(
    transaction: &Transaction,
    store: &Store,
    request: &CompleteRequest,
) -> Result<(CompleteResponse, Vec<Notice>)> {
    let subject = Subject::first(transaction, request.id)?;
    status::check_epoch(&subject, Some(request.epoch))?;
    let refreshed = subject
        .token
        .as_ref()
        .is_some_and(|token| *token != request.token);
    if !subject.claimed {
        let answer = CompleteResponse {
            pending: refreshed && !request.finalize,
            status_written: false,
        };
        return Ok((answer, Vec::new()));
    }
    let change = match &request.status {
        Some(update) => {
            // A token that nobody refreshed says that the definition is still the one of the claim.
            let current = subject.token.as_ref() == Some(&request.token);
            let seen = subject.definition.filter(|_| current);
            status::change(transaction, &subject, update, seen)?
        }
        None => None,
    };
    let status_written = change.is_some();
    if !(subject.deleting || subject.deleted) {
        inventory::former::remember(transaction, request.id, &request.inventory_removed).await?;
    }
    inventory::remove(transaction, request.id, &request.inventory_removed, refreshed).await?;
    let mut statements = inventory::insert(request.id, &request.inventory)?;
    statements.extend(event::record(transaction, store.random(), &request.events));
    let mut ended = None;
    if request.finalize && !subject.deleted {
        // It counts what is left.
        let before = std::mem::take(&mut statements);
        transaction.write(before).await.map_err(inventory::refine)?;
        ended = finalize(transaction, &subject, &request.inventory_removed).await?;
    }
    let goes_on = ended.is_none();
    let mut notices = ended.unwrap_or_default();
    let gone = subject.deleted || !goes_on;
    let (row, wakes) = status::statement(&subject, change, reconciled(transaction, &subject, request, gone));
    statements.extend(row);
    statements.extend(left(transaction, &subject, request));
    let woken = transaction.write_and_read(statements, wakes).await;
    notices.extend(pending::woken(transaction, &woken.map_err(inventory::refine)?)?);
    Ok((
        CompleteResponse {
            pending: refreshed && goes_on,
            status_written,
        },
        notices,
    ))
}

/// Turns an object into a tombstone whose controller says that everything is gone. Nothing where all that is left are rows
/// that were to be removed: an agent has seen more since the controller looked.
async fn finalize(
    transaction: &Transaction,
    subject: &Subject,
    removed: &[Uuid],
) -> Result<Option<Vec<Notice>>> {
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
    if left > 0 && left == inventory::count(transaction, subject.id, removed).await? {
        return Ok(None);
    }
    if left > 0 {
        return Err(Error::Conflict(format!(
            "{what} can't end: {left} objects are left in its inventory"
        )));
    }
    let (freed, mut notices) = remove::bury(transaction, &[subject.id]).await?;
    notices.extend(remove::let_go(transaction, freed.into_iter().collect()).await?);
    Ok(Some(notices))
}

/// When it was reconciled, and when it is to be verified; nothing of a claim that was given back.
fn reconciled(
    transaction: &Transaction,
    subject: &Subject,
    request: &CompleteRequest,
    gone: bool,
) -> Vec<(&'static str, Value)> {
    if matches!(request.next, Next::Release { .. }) {
        return Vec::new();
    }
    let now = transaction.now;
    let verify = (!gone).then(|| verification::next(subject.id, now));
    vec![("reconciled_at", now.into()), ("verify_at", verify.into())]
}

/// The statement of what becomes of the pending row, if there is one.
fn left(transaction: &Transaction, subject: &Subject, request: &CompleteRequest) -> Option<Sql> {
    let now = transaction.now;
    let token = subject.token.as_ref()?;
    Some(match request.next {
        _ if *token != request.token => {
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
    })
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
