//! What is: the status of an object, some of it as columns, and who must hear when it changes.

pub(crate) mod served;

use std::collections::BTreeSet;

use sea_orm::Value;
use serde_json::Value as Json;
use threeport_model::{
    ConditionStatus, Kind, Object,
    condition::{self, ACCEPTED, READY},
    kinds::KubernetesRuntimeInstance,
    protocol::claim::{StatusUpdate, Trigger},
};
use uuid::Uuid;

use crate::{
    Store,
    database::{
        clock,
        connection::Dialect,
        sql::{Row, Sql, from_json, to_json},
        transaction::Transaction,
    },
    error::{Error, Result},
    object::row::has_footprint,
    pending,
    reference::DEFINITION,
    request::Notice,
    writes,
};

/// A condition that is True, with the generation and the revision that it is True of: True of newer ones is news, since what
/// was served meanwhile was not.
type Held = (String, i64, Option<(i64, i64)>);

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
    /// The conditions that are True. In no column.
    holds: BTreeSet<Held>,
}

impl Columns {
    /// Of a status. What it doesn't say is empty.
    pub(crate) fn of(status: &Json) -> Self {
        let conditions = condition::of_status(status);
        let word = |kind| {
            condition::find(&conditions, kind)
                .map_or("", |found| found.status.as_str())
                .to_owned()
        };
        let ready = condition::find(&conditions, READY).cloned();
        let number = |pointer| status.pointer(pointer).and_then(Json::as_i64);
        let revision = number("/revision/definition").zip(number("/revision/instance"));
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
                .and_then(Json::as_bool)
                .unwrap_or_default(),
            revision,
            holds: conditions
                .into_iter()
                .filter(|condition| condition.status == ConditionStatus::True)
                .map(|condition| (condition.kind, condition.observed_generation, revision))
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
    pub(crate) status: Json,
    seen_definition: Option<i64>,
    pub(crate) definition: Option<i64>,
    /// Of its pending row.
    pub(crate) token: Option<String>,
    pub(crate) attempts: i64,
    /// Whether its newest claim has not been ended yet, run out or not.
    pub(crate) claimed: bool,
}

const SUBJECT: &str = "o.id, o.kind, o.name, o.generation, o.deletion_requested_at, o.deleted_at, o.slot, s.epoch, \
    s.version AS status_version, s.status, s.seen_definition, w.generation AS definition_generation, p.token, p.attempts, \
    p.claim_holder FROM object o JOIN object_status s ON s.object_id = o.id LEFT JOIN pending p ON p.object_id = o.id \
    LEFT JOIN reference r ON r.from_id = o.id AND r.field = ";

impl Subject {
    /// `SELECT` of the clock and what [`Self::read`] needs: everything before WHERE.
    fn select(dialect: Dialect) -> Sql {
        let mut query = Sql::new(format!("SELECT {} AS now, {SUBJECT}", clock::expression(dialect)));
        query
            .bind(DEFINITION)
            .push(" LEFT JOIN object w ON w.id = r.to_id");
        query
    }

    /// The statement that reads it by id, tombstones included, and the clock: what a transaction can begin with.
    pub(crate) fn statement(id: Uuid, dialect: Dialect) -> Sql {
        let mut query = Self::select(dialect);
        query.push(" WHERE o.id = ").bind(id);
        query
    }

    /// The one that the transaction began with.
    pub(crate) fn first(transaction: &Transaction, id: Uuid) -> Result<Self> {
        Self::found(id, transaction.first.first())
    }

    /// By id, tombstones included.
    pub(crate) async fn by_id(transaction: &Transaction, id: Uuid) -> Result<Self> {
        let row = transaction.one(Self::statement(id, transaction.dialect)).await?;
        Self::found(id, row.as_ref())
    }

