//! All that the holder of a claim needs to know, as of one moment.
//!
//! What a process holds of it is bounded: objects are read without what is large, which is read for those whose claims
//! fit into an answer. What each claim carries counts for itself, the definition of fifty instances fifty times. So do the
//! secret values, of which specifications show nothing, and the rows of the inventory: an answer has room for as much of
//! these again.
//!
//! What can't be read (a row that somebody damaged or that a newer version wrote, secret values without their key) fails
//! the claims that need it and no others: [`Broken`] says which, and why.

mod parts;

use std::collections::{BTreeMap, BTreeSet};

use threeport_model::{
    Kind, Object, explain,
    kinds::kubernetes_runtime_instance::{DEFAULT_SLOT, KubernetesRuntimeInstance},
    protocol::{claim::Claim, inventory::InventoryRow},
};
use uuid::Uuid;

use self::parts::gather;
use super::Taken;
use crate::{
    Store,
    broken::Broken,
    database::{
        page::fitting,
        sql::{Row, Sql},
        transaction::Transaction,
    },
    error::Result,
    inventory,
    object::{
        read::{light_of_ids, light_of_ids_and_now, of_ids},
        row::{self, ObjectRow, has_footprint},
    },
};

const RUNTIME: &str = KubernetesRuntimeInstance::KIND;

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
    let mut current = newest(taken, &mut own)?;
    let origin = store.control_plane_id();
    let (references, inventory) = order(transaction, origin, &own, &mut broken).await?;
    let others = rows(transaction, named(&references), light_of_ids).await?;
    let mut light = Light {
        own,
        others: by_id(&others)?,
        references,
    };
    let left = light.fit(&mut current)?;
    let read = read_whole(transaction, &light, &mut broken).await?;
    let mut parts = gather(transaction, store, read, light.references, inventory, broken).await?;
    let mut worlds = Worlds::default();
    let mut readable: Vec<&Taken> = Vec::with_capacity(current.len());
    for one in current {
        match parts.unreadable(one) {
            Some(why) => worlds.unreadable.push((one.clone(), why.clone())),
            None => readable.push(one),
        }
    }
    let room = fitting(readable.iter().map(|one| Ok(parts.weight(one))))?;
    let heavy = readable.split_off(room);
    worlds.claims = readable.into_iter().filter_map(|one| parts.claim(one)).collect();
    worlds.left = heavy.into_iter().cloned().chain(left).collect();
    Ok(worlds)
}

/// Those whose claim is still the newest; the rows of the others go.
fn newest<'t>(taken: &'t [Taken], own: &mut Rows<'_>) -> Result<Vec<&'t Taken>> {
    let mut current: Vec<&Taken> = Vec::with_capacity(taken.len());
    for one in taken {
        let epoch = own.get(&one.id).map(|row| row.get::<i64>("epoch")).transpose()?;
        if epoch == Some(one.epoch) {
            current.push(one);
        }
    }
    own.retain(|id, _| current.iter().any(|one| one.id == *id));
    Ok(current)
}

/// What objects refer to, in order, the runtimes of instances included; and what instances have in those.
async fn order(
    transaction: &Transaction,
    origin: Uuid,
    own: &Rows<'_>,
    broken: &mut Broken,
) -> Result<(References, Inventory)> {
    let ids: Vec<Uuid> = own.keys().copied().collect();
    let mut instances = Vec::new();
    for (id, row) in own {
        if has_footprint(&row.get::<String>("kind")?) {
            instances.push(*id);
        }
    }
    let mut references = ordered_references(transaction, &ids).await?;
    let inventory = inventory::of_instances(transaction, &instances, broken).await?;
    let is_placed = |id: &Uuid| references.get(id).is_some_and(|found| names_runtime(found));
    let default = if instances.iter().all(is_placed) {
        None
    } else {
        default_runtime(transaction, origin).await?
    };
    for id in &instances {
        place(references.entry(*id).or_default(), inventory.get(id), default);
    }
    Ok((references, inventory))
}

/// What references name.
fn named(references: &References) -> BTreeSet<Uuid> {
    references.values().flatten().map(|(id, _)| *id).collect()
}

/// Rows without what is large: of the objects themselves and of what they refer to.
struct Light<'r> {
    own: Rows<'r>,
    others: Rows<'r>,
    references: References,
}

impl Light<'_> {
    /// Leaves only that for which there is room in an answer. Answers for whom there is none.
    fn fit(&mut self, current: &mut Vec<&Taken>) -> Result<Vec<Taken>> {
        let room = fitting(current.iter().map(|one| {
            let named = self.references.get(&one.id).into_iter().flatten();
            let named = named.filter_map(|(id, _)| self.others.get(id));
            let carried = self.own.get(&one.id).into_iter().chain(named);
            carried.map(|row| row::size(row)).sum::<Result<i64>>()
        }))?;
        let left = current.split_off(room).into_iter().cloned().collect();
        let given: BTreeSet<Uuid> = current.iter().map(|one| one.id).collect();
        self.own.retain(|id, _| given.contains(id));
        self.references.retain(|id, _| given.contains(id));
        let wanted = named(&self.references);
        self.others.retain(|id, _| wanted.contains(id));
        Ok(left)
    }
}

/// Reads the objects themselves and what they refer to, with what is large of them.
async fn read_whole(
    transaction: &Transaction,
    light: &Light<'_>,
    broken: &mut Broken,
) -> Result<(Objects, Objects)> {
    let mut large = BTreeSet::new();
    for (id, row) in light.own.iter().chain(&light.others) {
        if row::is_large(row)? {
            large.insert(*id);
        }
    }
    let whole = rows(transaction, large, of_ids).await?;
    let whole = by_id(&whole)?;
    let own = objects(&light.own, &whole, ObjectRow::stored, broken)?;
    let others = objects(&light.others, &whole, ObjectRow::served, broken)?;
    Ok((own, others))
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
type Inventory = BTreeMap<Uuid, Vec<InventoryRow>>;

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

fn names_runtime(references: &[(Uuid, String)]) -> bool {
    references.iter().any(|(_, kind)| kind == RUNTIME)
}

/// Adds the runtimes of an instance that its specification doesn't name: the default one where it names none, and those
/// in which it still has objects.
fn place(references: &mut Vec<(Uuid, String)>, inventory: Option<&Vec<InventoryRow>>, default: Option<Uuid>) {
    let default = default.filter(|_| !names_runtime(references));
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
fn runtimes(objects: &Objects, references: &References, inventory: &Inventory) -> BTreeMap<Uuid, Uuid> {
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
