//! What is: the status of an object, some of it as columns, and who must hear when it changes.

use std::collections::BTreeSet;

use serde_json::Value;
use threeport_model::{
    Condition, ConditionStatus, Object,
    condition::{self, ACCEPTED, READY},
    protocol::claim::StatusUpdate,
};
use uuid::Uuid;

use crate::{
    Store,
    error::{Error, Result},
    pending,
    reference::DEFINITION,
    request::Notice,
    row::has_footprint,
    sql::{Row, Sql, from_json, to_json},
    transaction::Transaction,
    writes,
};

/// What of a status stands in columns, so that it can be counted and compared without reading JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) ready: String,
    pub(crate) accepted: String,
    pub(crate) reason: String,
    message: String,
    /// Of a runtime: whether its agent is heard.
    pub(crate) connected: bool,
    pub(crate) revision: Option<(i64, i64)>,
    /// The conditions that are True; in no column.
    holds: BTreeSet<String>,
}

impl Columns {
    /// Of a status. What it doesn't say is empty.
    pub(crate) fn of(status: &Value) -> Self {
        let conditions: Vec<Condition> = status
            .get("conditions")
            .and_then(|value| serde::Deserialize::deserialize(value).ok())
            .unwrap_or_default();
        let word = |kind| {
            condition::find(&conditions, kind)
                .map_or("", |found| found.status.as_str())
                .to_owned()
        };
        let ready = condition::find(&conditions, READY).cloned();
        let number = |pointer| status.pointer(pointer).and_then(Value::as_i64);
        Self {
            ready: word(READY),
            accepted: word(ACCEPTED),
            reason: ready
                .as_ref()
                .map(|ready| ready.reason.clone())
                .unwrap_or_default(),
            message: ready.map(|ready| ready.message).unwrap_or_default(),
            connected: status
                .pointer("/agent/connected")
                .and_then(Value::as_bool)
                .unwrap_or_default(),
            revision: number("/revision/definition").zip(number("/revision/instance")),
            holds: conditions
                .into_iter()
                .filter(|condition| condition.status == ConditionStatus::True)
                .map(|condition| condition.kind)
                .collect(),
        }
    }
}

/// An object as a status writer must know it.
pub(crate) struct Subject {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) deleting: bool,
    pub(crate) deleted: bool,
    is_default_runtime: bool,
    pub(crate) epoch: i64,
    status_version: i64,
    pub(crate) status: Value,
    seen_definition: Option<i64>,
    pub(crate) definition: Option<i64>,
    /// Of its pending row.
    pub(crate) token: Option<String>,
    pub(crate) attempts: i64,
    /// Whether its newest claim has not been ended yet, run out or not.
    pub(crate) claimed: bool,
}

const SUBJECT: &str = "SELECT o.id, o.kind, o.name, o.generation, o.deletion_requested_at, o.deleted_at, o.slot, s.epoch, \
    s.version AS status_version, s.status, s.seen_definition, w.generation AS definition_generation, p.token, p.attempts, \
    p.claim_holder \
    FROM object o JOIN object_status s ON s.object_id = o.id LEFT JOIN pending p ON p.object_id = o.id \
    LEFT JOIN reference r ON r.from_id = o.id AND r.field = 'spec.definition' LEFT JOIN object w ON w.id = r.to_id ";

impl Subject {
    /// By id, tombstones included.
    pub(crate) async fn by_id(transaction: &Transaction, id: Uuid) -> Result<Self> {
        let row = transaction
            .one(Sql::new(format!("{SUBJECT} WHERE o.id = $1")).values([id.into()]))
            .await?;
        row.map_or_else(
            || {
                Err(Error::NotFound {
                    what: format!("object {id}"),
                })
            },
            |row| Self::read(&row),
        )
    }

    fn read(row: &Row) -> Result<Self> {
        let status: Option<String> = row.get("status")?;
        let deletion: Option<i64> = row.get("deletion_requested_at")?;
        let deleted: Option<i64> = row.get("deleted_at")?;
        let slot: Option<String> = row.get("slot")?;
        let attempts: Option<i64> = row.get("attempts")?;
        let holder: Option<String> = row.get("claim_holder")?;
        Ok(Self {
            id: row.get("id")?,
            kind: row.get("kind")?,
            name: row.get("name")?,
            generation: row.get("generation")?,
            deleting: deletion.is_some(),
            deleted: deleted.is_some(),
            is_default_runtime: slot.is_some(),
            epoch: row.get("epoch")?,
            status_version: row.get("status_version")?,
            status: status.map_or(Ok(Value::Null), |text| from_json("status", &text))?,
            seen_definition: row.get("seen_definition")?,
            definition: row.get("definition_generation")?,
            token: row.get("token")?,
            attempts: attempts.unwrap_or_default(),
            claimed: holder.is_some_and(|holder| !holder.is_empty()),
        })
    }

