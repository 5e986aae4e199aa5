//! All that the holder of a claim needs to know, as of one moment.

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
    error::Result,
    inventory, pending,
    row::{COLUMNS, FROM, ObjectRow, has_footprint},
    secret::table,
    sql::Sql,
    transaction::Transaction,
};

const RUNTIME: &str = "KubernetesRuntimeInstance";

impl Store {
    /// The worlds of taken rows, those apart that were lost meanwhile.
    pub(crate) async fn world(&self, taken: &[Taken]) -> Result<Vec<Claim>> {
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        let input = (self, taken);
        self.transactions()
            .snapshot(&input, |transaction, (store, taken)| {
                Box::pin(load(transaction, store, taken))
            })
            .await
    }
}

async fn load(transaction: &Transaction, store: &Store, taken: &[Taken]) -> Result<Vec<Claim>> {
    let ids: Vec<Uuid> = taken.iter().map(|one| one.id).collect();
    let mut objects = objects(transaction, &ids).await?;
    objects.retain(|id, (_, epoch)| taken.iter().any(|one| one.id == *id && one.epoch == *epoch));
    let instances: Vec<Uuid> = of_kind(&objects, has_footprint);
    let mut references = ordered_references(transaction, &ids).await?;
    let mut inventory = inventory::of_instances(transaction, &instances).await?;
    let default = default_runtime(transaction, store.control_plane_id()).await?;
    for id in &instances {
        place(references.entry(*id).or_default(), inventory.get(id), default);
    }
    let wanted: BTreeSet<Uuid> = references.values().flatten().map(|(id, _)| *id).collect();
    let others = self::objects(transaction, &wanted.into_iter().collect::<Vec<_>>()).await?;
    let runtimes = runtimes(&objects, &references, &inventory);
    let agents = agent::states(transaction, &runtimes.values().copied().collect::<Vec<_>>()).await?;
    let definitions = of_kind(&objects, |kind| kind == "WorkloadDefinition");
    let instance_counts = counts::instances(transaction, &definitions).await?;
    let mut worst = counts::worst(transaction, &definitions).await?;
    let rows = || objects.values().chain(others.values()).map(|(row, _)| row);
    let texts: Vec<(Uuid, String)> = rows().map(|row| (row.id, row.secret_text())).collect();
    let texts: Vec<(Uuid, &str)> = texts.iter().map(|(id, text)| (*id, text.as_str())).collect();
    let secrets = table::values(transaction, store.encryption_key(), &texts).await?;

    let mut claims = Vec::with_capacity(taken.len());
    for one in taken {
        let Some((row, _)) = objects.get(&one.id) else {
            continue;
        };
        let named: Vec<&ObjectRow> = references
            .get(&one.id)
            .map(|ids| {
                ids.iter()
                    .filter_map(|(id, _)| others.get(id).map(|(row, _)| row))
                    .collect()
            })
            .unwrap_or_default();
        let of = |id: Uuid| {
            secrets
                .get(&id)
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone()))
        };
        let is_definition = row.kind == "WorkloadDefinition";
        claims.push(Claim {
            object: row.stored()?,
            deleted: row.deleted_at.is_some(),
            token: one.token.clone(),
            epoch: one.epoch,
            trigger: pending::trigger(one.priority),
            attempts: one.attempts,
            pending_milliseconds: one.waited / 1000,
            references: named
                .iter()
                .map(|row| row.stored())
                .collect::<Result<Vec<Object>>>()?,
            secrets: of(one.id)
                .chain(named.iter().flat_map(|row| of(row.id)))
                .collect(),
            inventory: inventory.remove(&one.id).unwrap_or_default(),
            agent: runtimes
                .get(&one.id)
                .and_then(|runtime| agents.get(runtime).cloned()),
            instances: is_definition.then(|| instance_counts.get(&one.id).copied().unwrap_or_default()),
            worst_instance: worst.remove(&one.id),
        });
    }
    Ok(claims)
}

type Objects = BTreeMap<Uuid, (ObjectRow, i64)>;
type References = BTreeMap<Uuid, Vec<(Uuid, String)>>;

/// The statement that reads objects with all that is stored of them.
pub(crate) fn of_ids(ids: &[Uuid]) -> Sql {
    let mut query = Sql::new(format!("SELECT {COLUMNS} {FROM} WHERE o.id IN "));
    query.list(ids);
    query
}

async fn objects(transaction: &Transaction, ids: &[Uuid]) -> Result<Objects> {
    if ids.is_empty() {
        return Ok(Objects::new());
    }
    let rows = transaction.all(of_ids(ids)).await?;
    rows.iter()
        .map(|row| Ok((row.get("id")?, (ObjectRow::read(row)?, row.get("epoch")?))))
        .collect()
}

fn of_kind(objects: &Objects, wanted: impl Fn(&str) -> bool) -> Vec<Uuid> {
    objects
        .iter()
        .filter(|(_, (row, _))| wanted(&row.kind))
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
        .filter_map(|(id, (row, _))| Some((*id, runtime(id, row)?)))
        .collect()
}
