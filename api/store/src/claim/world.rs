//! All that the holder of a claim needs to know, as of one moment.
//!
//! What a process holds of it is bounded: objects are read without what is large, which is read for those whose claims
//! fit into an answer. What each claim carries counts for itself, the definition of fifty instances fifty times.
//!
//! What can't be read (a row that somebody damaged or that a newer version wrote, secret values without their key) fails
//! the claims that need it and no others: [`Broken`] says which, and why.

use std::collections::{BTreeMap, BTreeSet};

use threeport_model::{
    Object, explain,
    kinds::kubernetes_runtime_instance::DEFAULT_SLOT,
    protocol::{claim::Claim, inventory::InventoryRow},
};
use uuid::Uuid;

use super::{Taken, counts};
use crate::{
    Store, agent,
    error::Result,
    inventory,
    object::read::{light_of_ids, light_of_ids_and_now, of_ids},
    page::fitting,
    pending,
    row::{self, ObjectRow, has_footprint},
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
    /// Those for which there is no room.
    pub(crate) left: Vec<Taken>,
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
                |(_, taken), dialect| light_of_ids_and_now(&ids(taken), dialect),
                |transaction, (store, taken)| Box::pin(load(transaction, store, taken)),
            )
            .await
    }
}

fn ids(taken: &[Taken]) -> Vec<Uuid> {
    taken.iter().map(|one| one.id).collect()
}

/// Its first statement was the one of the objects themselves, without what is large of them.
async fn load(transaction: &Transaction, store: &Store, taken: &[Taken]) -> Result<Worlds> {
    let mut broken = Broken::new();
    let mut own = by_id(&transaction.first)?;
    let mut current: Vec<&Taken> = Vec::with_capacity(taken.len());
    for one in taken {
        let epoch = own.get(&one.id).map(|row| row.get::<i64>("epoch")).transpose()?;
        if epoch == Some(one.epoch) {
            current.push(one);
        }
    }
    own.retain(|id, _| current.iter().any(|one| one.id == *id));
    let ids: Vec<Uuid> = own.keys().copied().collect();
    let mut instances = Vec::new();
    for (id, row) in &own {
        if has_footprint(&row.get::<String>("kind")?) {
            instances.push(*id);
        }
    }
    let mut references = ordered_references(transaction, &ids).await?;
    let mut inventory = inventory::of_instances(transaction, &instances, &mut broken).await?;
    let default = default_runtime(transaction, store.control_plane_id()).await?;
    for id in &instances {
        place(references.entry(*id).or_default(), inventory.get(id), default);
    }
    let wanted: BTreeSet<Uuid> = references.values().flatten().map(|(id, _)| *id).collect();
    let others = rows(transaction, wanted, light_of_ids).await?;
    let mut others = by_id(&others)?;

    let room = fitting(current.iter().map(|one| {
        let named = references.get(&one.id).into_iter().flatten();
        let named = named.filter_map(|(id, _)| others.get(id));
        let carried = own.get(&one.id).into_iter().chain(named);
        carried.map(|row| row::size(row)).sum::<Result<i64>>()
    }))?;
    let left: Vec<Taken> = current.split_off(room).into_iter().cloned().collect();
    let given: BTreeSet<Uuid> = current.iter().map(|one| one.id).collect();
    own.retain(|id, _| given.contains(id));
    references.retain(|id, _| given.contains(id));
    let wanted: BTreeSet<Uuid> = references.values().flatten().map(|(id, _)| *id).collect();
    others.retain(|id, _| wanted.contains(id));
    let mut large = BTreeSet::new();
    for (id, row) in own.iter().chain(&others) {
        if row::is_large(row)? {
            large.insert(*id);
        }
    }
    let whole = rows(transaction, large, of_ids).await?;
    let whole = by_id(&whole)?;
    let mut objects = objects(&own, &whole, ObjectRow::stored, &mut broken)?;
    let others = self::objects(&others, &whole, ObjectRow::served, &mut broken)?;

    let runtimes = runtimes(&objects, &references, &inventory);
    let agents = agent::states(transaction, &runtimes.values().copied().collect::<Vec<_>>()).await?;
    let definitions = of_kind(&objects, |kind| kind == "WorkloadDefinition");
    let instance_counts = counts::instances(transaction, &definitions).await?;
    let mut worst = counts::worst(transaction, &definitions).await?;
    let read = objects.values().chain(others.values()).map(|found| &found.row);
    let texts: Vec<(Uuid, &str)> = read
        .flat_map(|row| row.secret_texts().map(move |text| (row.id, text)))
        .collect();
    let secrets = table::values(transaction, store.encryption_key(), &texts, &mut broken).await?;

    let mut worlds = Worlds {
        left,
        ..Worlds::default()
    };
    for one in current {
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
        let Some(Found { row, object }) = objects.remove(&one.id) else {
            continue;
        };
        let of = |id: Uuid| {
            secrets
                .get(&id)
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone()))
        };
        let is_definition = row.kind == "WorkloadDefinition";
        worlds.claims.push(Claim {
            object,
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
}

impl Found {
    fn read(row: &Row, with_status: WithStatus) -> Result<Self> {
        let row = ObjectRow::read(row)?;
        Ok(Self {
            object: with_status(&row)?,
            row,
        })
    }
}

type Rows<'r> = BTreeMap<Uuid, &'r Row>;
type Objects = BTreeMap<Uuid, Found>;
type References = BTreeMap<Uuid, Vec<(Uuid, String)>>;

async fn rows(
    transaction: &Transaction,
    ids: BTreeSet<Uuid>,
    statement: fn(&[Uuid]) -> Sql,
) -> Result<Vec<Row>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = ids.into_iter().collect();
    transaction.all(statement(&ids)).await
}

fn by_id(rows: &[Row]) -> Result<Rows<'_>> {
    rows.iter().map(|row| Ok((row.get("id")?, row))).collect()
}

/// Reads objects: of the large ones, what is in `whole`.
fn objects(
    rows: &Rows<'_>,
    whole: &Rows<'_>,
    with_status: WithStatus,
    broken: &mut Broken,
) -> Result<Objects> {
    let mut objects = Objects::new();
    for (id, row) in rows {
        let row = whole.get(id).unwrap_or(row);
        match Found::read(row, with_status) {
            Ok(found) => drop(objects.insert(*id, found)),
            Err(error) => {
                let (kind, name): (String, String) = (row.get("kind")?, row.get("name")?);
                broken.insert(*id, format!("{kind}/{name}: {}", explain(&error)));
            }
        }
    }
    Ok(objects)
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