    /// `Kind/name`.
    pub(crate) fn reference(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// Writes a status, unless it is the one that is there and speaks about the same definition. `seen_definition` is the
/// definition's generation that it speaks about, where that is known: what is served depends on it, so watchers must
/// hear when only that changed. Answers whether it was written, and what was woken.
pub(crate) async fn write(
    transaction: &Transaction,
    subject: &Subject,
    update: &StatusUpdate,
    seen_definition: Option<i64>,
) -> Result<(bool, Vec<Notice>)> {
    if update.observed_generation > subject.generation {
        return Err(Error::PreconditionFailed(format!(
            "{} is at generation {}, a status can't speak about {}",
            subject.reference(),
            subject.generation,
            update.observed_generation
        )));
    }
    if subject.status == update.status && subject.seen_definition == seen_definition {
        return Ok((false, Vec::new()));
    }
    let columns = Columns::of(&update.status);
    let (definition, instance) = columns.revision.unzip();
    let statement = Sql::new(
        "UPDATE object_status SET version = version + 1, status = $1, observed_generation = $2, \
         seen_definition = $3, revision_definition = $4, revision_instance = $5, ready = $6, accepted = $7, \
         connected = $8, reason = $9, message = $10, updated_at = $11 WHERE object_id = $12 AND epoch = $13",
    )
    .values([
        to_json(&update.status)?.into(),
        update.observed_generation.into(),
        seen_definition.into(),
        definition.into(),
        instance.into(),
        columns.ready.clone().into(),
        columns.accepted.clone().into(),
        i64::from(columns.connected).into(),
        columns.reason.clone().into(),
        columns.message.clone().into(),
        transaction.now.into(),
        subject.id.into(),
        subject.epoch.into(),
    ]);
    transaction.run(statement).await?;
    let notices = wake(transaction, subject, &Columns::of(&subject.status), &columns).await?;
    Ok((true, notices))
}

/// The statement that says of the instances of definitions that what is served of them has changed: between a change of
/// the definition and its controller's word they are Progressing ([`crate::served`]), and watchers must hear of it.
pub(crate) fn touch_instances(definitions: &[Uuid], now: i64) -> Sql {
    let mut sql = Sql::new("UPDATE object_status SET version = version + 1, updated_at = ");
    sql.bind(now)
        .push(" WHERE object_id IN (SELECT from_id FROM reference WHERE field = ");
    sql.bind(DEFINITION)
        .push(" AND to_id IN ")
        .list(definitions)
        .push(")");
    sql
}

/// Makes those pending for whom the change matters.
async fn wake(
    transaction: &Transaction,
    subject: &Subject,
    old: &Columns,
    new: &Columns,
) -> Result<Vec<Notice>> {
    let mut notices = Vec::new();
    let became_ready = old.ready != new.ready && new.ready == ConditionStatus::True.as_str();
    if has_footprint(&subject.kind) {
        if (&old.ready, &old.reason, &old.revision) != (&new.ready, &new.reason, &new.revision) {
            notices.extend(pending::wake_definitions(transaction, &[subject.id]).await?);
        }
        if became_ready {
            notices.extend(pending::wake_referrers(transaction, &[subject.id]).await?);
        }
    }
    if old.accepted != new.accepted {
        notices.extend(pending::wake_referrers(transaction, &[subject.id]).await?);
    }
    if !new.holds.is_subset(&old.holds) {
        notices.extend(pending::wake_dependents(transaction, subject.id).await?);
    }
    if subject.kind == "KubernetesRuntimeInstance"
        && (&old.ready, old.connected) != (&new.ready, new.connected)
    {
        notices.extend(pending::wake_runtime(transaction, subject.id, subject.is_default_runtime).await?);
    }
    Ok(notices)
}

/// What a status outside of a run must follow on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusFence {
    /// The newest claim's epoch.
    pub epoch: Option<i64>,
    /// The version of the status that was read.
    pub version: Option<i64>,
}

impl StatusFence {
    /// Of who holds a claim.
    pub fn epoch(epoch: Option<i64>) -> Self {
        Self { epoch, version: None }
    }
}

impl Store {
    /// An object with its status as it is stored, and that status' version.
    pub async fn status_get(&self, kind: &str, name: &str) -> Result<(Object, i64)> {
        let row = self.object_row(kind, name).await?;
        Ok((row.stored()?, row.status_version))
    }

    /// Writes a status outside of a run, where what it follows on is still the newest.
    pub async fn status_put(
        &self,
        kind: &str,
        name: &str,
        update: &StatusUpdate,
        fence: StatusFence,
    ) -> Result<Vec<Notice>> {
        let origin = self.control_plane_id();
        let input = (kind.to_owned(), name.to_owned(), update, fence, origin);
        self.transactions()
            .run(writes::STATUS_PUT, &input, |transaction, (kind, name, update, fence, origin)| {
                Box::pin(async move {
                    let query = Sql::new(format!(
                        "{SUBJECT} WHERE o.origin = $1 AND o.kind = $2 AND o.name = $3 AND o.deleted_at IS NULL"
                    ))
                    .values([(*origin).into(), kind.clone().into(), name.clone().into()]);
                    let row = transaction.one(query).await?;
                    let subject = Subject::read(&row.ok_or_else(|| Error::not_found(kind, name))?)?;
                    check_epoch(&subject, fence.epoch)?;
                    check_version(&subject, fence.version)?;
                    let (_, notices) = write(transaction, &subject, update, subject.seen_definition).await?;
                    Ok(notices)
                })
            })
            .await
    }
}

fn check_version(subject: &Subject, version: Option<i64>) -> Result<()> {
    match version {
        Some(version) if version != subject.status_version => Err(Error::PreconditionFailed(format!(
            "the status of {} has version {}, not {version}",
            subject.reference(),
            subject.status_version
        ))),
        _ => Ok(()),
    }
}

/// Fails where a claim's epoch is not the newest.
pub(crate) fn check_epoch(subject: &Subject, epoch: Option<i64>) -> Result<()> {
    match epoch {
        Some(epoch) if epoch != subject.epoch => Err(Error::PreconditionFailed(format!(
            "the claim of {} at epoch {epoch} is lost, the newest is {}",
            subject.reference(),
            subject.epoch
        ))),
        _ => Ok(()),
    }
}
