//! Revisions: every desired state that an object ever had.

use std::collections::BTreeSet;

use sea_orm::Value;
use threeport_model::kinds::operation::Revision;
use uuid::Uuid;

use crate::{
    Store, clock,
    error::Result,
    operation::Part,
    row::hydrate,
    sql::{Fetch, Row, Sql},
};

/// The most revisions that an object answers.
const MOST: i64 = 100;

/// The statement that stores the revisions of those of `objects`, as they are now.
pub(crate) fn insert(parts: &[Part<'_, '_>], objects: &BTreeSet<Uuid>) -> Option<Sql> {
    if objects.is_empty() {
        return None;
    }
    let rows = parts.iter().flat_map(|part| {
        let revised = part.results.iter().filter(|(_, row)| objects.contains(&row.id));
        revised.map(|(_, row)| (*row, part.record))
    });
    let mut sql = Sql::new(
        "INSERT INTO revision (object_id, generation, operation_id, actor, created_at, spec, document) VALUES ",
    );
    sql.rows(rows.map(|(row, record)| {
        Vec::<Value>::from([
            row.id.into(),
            row.generation.into(),
            record.id.into(),
            record.actor.clone().into(),
            row.updated_at.into(),
            row.spec_text.clone().into(),
            row.document.clone().into(),
        ])
    }));
    Some(sql)
}

impl Store {
    /// The revisions of a living object, the newest first.
    pub async fn object_history(&self, kind: &str, name: &str) -> Result<Vec<Revision>> {
        let id = self.object_row(kind, name).await?.id;
        self.reader().all(of(id)).await?.iter().map(read).collect()
    }
}

/// The statement of an object's history.
pub(crate) fn of(id: Uuid) -> Sql {
    Sql::new(
        "SELECT r.generation, r.operation_id, r.actor, r.created_at, r.spec, d.content FROM revision r \
         LEFT JOIN document d ON d.digest = r.document WHERE r.object_id = $1 \
         ORDER BY r.generation DESC LIMIT $2",
    )
    .values([id.into(), MOST.into()])
}

fn read(row: &Row) -> Result<Revision> {
    let spec: String = row.get("spec")?;
    let content: Option<String> = row.get("content")?;
    Ok(Revision {
        generation: row.get("generation")?,
        operation_id: row.get("operation_id")?,
        actor: row.get("actor")?,
        at: clock::timestamp(row.get("created_at")?)?,
        spec: hydrate(&spec, content.as_deref())?,
    })
}
