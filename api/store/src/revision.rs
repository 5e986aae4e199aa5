//! Revisions: every desired state that an object ever had.
//!
//! A page of them has no more than were asked for, and fewer where they are large.

use std::collections::BTreeSet;

use sea_orm::Value;
use threeport_model::kinds::operation::Revision;
use uuid::Uuid;

use crate::{
    Store,
    database::{
        clock,
        page::fitting,
        sql::{Fetch, Row, Sql},
    },
    error::Result,
    object::row::{self, hydrate},
    operation::Part,
    watch::Cursor,
};

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
    /// The revisions of a living object, the newest first, and the token for the next page.
    pub async fn object_history(
        &self,
        kind: &str,
        name: &str,
        limit: u32,
        after: Option<&str>,
    ) -> Result<(Vec<Revision>, Option<String>)> {
        let before = match after {
            Some(after) => after.parse::<i64>().map_err(|_| Cursor::wrong(after))?,
            None => i64::MAX,
        };
        let id = self.object_row(kind, name).await?.id;
        let sizes = self.reader().all(sizes(id, before, i64::from(limit))).await?;
        let page = &sizes[..fitting(sizes.iter().map(row::size))?];
        let (Some(newest), Some(oldest)) = (page.first(), page.last()) else {
            return Ok((Vec::new(), None));
        };
        let (newest, oldest): (i64, i64) = (newest.get("generation")?, oldest.get("generation")?);
        let rows = self.reader().all(of(id, newest, oldest)).await?;
        let full = sizes.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = (full || page.len() < sizes.len()).then(|| oldest.to_string());
        Ok((rows.iter().map(read).collect::<Result<_>>()?, next))
    }
}

/// The statement of how large the revisions of an object are before a generation.
pub(crate) fn sizes(id: Uuid, before: i64, limit: i64) -> Sql {
    Sql::new(
        "SELECT r.generation, CAST(octet_length(r.spec) + COALESCE(octet_length(d.content), 0) AS BIGINT) AS size \
         FROM revision r LEFT JOIN document d ON d.digest = r.document WHERE r.object_id = $1 \
         AND r.generation < $2 ORDER BY r.generation DESC LIMIT $3",
    )
    .values([id.into(), before.into(), limit.into()])
}

/// The statement of an object's revisions between two generations.
pub(crate) fn of(id: Uuid, newest: i64, oldest: i64) -> Sql {
    Sql::new(
        "SELECT r.generation, r.operation_id, r.actor, r.created_at, r.spec, d.content FROM revision r \
         LEFT JOIN document d ON d.digest = r.document WHERE r.object_id = $1 \
         AND r.generation <= $2 AND r.generation >= $3 ORDER BY r.generation DESC",
    )
    .values([id.into(), newest.into(), oldest.into()])
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
