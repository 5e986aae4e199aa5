//! The statements that write the rows of objects: one per table, for one object and for three hundred alike.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::Value;
use uuid::Uuid;

use super::row::ObjectRow;
use crate::{
    database::sql::{Sql, to_json},
    error::Result,
    verification,
};

/// New objects.
pub(crate) fn insert_objects(
    origin: Uuid,
    rows: &[&ObjectRow],
    suspended: &BTreeSet<Uuid>,
) -> Result<Option<Sql>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let mut sql = Sql::new(
        "INSERT INTO object (id, origin, kind, name, generation, resource_version, spec, document, labels, \
         annotations, managed_by, source_uid, source_generation, slot, suspended, created_at, updated_at) VALUES ",
    );
    let mut values = Vec::with_capacity(rows.len());
    for row in rows {
        values.push(Vec::<Value>::from([
            row.id.into(),
            origin.into(),
            row.kind.clone().into(),
            row.name.clone().into(),
            row.generation.into(),
            row.resource_version.into(),
            row.spec_text.clone().into(),
            row.document.clone().into(),
            to_json(&row.labels)?.into(),
            to_json(&row.annotations)?.into(),
            row.managed_by.as_str().into(),
            row.source.as_ref().map(|source| source.uid.clone()).into(),
            row.source.as_ref().map(|source| source.generation).into(),
            row.slot.clone().into(),
            i64::from(suspended.contains(&row.id)).into(),
            row.created_at.into(),
            row.updated_at.into(),
        ]));
    }
    sql.rows(values);
    Ok(Some(sql))
}

/// The status rows of new objects, which nobody has spoken about yet.
pub(crate) fn insert_statuses(rows: &[&ObjectRow], now: i64) -> Option<Sql> {
    if rows.is_empty() {
        return None;
    }
    let mut sql = Sql::new(
        "INSERT INTO object_status (object_id, version, observed_generation, ready, accepted, connected, reason, \
         message, epoch, reconciled_at, verify_at, updated_at) VALUES ",
    );
    sql.rows(rows.iter().map(|row| {
        Vec::<Value>::from([
            row.id.into(),
            1_i64.into(),
            0_i64.into(),
            "".into(),
            "".into(),
            0_i64.into(),
            "".into(),
            "".into(),
            0_i64.into(),
            0_i64.into(),
            verification::next(row.id, now).into(),
            now.into(),
        ])
    }));
    Some(sql)
}

/// Labels, where there are any.
pub(crate) fn insert_labels(rows: &[&ObjectRow]) -> Option<Sql> {
    if rows.iter().all(|row| row.labels.is_empty()) {
        return None;
    }
    let mut sql = Sql::new("INSERT INTO label (object_id, label_key, label_value, kind, name) VALUES ");
    sql.rows(rows.iter().flat_map(|row| {
        row.labels.iter().map(|(key, value)| {
            Vec::<Value>::from([
                row.id.into(),
                key.clone().into(),
                value.clone().into(),
                row.kind.clone().into(),
                row.name.clone().into(),
            ])
        })
    }));
    Some(sql)
}

/// Objects that were there before.
pub(crate) fn update_objects(rows: &[&ObjectRow], suspended: &BTreeSet<Uuid>) -> Sql {
    let json = |map: &BTreeMap<String, String>| serde_json::json!(map).to_string();
    let mut sql = Sql::new(
        "WITH v (id, generation, resource_version, spec, document, labels, annotations, managed_by, source_uid, \
         source_generation, source_former, slot, suspended, updated_at) AS (VALUES ",
    );
    sql.rows(rows.iter().map(|row| {
        Vec::<Value>::from([
            row.id.into(),
            row.generation.into(),
            row.resource_version.into(),
            row.spec_text.clone().into(),
            row.document.clone().into(),
            json(&row.labels).into(),
            json(&row.annotations).into(),
            row.managed_by.as_str().into(),
            row.source.as_ref().map(|source| source.uid.clone()).into(),
            row.source.as_ref().map(|source| source.generation).into(),
            serde_json::json!(row.source_former).to_string().into(),
            row.slot.clone().into(),
            i64::from(suspended.contains(&row.id)).into(),
            row.updated_at.into(),
        ])
    }));
    sql.push(
        ") UPDATE object SET generation = v.generation, resource_version = v.resource_version, spec = v.spec, \
         document = v.document, labels = v.labels, annotations = v.annotations, managed_by = v.managed_by, \
         source_uid = v.source_uid, source_generation = v.source_generation, source_former = v.source_former, \
         slot = v.slot, suspended = v.suspended, updated_at = v.updated_at FROM v WHERE object.id = v.id",
    );
    sql
}
