//! Which live object belongs to which instance.
//!
//! Rows are written with intent, before the first apply, so that nothing that was ever made is forgotten. Of one live
//! object there is one row among the living; a second instance that wants it is told who has it. Beside those there are
//! *leftovers*: objects that carry an instance's identity without being in its inventory (a late create of a replica that
//! was paused). They are recorded when they are observed, take nobody's place, and their instance removes them.
//!
//! Of what a living instance carries the identity without ever having had it, as far as is known ([`former`]), nobody can say
//! that it came late: the database may have been restored from a backup that was made before. It is recorded as
//! *unrecorded*, and stays while its instance does.

pub(crate) mod former;

use std::collections::BTreeMap;

use sea_orm::Value;
use threeport_model::{
    explain,
    kinds::workload_instance::Health,
    protocol::inventory::{IntentRequest, IntentResponse, InventoryRow, Observed, OwnedBy},
};
use uuid::Uuid;

use crate::{
    Store,
    broken::Broken,
    database::{
        clock,
        sql::{Fetch, Row, Sql, to_json},
        transaction::Transaction,
    },
    error::{Error, Result},
    status::{self, Subject},
    writes,
};

pub(crate) const COLUMNS: &str = "i.id, i.runtime_id, i.instance_id, i.api_group, i.version, i.kind, i.plural, \
    i.namespace, i.name, i.leftover, i.uid, i.plan_hash, i.ownership_digest, i.applied_resource_version, \
    i.completed_hash, i.healed_at, i.observed_health, i.observed_message, i.observed_uid, \
    i.observed_resource_version, i.observed_ownership_digest, i.observed_images, i.observed_epoch, \
    i.observed_sequence, i.observed_managers, i.seen_at";

/// The column `leftover` of a late create; it is 0 of what an instance has.
pub(crate) const LEFTOVER: i64 = 1;
/// The column `leftover` of what the database has no record of.
pub(crate) const UNRECORDED: i64 = 2;

/// Reads [`COLUMNS`].
pub(crate) fn read(row: &Row) -> Result<InventoryRow> {
    let health: String = row.get("observed_health")?;
    let leftover: i64 = row.get("leftover")?;
    Ok(InventoryRow {
        id: row.get("id")?,
        runtime_id: row.get("runtime_id")?,
        instance_id: row.get("instance_id")?,
        group: row.get("api_group")?,
        version: row.get("version")?,
        kind: row.get("kind")?,
        plural: row.get("plural")?,
        namespace: row.get("namespace")?,
        name: row.get("name")?,
        uid: row.get("uid")?,
        plan_hash: row.get("plan_hash")?,
        ownership_digest: row.get("ownership_digest")?,
        applied_resource_version: row.get("applied_resource_version")?,
        completed_hash: row.get("completed_hash")?,
        healed_at: row.json("healed_at")?,
        unrecorded: leftover == UNRECORDED,
        observed: Observed {
            health: Health::from_word(&health),
            message: row.get("observed_message")?,
            uid: row.get("observed_uid")?,
            resource_version: row.get("observed_resource_version")?,
            ownership_digest: row.get("observed_ownership_digest")?,
            images: row.json("observed_images")?,
            epoch: row.get("observed_epoch")?,
            sequence: row.get("observed_sequence")?,
            other_managers: row.json("observed_managers")?,
            seen_at: clock::optional(row.get("seen_at")?)?,
        },
    })
}

/// The statement of the rows of instances.
pub(crate) fn rows_of(ids: &[Uuid]) -> Sql {
    let mut query = Sql::new(format!(
        "SELECT {COLUMNS} FROM inventory i WHERE i.instance_id IN "
    ));
    query
        .list(ids)
        .push(" ORDER BY i.instance_id, i.runtime_id, i.api_group, i.kind, i.namespace, i.name");
    query
}

/// The rows of instances, leftovers included; of those apart that have a row that can't be read.
pub(crate) async fn of_instances(
    connection: &Transaction,
    ids: &[Uuid],
    broken: &mut Broken,
) -> Result<BTreeMap<Uuid, Vec<InventoryRow>>> {
    let mut found: BTreeMap<Uuid, Vec<InventoryRow>> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(found);
    }
    for row in connection.all(rows_of(ids)).await? {
        let instance = row.get("instance_id")?;
        match read(&row) {
            Ok(row) => found.entry(instance).or_default().push(row),
            Err(error) => drop(broken.insert(instance, format!("its inventory: {}", explain(&error)))),
        }
    }
    Ok(found)
}

/// Group, kind, namespace, name: what identifies an object in a runtime.
type Identity = (Uuid, String, String, String, String);

