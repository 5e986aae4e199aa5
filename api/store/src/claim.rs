//! How controllers take work and give it back.
//!
//! A claim is two steps. First a transaction takes due rows for their holder and moves each object's epoch on: the
//! fence. Of named objects that is one statement, where the database can. Then [`world`] reads all that the holder needs to
//! know, as of one moment, outside of that transaction: reading so much at SERIALIZABLE would collide with everybody who
//! writes. Nothing is lost between: the rows' tokens were read before, so whatever changes from then on refreshes a token,
//! and the object runs again. What a definition counts may change and leave the token: that is committed before the row can
//! be taken (`pending::counting`).
//!
//! Whoever gets no answer asks again. A holder never asks by id for what it works on, so what it asks for and has is what
//! it was never told of, and is given again, at a new epoch. For a sweep names no ids, [`Store::claim_take`] remembers
//! what a try took whose commit was not answered. (An answer of a sweep that is lost on the way to the holder costs the
//! time to live.)
//!
//! [`complete`] ends a run in one transaction, refused as a whole where the epoch is not the newest. What can't be read is
//! given to nobody: [`unreadable`] says so in its status and tries again a minute later. What doesn't fit into the answer is
//! given back at once, as it was.

mod complete;
pub(crate) mod counts;
mod unreadable;
pub(crate) mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use sea_orm::Value;
use threeport_failpoint::Write;
use threeport_model::protocol::claim::{
    ClaimRequest, ClaimResponse, MAX_CLAIMS, RenewRequest, RenewResponse,
};
use uuid::Uuid;

use crate::{
    Store,
    database::{
        clock::{self, SECOND},
        sql::{Fetch, Row, Sql},
        transaction::Transaction,
    },
    error::Result,
    request::Notice,
    writes,
};

/// A row that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) id: Uuid,
    pub(crate) token: String,
    pub(crate) epoch: i64,
    pub(crate) priority: i64,
    pub(crate) attempts: i64,
    /// For how long it was due, in microseconds.
    pub(crate) waited: i64,
}

impl Store {
    /// Gives due and unclaimed work: the wanted objects' or, where none are named, the oldest of the freshest class.
    /// Answers also who was woken by what can't be read.
    pub async fn claim_take(&self, request: &ClaimRequest) -> Result<(ClaimResponse, Vec<Notice>)> {
        let write = writes::CLAIM;
        let (taken, mut busy) = if !request.ids.is_empty() && self.dialect().merges_writes() {
            self.take_named(write, request).await?
        } else {
            let input = (request, Before::default());
            let transactions = self.transactions();
            let took = transactions.run(write, &input, |transaction, (request, before)| {
                Box::pin(take(transaction, request, before))
            });
            took.await?
        };
        let worlds = self.world(&taken).await?;
        let mut notices = Vec::new();
        if !(worlds.unreadable.is_empty() && worlds.left.is_empty()) {
            let unreadable = worlds.unreadable.iter().map(|(one, _)| one);
            busy.extend(unreadable.chain(&worlds.left).map(|one| one.id));
            notices = self.set_aside(&worlds).await?;
        }
        let response = ClaimResponse {
            claims: worlds.claims,
            busy,
        };
        Ok((response, notices))
    }

    /// Takes the rows of named objects by one statement.
    async fn take_named(&self, write: Write, request: &ClaimRequest) -> Result<(Vec<Taken>, Vec<Uuid>)> {
        let wanted = named(request);
        if wanted.is_empty() || request.kinds.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let clock = clock::expression(self.dialect());
        let take = taking(request, &wanted, |sql| {
            sql.push(clock);
        });
        let rows = self.transactions().alone(write, &fenced(take)).await?;
        let taken = read(rows.iter().map(|row| row.get("epoch").map(|epoch| (row, epoch))))?;
        let rest = rest(request, &taken);
        let busy = if rest.is_empty() {
            Vec::new()
        } else {
            found(&self.reader().all(with_work(&rest)).await?)?
        };
        Ok((in_order(taken), busy))
    }

    /// Keeps claims: those whose epoch is still the newest and whose holder asks, run out or not.
    pub async fn claim_renew(&self, request: &RenewRequest) -> Result<RenewResponse> {
        let renewed = self
            .transactions()
            .run(writes::CLAIM_RENEW, request, |transaction, request| {
                Box::pin(renew(transaction, request))
            })
            .await?;
        Ok(RenewResponse { renewed })
    }
}

/// What the try before took, and until when: that it committed is known only when it is found in the database.
#[derive(Debug, Default)]
struct Before(Mutex<(i64, Vec<Uuid>)>);

impl Before {
    fn set(&self, until: i64, ids: Vec<Uuid>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (until, ids);
    }

