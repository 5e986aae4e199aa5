//! How the instances of definitions are, counted by the database.

use std::collections::BTreeMap;

use threeport_model::kinds::workload_definition::InstanceCounts;
use uuid::Uuid;

use crate::{
    database::{sql::Sql, transaction::Transaction},
    error::Result,
    reference::DEFINITION,
};

/// The living instances that are not suspended; what is being deleted is nobody's desired state any more.
const INSTANCES: &str = "FROM reference r JOIN object o ON o.id = r.from_id JOIN object_status s ON s.object_id = o.id \
    JOIN object w ON w.id = r.to_id WHERE o.deleted_at IS NULL AND o.deletion_requested_at IS NULL AND o.suspended = 0 \
    AND r.field = ";

/// Whether an instance has applied exactly the desired pair.
const CURRENT: &str = "s.revision_definition = w.generation AND s.revision_instance = o.generation";

/// The statement of the counts.
pub(crate) fn of_definitions(ids: &[Uuid]) -> Sql {
    let mut sql = Sql::new(format!(
        "SELECT r.to_id, COUNT(*) AS total, COUNT(CASE WHEN {CURRENT} THEN 1 END) AS current_count, \
         COUNT(CASE WHEN {CURRENT} AND s.ready = 'True' AND s.observed_generation = o.generation THEN 1 END) \
         AS ready_count {INSTANCES}"
    ));
    sql.bind(DEFINITION)
        .push(" AND r.to_id IN ")
        .list(ids)
        .push(" GROUP BY r.to_id");
    sql
}

/// The statement of the instances that are worst off.
pub(crate) fn worst_of(ids: &[Uuid]) -> Sql {
    let mut sql = Sql::new(format!(
        "SELECT to_id, kind, name, reason, message FROM (SELECT r.to_id, o.kind, o.name, s.reason, s.message, \
         ROW_NUMBER() OVER (PARTITION BY r.to_id ORDER BY CASE s.ready WHEN 'False' THEN 0 WHEN 'Unknown' THEN 1 \
         ELSE 2 END, o.name) AS place {INSTANCES}"
    ));
    sql.bind(DEFINITION).push(" AND r.to_id IN ").list(ids);
    sql.push(&format!(
        " AND NOT (COALESCE({CURRENT}, 1 = 0) AND s.ready = 'True')) AS ranked WHERE place = 1"
    ));
    sql
}

/// Counts by definition.
pub(crate) async fn instances(
    transaction: &Transaction,
    ids: &[Uuid],
) -> Result<BTreeMap<Uuid, InstanceCounts>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = transaction.all(of_definitions(ids)).await?;
    rows.iter()
        .map(|row| {
            let counts = InstanceCounts {
                total: row.get("total")?,
                current: row.get("current_count")?,
                ready: row.get("ready_count")?,
            };
            Ok((row.get("to_id")?, counts))
        })
        .collect()
}

/// The instance of each definition that is worst off, as `Kind/name: message`: one that is not ready before one that
/// is only not there yet.
pub(crate) async fn worst(transaction: &Transaction, ids: &[Uuid]) -> Result<BTreeMap<Uuid, String>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = transaction.all(worst_of(ids)).await?;
    rows.iter()
        .map(|row| {
            let (kind, name): (String, String) = (row.get("kind")?, row.get("name")?);
            let (reason, message): (String, String) = (row.get("reason")?, row.get("message")?);
            let text = if message.is_empty() { reason } else { message };
            let text = if text.is_empty() {
                "not reconciled yet".to_owned()
            } else {
                text
            };
            Ok((row.get("to_id")?, format!("{kind}/{name}: {text}")))
        })
        .collect()
}