fn identity(row: &InventoryRow) -> Identity {
    (
        row.runtime_id,
        row.group.clone(),
        row.kind.clone(),
        row.namespace.clone(),
        row.name.clone(),
    )
}

/// Writes rows of an instance; what an agent saw stays as it is, that a Job completed included: a run knows what was seen
/// before it began, and only what it says of the very plan that it writes is news.
pub(crate) async fn write(transaction: &Transaction, instance: Uuid, rows: &[InventoryRow]) -> Result<()> {
    let statements = insert(instance, rows)?;
    transaction.write(statements).await.map_err(refine)
}

/// The statements of [`write`].
pub(crate) fn insert(instance: Uuid, rows: &[InventoryRow]) -> Result<Vec<Sql>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let distinct: BTreeMap<Identity, &InventoryRow> = rows.iter().map(|row| (identity(row), row)).collect();
    let mut sql = Sql::new(
        "INSERT INTO inventory (id, runtime_id, instance_id, api_group, version, kind, plural, namespace, name, \
         leftover, uid, plan_hash, ownership_digest, applied_resource_version, completed_hash, healed_at, \
         observed_health, observed_message, observed_images, observed_epoch, observed_sequence, observed_managers) \
         VALUES ",
    );
    let mut values = Vec::with_capacity(distinct.len());
    for row in distinct.values() {
        values.push(Vec::<Value>::from([
            row.id.into(),
            row.runtime_id.into(),
            instance.into(),
            row.group.clone().into(),
            row.version.clone().into(),
            row.kind.clone().into(),
            row.plural.clone().into(),
            row.namespace.clone().into(),
            row.name.clone().into(),
            0_i64.into(),
            row.uid.clone().into(),
            row.plan_hash.clone().into(),
            row.ownership_digest.clone().into(),
            row.applied_resource_version.clone().into(),
            row.completed_hash.clone().into(),
            to_json(&row.healed_at)?.into(),
            Health::Unknown.as_str().into(),
            "".into(),
            "[]".into(),
            0_i64.into(),
            0_i64.into(),
            "[]".into(),
        ]));
    }
    sql.rows(values).push(
        " ON CONFLICT (instance_id, runtime_id, api_group, kind, namespace, name) DO UPDATE SET id = excluded.id, \
         version = excluded.version, plural = excluded.plural, leftover = 0, uid = excluded.uid, \
         plan_hash = excluded.plan_hash, ownership_digest = excluded.ownership_digest, \
         applied_resource_version = excluded.applied_resource_version, \
         completed_hash = CASE WHEN excluded.completed_hash = excluded.plan_hash THEN excluded.completed_hash \
         ELSE inventory.completed_hash END, \
         healed_at = excluded.healed_at",
    );
    Ok(vec![sql, watch_kinds(distinct.into_values())])
}

/// Says what a violated constraint of [`insert`] means.
pub(crate) fn refine(error: Error) -> Error {
    match &error {
        Error::Database(database)
            if crate::database::transaction::violated(database).as_deref() == Some("inventory_identity") =>
        {
            Error::Conflict("another instance has one of the objects".to_owned())
        }
        _ => error,
    }
}

/// The statement that has the agents watch the kinds of rows. What they watch already it only reads: a row that is written
/// by everybody is one at which everybody collides.
fn watch_kinds<'r>(rows: impl Iterator<Item = &'r InventoryRow>) -> Sql {
    let kinds: BTreeMap<(Uuid, &str, &str), &str> = rows
        .map(|row| {
            (
                (row.runtime_id, row.group.as_str(), row.kind.as_str()),
                row.version.as_str(),
            )
        })
        .collect();
    let mut sql = Sql::new("WITH v (runtime_id, api_group, kind, version) AS (VALUES ");
    sql.rows(kinds.into_iter().map(|((runtime, group, kind), version)| {
        Vec::<Value>::from([runtime.into(), group.into(), kind.into(), version.into()])
    }));
    sql.push(
        ") INSERT INTO watched_kind (runtime_id, api_group, kind, version, closed_epoch) \
         SELECT v.runtime_id, v.api_group, v.kind, v.version, 0 FROM v LEFT JOIN watched_kind w \
         ON w.runtime_id = v.runtime_id AND w.api_group = v.api_group AND w.kind = v.kind \
         WHERE w.version IS NULL OR w.version <> v.version \
         ON CONFLICT (runtime_id, api_group, kind) DO UPDATE SET version = excluded.version, closed_epoch = 0",
    );
    sql
}