    fn found(id: Uuid, row: Option<&Row>) -> Result<Self> {
        let missing = || Error::NotFound {
            what: format!("object {id}"),
        };
        Self::read(row.ok_or_else(missing)?)
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
            status: status.map_or(Ok(Json::Null), |text| from_json("status", &text))?,
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

/// What is to be written of a status that differs: columns of its row and their values, and the statements that make
/// those due for whom it matters.
pub(crate) struct Change {
    set: Vec<(&'static str, Value)>,
    wakes: Vec<Sql>,
}

/// What writing a status comes to: nothing where it is the one that is there and speaks about the same definition.
/// `seen_definition` is the definition's generation that it speaks about, where that is known: what is served depends on
/// it, so watchers must hear when only that changed.
pub(crate) fn change(
    transaction: &Transaction,
    subject: &Subject,
    update: &StatusUpdate,
    seen_definition: Option<i64>,
) -> Result<Option<Change>> {
    if update.observed_generation > subject.generation {
        return Err(Error::PreconditionFailed(format!(
            "{} is at generation {}, a status can't speak about {}",
            subject.reference(),
            subject.generation,
            update.observed_generation
        )));
    }
    if subject.status == update.status && subject.seen_definition == seen_definition {
        return Ok(None);
    }
    let columns = Columns::of(&update.status);
    let wakes = wakes(transaction, subject, &Columns::of(&subject.status), &columns);
    let (definition, instance) = columns.revision.unzip();
    let set = vec![
        ("status", to_json(&update.status)?.into()),
        ("observed_generation", update.observed_generation.into()),
        ("seen_definition", seen_definition.into()),
        ("revision_definition", definition.into()),
        ("revision_instance", instance.into()),
        ("ready", columns.ready.into()),
        ("accepted", columns.accepted.into()),
        ("connected", i64::from(columns.connected).into()),
        ("reason", columns.reason.into()),
        ("message", columns.message.into()),
        ("updated_at", transaction.now.into()),
    ];
    Ok(Some(Change { set, wakes }))
}

/// The statement that writes the row of a subject's status: the change of the status, if there is one, and `others`; and
/// whom the change wakes.
pub(crate) fn statement(
    subject: &Subject,
    change: Option<Change>,
    others: Vec<(&'static str, Value)>,
) -> (Option<Sql>, Vec<Sql>) {
    let mut sql = Sql::new("UPDATE object_status SET ");
    let (set, wakes) = change.map_or_else(Default::default, |change| {
        sql.push("version = version + 1, ");
        (change.set, change.wakes)
    });
    if set.is_empty() && others.is_empty() {
        return (None, wakes);
    }
    for (index, (column, value)) in set.into_iter().chain(others).enumerate() {
        sql.push(if index > 0 { ", " } else { "" });
        sql.push(column).push(" = ").bind(value);
    }
    sql.push(" WHERE object_id = ").bind(subject.id);
    sql.push(" AND epoch = ").bind(subject.epoch);
    (Some(sql), wakes)
}

/// Writes a status, unless nothing differs. Answers who was woken.
pub(crate) async fn write(
    transaction: &Transaction,
    subject: &Subject,
    update: &StatusUpdate,
    seen_definition: Option<i64>,
) -> Result<Vec<Notice>> {
    let change = change(transaction, subject, update, seen_definition)?;
    let (row, wakes) = statement(subject, change, Vec::new());
    let woken = transaction
        .write_and_read(row.into_iter().collect(), wakes)
        .await?;
    pending::woken(transaction, &woken)
}

/// The statement that says of the instances of definitions that what is served of them has changed: between a change of
/// the definition and its controller's word they are Progressing ([`served`]), and watchers must hear of it.
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

/// The statements that make those due for whom the change matters.
fn wakes(transaction: &Transaction, subject: &Subject, old: &Columns, new: &Columns) -> Vec<Sql> {
    let mut wakes = Vec::new();
    let is_footprint = has_footprint(&subject.kind);
    let became_ready = old.ready != new.ready && new.ready == ConditionStatus::True.as_str();
    if is_footprint && (&old.ready, &old.reason, &old.revision) != (&new.ready, &new.reason, &new.revision) {
        wakes.push(pending::of_definitions(transaction, &[subject.id]));
    }
    let for_all = old.accepted != new.accepted || (is_footprint && became_ready);
    let for_dependents = !new.holds.is_subset(&old.holds);
    let for_instances = subject.kind == KubernetesRuntimeInstance::KIND
        && (&old.ready, old.connected) != (&new.ready, new.connected);
    // One of them, each of which has all of the next: two would make the same rows due in one statement.
    if for_instances {
        let trigger = if for_all || for_dependents {
            Trigger::Change
        } else {
            Trigger::Observation
        };
        let is_default = subject.is_default_runtime;
        wakes.push(pending::of_runtime(transaction, subject.id, is_default, trigger));
    } else if for_all {
        wakes.push(pending::of_referrers(transaction, &[subject.id]));
    } else if for_dependents {
        wakes.push(pending::of_dependents(transaction, subject.id));
    }
    wakes
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
            .run(
                writes::STATUS_PUT,
                &input,
                |transaction, (kind, name, update, fence, origin)| {
                    Box::pin(async move {
                        let mut query = Subject::select(transaction.dialect);
                        query.push(" WHERE o.origin = ").bind(*origin);
                        query.push(" AND o.kind = ").bind(kind.clone());
                        query.push(" AND o.name = ").bind(name.clone());
                        query.push(" AND o.deleted_at IS NULL");
                        let row = transaction.one(query).await?;
                        let subject = Subject::read(&row.ok_or_else(|| Error::not_found(kind, name))?)?;
                        check_epoch(&subject, fence.epoch)?;
                        check_version(&subject, fence.version)?;
                        write(transaction, &subject, update, subject.seen_definition).await
                    })
                },
            )
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
