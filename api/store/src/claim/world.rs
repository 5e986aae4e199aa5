//! All that the holder of a claim needs to know, as of one moment.
//!
//! What can't be read (a row that somebody damaged or that a newer version wrote, secret values without their key) fails
//! the claims that need it and no others: [`Broken`] says which, and why.

use std::collections::{BTreeMap, BTreeSet};

use threeport_model::{
    Object,
    kinds::kubernetes_runtime_instance::DEFAULT_SLOT,
    protocol::{claim::Claim, inventory::InventoryRow},
};
use uuid::Uuid;

use super::{Taken, counts};
use crate::{
    Store, agent,
    error::{Error, Result},
    inventory,
    object::read::{of_ids, of_ids_and_now},
    pending,
    row::{ObjectRow, has_footprint},
    secret::table,
    sql::{Row, Sql},
    transaction::Transaction,
};

const RUNTIME: &str = "KubernetesRuntimeInstance";

/// What can't be read, by the object that it is of: what it is, and why.
pub(crate) type Broken = BTreeMap<Uuid, String>;

/// The worlds of taken rows.
#[derive(Debug, Default)]
pub(crate) struct Worlds {
    pub(crate) claims: Vec<Claim>,
    /// Those whose world can't be read, and why.
    pub(crate) unreadable: Vec<(Taken, String)>,
}

impl Store {
    /// The worlds of taken rows, those apart that were lost meanwhile.
    pub(crate) async fn world(&self, taken: &[Taken]) -> Result<Worlds> {
        if taken.is_empty() {
            return Ok(Worlds::default());
        }
        let input = (self, taken);
        self.transactions()
            .snapshot(
                &input,
                |(_, taken), dialect| of_ids_and_now(&ids(taken), dialect),
                |transaction, (store, taken)| Box::pin(load(transaction, store, taken)),
            )
            .await
    }
}

fn ids(taken: &[Taken]) -> Vec<Uuid> {
    taken.iter().map(|one| one.id).collect()
}

/// Its first statement was the one of the objects themselves.
async fn load(transaction: &Transaction, store: &Store, taken: &[Taken]) -> Result<Worlds> {
    let mut broken = Broken::new();
    let ids = ids(taken);
    let mut objects = objects(&transaction.first, ObjectRow::stored, &mut broken)?;
    objects.retain(|id, found| taken.iter().any(|one| one.id == *id && one.epoch == found.epoch));
    let instances: Vec<Uuid> = of_kind(&objects, has_footprint);
    let mut references = ordered_references(transaction, &ids).await?;
    let mut inventory = inventory::of_instances(transaction, &instances, &mut broken).await?;
    let default = default_runtime(transaction, store.control_plane_id()).await?;
    for id in &instances {
        place(references.entry(*id).or_default(), inventory.get(id), default);
    }
    let wanted: BTreeSet<Uuid> = references.values().flatten().map(|(id, _)| *id).collect();
    let others = self::others(transaction, &wanted.into_iter().collect::<Vec<_>>(), &mut broken).await?;
    let runtimes = runtimes(&objects, &references, &inventory);
    let agents = agent::states(transaction, &runtimes.values().copied().collect::<Vec<_>>()).await?;
    let definitions = of_kind(&objects, |kind| kind == "WorkloadDefinition");
    let instance_counts = counts::instances(transaction, &definitions).await?;
    let mut worst = counts::worst(transaction, &definitions).await?;
    let rows = || objects.values().chain(others.values()).map(|found| &found.row);
    let texts: Vec<(Uuid, String)> = rows().map(|row| (row.id, row.secret_text())).collect();
    let texts: Vec<(Uuid, &str)> = texts.iter().map(|(id, text)| (*id, text.as_str())).collect();
    let secrets = table::values(transaction, store.encryption_key(), &texts, &mut broken).await?;

    let mut worlds = Worlds::default();
    for one in taken {
        let named: Vec<Uuid> = references
            .get(&one.id)
            .map(|ids| ids.iter().map(|(id, _)| *id).collect())
            .unwrap_or_default();
        if let Some(why) = std::iter::once(&one.id)
            .chain(&named)
            .find_map(|id| broken.get(id))
        {
            worlds.unreadable.push((one.clone(), why.clone()));
            continue;
        }
        let Some(found) = objects.get(&one.id) else {
            continue;
        };
        let row = &found.row;
        let of = |id: Uuid| {
            secrets
                .get(&id)
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone()))
        };
        let is_definition = row.kind == "WorkloadDefinition";
        worlds.claims.push(Claim {
            object: found.object.clone(),
            deleted: row.deleted_at.is_some(),
            token: one.token.clone(),
            epoch: one.epoch,
            trigger: pending::trigger(one.priority),
            attempts: one.attempts,
            pending_milliseconds: one.waited / 1000,
            references: named
                .iter()
                .filter_map(|id| others.get(id).map(|other| other.object.clone()))
                .collect(),
            secrets: of(one.id).chain(named.iter().flat_map(|id| of(*id))).collect(),
            inventory: inventory.remove(&one.id).unwrap_or_default(),
            agent: runtimes
                .get(&one.id)
                .and_then(|runtime| agents.get(runtime).cloned()),
            instances: is_definition.then(|| instance_counts.get(&one.id).copied().unwrap_or_default()),
            worst_instance: worst.remove(&one.id),
        });
    }
    Ok(worlds)
}