/// Removes rows of an instance. `seen`: an agent saw something since the run began that no longer wants them. A row of which
/// it saw another object than the one that was known then stays: that may have come late.
pub(crate) async fn remove(
    transaction: &Transaction,
    instance: Uuid,
    ids: &[Uuid],
    seen: bool,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut sql = Sql::new("DELETE FROM inventory WHERE instance_id = ");
    sql.bind(instance).push(" AND id IN ").list(ids);
    if seen {
        sql.push(" AND (observed_uid IS NULL OR observed_uid = uid OR observed_health = ")
            .bind(Health::Missing.as_str())
            .push(")");
    }
    transaction.run(sql).await.map(drop)
}

/// How many of these rows of an instance there are.
pub(crate) async fn count(transaction: &Transaction, instance: Uuid, ids: &[Uuid]) -> Result<i64> {
    let mut query = Sql::new("SELECT id FROM inventory WHERE instance_id = ");
    query.bind(instance).push(" AND id IN ").list(ids);
    Ok(i64::try_from(transaction.all(query).await?.len()).unwrap_or(i64::MAX))
}

/// `looks`: says who has the objects, where others have some. Without it [`refine`]'s conflict says only that they do.
async fn intend(transaction: &Transaction, request: &IntentRequest, looks: bool) -> Result<IntentResponse> {
    let subject = Subject::first(transaction, request.instance_id)?;
    status::check_epoch(&subject, Some(request.epoch))?;
    if subject.deleted {
        return Err(Error::PreconditionFailed(format!(
            "{} is gone",
            subject.reference()
        )));
    }
    let conflicts = if looks {
        conflicts(transaction, request).await?
    } else {
        Vec::new()
    };
    if conflicts.is_empty() {
        write(transaction, request.instance_id, &request.rows).await?;
    }
    Ok(IntentResponse { conflicts })
}

/// The rows of other instances for the same objects.
async fn conflicts(transaction: &Transaction, request: &IntentRequest) -> Result<Vec<OwnedBy>> {
    let mut query = Sql::new(
        "SELECT i.runtime_id, i.api_group, i.kind, i.namespace, i.name, i.instance_id, o.name AS instance_name \
         FROM inventory i JOIN object o ON o.id = i.instance_id WHERE i.leftover = 0 AND i.instance_id <> ",
    );
    query.bind(request.instance_id);
    query.push(" AND (i.runtime_id, i.api_group, i.kind, i.namespace, i.name) IN (VALUES ");
    query.rows(
        request
            .rows
            .iter()
            .map(identity)
            .map(|(runtime, group, kind, namespace, name)| {
                Vec::<Value>::from([
                    runtime.into(),
                    group.into(),
                    kind.into(),
                    namespace.into(),
                    name.into(),
                ])
            }),
    );
    query.push(")");
    let wanted: BTreeMap<Identity, Uuid> = request.rows.iter().map(|row| (identity(row), row.id)).collect();
    let mut conflicts = Vec::new();
    for row in transaction.all(query).await? {
        let identity: Identity = (
            row.get("runtime_id")?,
            row.get("api_group")?,
            row.get("kind")?,
            row.get("namespace")?,
            row.get("name")?,
        );
        if let Some(id) = wanted.get(&identity) {
            conflicts.push(OwnedBy {
                id: *id,
                instance_id: row.get("instance_id")?,
                instance_name: row.get("instance_name")?,
            });
        }
    }
    Ok(conflicts)
}

/// The statement of an object's resources.
pub(crate) fn of(id: Uuid) -> Sql {
    Sql::new(format!(
        "SELECT {COLUMNS} FROM inventory i WHERE i.instance_id = $1 \
         ORDER BY i.runtime_id, i.api_group, i.kind, i.namespace, i.name"
    ))
    .values([id.into()])
}

impl Store {
    /// Writes rows with intent: all of them or, where other instances have some of the objects, none. Refused where the
    /// claim's epoch is not the newest.
    pub async fn inventory_intent(&self, request: &IntentRequest) -> Result<IntentResponse> {
        // The index knows whether others have some. Who they are is asked only then.
        match self.inventory_intend(request, false).await {
            Err(Error::Conflict(_)) => self.inventory_intend(request, true).await,
            answer => answer,
        }
    }

    async fn inventory_intend(&self, request: &IntentRequest, looks: bool) -> Result<IntentResponse> {
        let input = (request, looks);
        self.transactions()
            .run_on(
                writes::INVENTORY_INTENT,
                &input,
                |(request, _), dialect| Subject::statement(request.instance_id, dialect),
                |transaction, (request, looks)| Box::pin(intend(transaction, request, *looks)),
            )
            .await
    }

    /// The live objects of an object, in every runtime.
    pub async fn object_resources(&self, kind: &str, name: &str) -> Result<Vec<InventoryRow>> {
        let id = self.object_row(kind, name).await?.id;
        self.reader().all(of(id)).await?.iter().map(read).collect()
    }
}