    async fn committed(&self, transaction: &Transaction, holder: &str) -> Result<Vec<Uuid>> {
        let (until, ids) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if ids.is_empty() {
            return Ok(ids);
        }
        let mut query = Sql::new("SELECT object_id FROM pending WHERE claim_holder = ");
        query.bind(holder).push(" AND claim_until = ").bind(until);
        query.push(" AND object_id IN ").list(&ids);
        found(&transaction.all(query).await?)
    }
}

async fn take(
    transaction: &Transaction,
    request: &ClaimRequest,
    before: &Before,
) -> Result<(Vec<Taken>, Vec<Uuid>)> {
    let now = transaction.now;
    let wanted: Vec<Uuid> = if request.ids.is_empty() {
        let committed = before.committed(transaction, &request.holder).await?;
        if committed.is_empty() {
            candidates(transaction, &request.kinds, limit(request)).await?
        } else {
            committed
        }
    } else {
        named(request)
    };
    if wanted.is_empty() || request.kinds.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let take = taking(request, &wanted, |sql| {
        sql.bind(now);
    });
    let rows = fence(transaction, take).await?;
    let taken = read(rows.iter().map(|(row, epoch)| Ok((row, *epoch))))?;
    before.set(now + length(request), taken.keys().copied().collect());
    let rest = rest(request, &taken);
    let busy = if rest.is_empty() {
        Vec::new()
    } else {
        found(&transaction.all(with_work(&rest)).await?)?
    };
    Ok((in_order(taken), busy))
}

fn limit(request: &ClaimRequest) -> usize {
    usize::try_from(request.limit)
        .unwrap_or(MAX_CLAIMS)
        .min(MAX_CLAIMS)
}

/// For how long a claim is, in microseconds.
fn length(request: &ClaimRequest) -> i64 {
    i64::from(request.ttl_seconds) * SECOND
}

/// The objects that are asked for, as many as may be.
fn named(request: &ClaimRequest) -> Vec<Uuid> {
    let ids: BTreeSet<Uuid> = request.ids.iter().copied().collect();
    ids.into_iter().take(limit(request)).collect()
}

/// The statement that takes rows, where they are due; `now` appends what the clock says.
fn taking(request: &ClaimRequest, wanted: &[Uuid], now: impl Fn(&mut Sql)) -> Sql {
    let mut update = Sql::new("UPDATE pending SET claim_holder = ");
    update.bind(request.holder.clone()).push(", claim_until = ");
    now(&mut update);
    update.push(" + ").bind(length(request));
    update
        .push(" WHERE object_id IN ")
        .list(wanted)
        .push(" AND kind IN ")
        .list(&request.kinds);
    update.push(" AND not_before <= ");
    now(&mut update);
    update.push(" AND (claim_until <= ");
    now(&mut update);
    update.push(" OR claim_holder = ").bind(request.holder.clone());
    update.push(") RETURNING object_id, token, priority, attempts, since, not_before, ");
    now(&mut update);
    update.push(" AS now");
    update
}

/// Rows that were taken, each with its new epoch.
fn read<'r>(rows: impl Iterator<Item = Result<(&'r Row, i64)>>) -> Result<BTreeMap<Uuid, Taken>> {
    let mut taken = BTreeMap::new();
    for row in rows {
        let (row, epoch) = row?;
        let id = row.get("object_id")?;
        let due: i64 = row.get::<i64>("since")?.max(row.get("not_before")?);
        let one = Taken {
            id,
            token: row.get("token")?,
            epoch,
            priority: row.get("priority")?,
            attempts: row.get("attempts")?,
            waited: row.get::<i64>("now")?.saturating_sub(due).max(0),
        };
        taken.insert(id, one);
    }
    Ok(taken)
}

/// The most urgent first.
fn in_order(taken: BTreeMap<Uuid, Taken>) -> Vec<Taken> {
    let mut taken: Vec<Taken> = taken.into_values().collect();
    taken.sort_by_key(|one| (one.priority, std::cmp::Reverse(one.waited)));
    taken
}

const FENCE: &str = "UPDATE object_status SET epoch = epoch + 1";

/// The statement that takes rows and moves the epochs of their objects on, where the database can.
fn fenced(take: Sql) -> Sql {
    let mut both = Sql::new("WITH t AS (");
    both.append(take);
    both.push(&format!(
        ") {FENCE} FROM t WHERE object_status.object_id = t.object_id RETURNING t.*, epoch"
    ));
    both
}