/// An object with its status: a run's own as it is stored, what it refers to as it is served, so that nobody takes the
/// readiness of an older generation for the one that he waits for.
type WithStatus = fn(&ObjectRow) -> Result<Object>;

/// An object that could be read.
struct Found {
    row: ObjectRow,
    object: Object,
    epoch: i64,
}

impl Found {
    fn read(row: &Row, with_status: WithStatus) -> Result<Self> {
        let epoch = row.get("epoch")?;
        let row = ObjectRow::read(row)?;
        Ok(Self {
            object: with_status(&row)?,
            row,
            epoch,
        })
    }
}

type Objects = BTreeMap<Uuid, Found>;
type References = BTreeMap<Uuid, Vec<(Uuid, String)>>;

async fn others(transaction: &Transaction, ids: &[Uuid], broken: &mut Broken) -> Result<Objects> {
    if ids.is_empty() {
        return Ok(Objects::new());
    }
    objects(&transaction.all(of_ids(ids)).await?, ObjectRow::served, broken)
}

fn objects(rows: &[Row], with_status: WithStatus, broken: &mut Broken) -> Result<Objects> {
    let mut objects = Objects::new();
    for row in rows {
        let id = row.get("id")?;
        match Found::read(row, with_status) {
            Ok(found) => drop(objects.insert(id, found)),
            Err(error) => {
                let (kind, name): (String, String) = (row.get("kind")?, row.get("name")?);
                broken.insert(id, because(&format!("{kind}/{name}"), &error));
            }
        }
    }
    Ok(objects)
}

/// Why something can't be read, for people.
pub(crate) fn because(what: &str, error: &Error) -> String {
    match error {
        Error::Decode { what: column, why } => format!("{what}, {column}: {why}"),
        Error::Database(cause) => format!("{what}: {cause}"),
        error => format!("{what}: {error}"),
    }
}

fn of_kind(objects: &Objects, wanted: impl Fn(&str) -> bool) -> Vec<Uuid> {
    objects
        .iter()
        .filter(|(_, found)| wanted(&found.row.kind))
        .map(|(id, _)| *id)
        .collect()
}

/// The statement of what objects refer to, in the order of their fields.
pub(crate) fn references_of(ids: &[Uuid]) -> Sql {
    let mut query = Sql::new("SELECT from_id, to_id, to_kind FROM reference WHERE from_id IN ");
    query.list(ids).push(" ORDER BY from_id, field");
    query
}

async fn ordered_references(transaction: &Transaction, ids: &[Uuid]) -> Result<References> {
    let mut references = References::new();
    for row in transaction.all(references_of(ids)).await? {
        let found = references.entry(row.get("from_id")?).or_default();
        let to = row.get("to_id")?;
        if found.iter().all(|(id, _)| *id != to) {
            found.push((to, row.get("to_kind")?));
        }
    }
    Ok(references)
}

/// Adds the runtimes of an instance that its specification doesn't name: the default one where it names none, and those
/// in which it still has objects.
fn place(references: &mut Vec<(Uuid, String)>, inventory: Option<&Vec<InventoryRow>>, default: Option<Uuid>) {
    let named = references.iter().any(|(_, kind)| kind == RUNTIME);
    let default = default.filter(|_| !named);
    let left = inventory.into_iter().flatten().map(|row| row.runtime_id);
    for runtime in default.into_iter().chain(left) {
        if references.iter().all(|(id, _)| *id != runtime) {
            references.push((runtime, RUNTIME.to_owned()));
        }
    }
}

/// The statement that finds the default runtime.
pub(crate) fn default_of(origin: Uuid) -> Sql {
    Sql::new("SELECT id FROM object WHERE origin = $1 AND slot = $2 AND deleted_at IS NULL")
        .values([origin.into(), DEFAULT_SLOT.into()])
}

async fn default_runtime(transaction: &Transaction, origin: Uuid) -> Result<Option<Uuid>> {
    let row = transaction.one(default_of(origin)).await?;
    row.map(|row| row.get("id")).transpose()
}

/// The runtime whose agent matters: its own, of a runtime; of an instance the one it is placed in, and of a tombstone the
/// one in which something is left.
fn runtimes(
    objects: &Objects,
    references: &References,
    inventory: &BTreeMap<Uuid, Vec<InventoryRow>>,
) -> BTreeMap<Uuid, Uuid> {
    let runtime = |id: &Uuid, row: &ObjectRow| {
        if row.kind == RUNTIME {
            return Some(*id);
        }
        if !has_footprint(&row.kind) {
            return None;
        }
        let left = inventory
            .get(id)
            .and_then(|rows| rows.first())
            .map(|row| row.runtime_id);
        let placed = references
            .get(id)
            .and_then(|found| found.iter().find(|(_, kind)| kind == RUNTIME));
        let placed = placed.map(|(id, _)| *id);
        if row.deleted_at.is_some() {
            left.or(placed)
        } else {
            placed.or(left)
        }
    };
    objects
        .iter()
        .filter_map(|(id, found)| Some((*id, runtime(id, &found.row)?)))
        .collect()
}