/// Takes rows and moves the epochs of their objects on; the rows, each with its new epoch.
async fn fence(transaction: &Transaction, take: Sql) -> Result<Vec<(Row, i64)>> {
    if transaction.dialect.merges_writes() {
        let rows = transaction.all(fenced(take)).await?.into_iter();
        return rows
            .map(|row| row.get("epoch").map(|epoch| (row, epoch)))
            .collect();
    }
    let rows = transaction.all(take).await?;
    let ids: Vec<Uuid> = rows
        .iter()
        .map(|row| row.get("object_id"))
        .collect::<Result<_>>()?;
    let mut fence = Sql::new(format!("{FENCE} WHERE object_id IN "));
    fence.list(&ids).push(" RETURNING object_id, epoch");
    let mut epochs: BTreeMap<Uuid, i64> = BTreeMap::new();
    for row in transaction.all(fence).await? {
        epochs.insert(row.get("object_id")?, row.get("epoch")?);
    }
    let epochs = ids
        .into_iter()
        .map(|id| epochs.get(&id).copied().unwrap_or_default());
    Ok(rows.into_iter().zip(epochs).collect())
}

/// What is due and unclaimed, the oldest of the freshest class first. Each class of each kind is a walk of an index.
async fn candidates(transaction: &Transaction, kinds: &[String], limit: usize) -> Result<Vec<Uuid>> {
    if kinds.is_empty() || limit == 0 {
        return Ok(Vec::new());
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    found(&transaction.all(sweep(kinds, transaction.now, limit)).await?)
}

/// The statement of the sweep.
pub(crate) fn sweep(kinds: &[String], now: i64, limit: i64) -> Sql {
    let mut sql = Sql::new("SELECT object_id FROM (");
    for (index, (kind, priority)) in kinds
        .iter()
        .flat_map(|kind| (0..4_i64).map(move |priority| (kind, priority)))
        .enumerate()
    {
        sql.push(if index > 0 { " UNION ALL " } else { "" });
        sql.push("SELECT * FROM (SELECT object_id, priority, not_before FROM pending WHERE kind = ")
            .bind(kind.clone());
        sql.push(" AND priority = ")
            .bind(priority)
            .push(" AND not_before <= ")
            .bind(now);
        sql.push(" AND claim_until <= ")
            .bind(now)
            .push(" ORDER BY not_before LIMIT ")
            .bind(limit);
        sql.push(&format!(") AS c{index}"));
    }
    sql.push(") AS c ORDER BY priority, not_before LIMIT ")
        .bind(limit);
    sql
}

/// The named objects that were not given. Those of them that have work are busy.
fn rest(request: &ClaimRequest, taken: &BTreeMap<Uuid, Taken>) -> Vec<Uuid> {
    let rest = request.ids.iter().filter(|id| !taken.contains_key(id));
    rest.copied().collect()
}

/// The statement of those that have work.
fn with_work(ids: &[Uuid]) -> Sql {
    let mut query = Sql::new("SELECT object_id FROM pending WHERE object_id IN ");
    query.list(ids);
    query
}

fn found(rows: &[Row]) -> Result<Vec<Uuid>> {
    rows.iter().map(|row| row.get("object_id")).collect()
}

/// Gives claims back that nobody was told of: due as before, and no attempt counted. Those apart that are not the newest
/// any more.
async fn release(transaction: &Transaction, taken: &[Taken]) -> Result<()> {
    if taken.is_empty() {
        return Ok(());
    }
    let mut sql = Sql::new("WITH v (id, epoch) AS (VALUES ");
    sql.rows(
        taken
            .iter()
            .map(|one| Vec::<Value>::from([one.id.into(), one.epoch.into()])),
    );
    sql.push(
        ") UPDATE pending SET claim_holder = '', claim_until = 0 FROM v JOIN object_status s \
         ON s.object_id = v.id AND s.epoch = v.epoch WHERE pending.object_id = v.id",
    );
    transaction.run(sql).await.map(drop)
}

async fn renew(transaction: &Transaction, request: &RenewRequest) -> Result<Vec<Uuid>> {
    if request.claims.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = Sql::new("WITH v (id, epoch) AS (VALUES ");
    sql.rows(
        request
            .claims
            .iter()
            .map(|key| Vec::<Value>::from([key.id.into(), key.epoch.into()])),
    );
    sql.push(") UPDATE pending SET claim_until = ");
    sql.bind(transaction.now + i64::from(request.ttl_seconds) * SECOND)
        .push(
            " FROM v JOIN object_status s ON s.object_id = v.id AND s.epoch = v.epoch \
         WHERE pending.object_id = v.id AND pending.claim_holder = ",
        );
    sql.bind(request.holder.clone())
        .push(" RETURNING pending.object_id AS id");
    transaction
        .all(sql)
        .await?
        .iter()
        .map(|row| row.get("id"))
        .collect()
}
