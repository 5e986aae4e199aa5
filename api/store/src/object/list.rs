//! Lists: keyset cursors over names, walked along an index.
//!
//! A page has no more objects than were asked for, and fewer where they are large: what a process holds of it is bounded by
//! bytes too. So the index is walked without what is large, which is read for those that fit.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use threeport_model::{Object, explain, object::ObjectList};
use uuid::Uuid;

use super::{
    read::of_ids,
    row::{self, LIGHT_COLUMNS, ObjectRow},
    selector::{self, FieldSelector, LabelSelector},
};
use crate::{
    Store,
    database::{
        page::fitting,
        sql::{Fetch, Row, Sql},
    },
    error::Result,
    watch::Cursor,
};

/// Which objects to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Of one kind.
    pub kind: String,
    /// The most of them.
    pub limit: u32,
    /// The token of the page before.
    pub after: Option<String>,
    /// With these labels.
    pub labels: LabelSelector,
    /// With these fields.
    pub fields: FieldSelector,
}

impl Store {
    /// A page of living objects in the order of their names. The page knows where a watch that follows it starts.
    pub async fn object_list(&self, query: &ListQuery) -> Result<ObjectList> {
        let start: Cursor = self.watch_start().await?;
        let rows = self.reader().all(self.list_statement(query)?).await?;
        let page = &rows[..fitting(rows.iter().map(row::size))?];
        let large = self.large_of(page).await?;
        let mut items: Vec<Object> = Vec::with_capacity(page.len());
        for row in page {
            let row = match row::is_large(row)? {
                false => row,
                // What was deleted meanwhile is gone.
                true => match large.get(&row.get::<Uuid>("id")?) {
                    Some(row) => row,
                    None => continue,
                },
            };
            // One that can't be read must not hide the others; whoever asks for it by name is told why.
            match ObjectRow::read(row).and_then(|row| row.served()) {
                Ok(object) => items.push(object),
                Err(error) => {
                    let name: String = row.get("name")?;
                    tracing::warn!(kind = query.kind, name, "left out of a list: {}", explain(&error));
                }
            }
        }
        let full = rows.len() == usize::try_from(query.limit).unwrap_or(usize::MAX);
        let next = match page.last().filter(|_| full || page.len() < rows.len()) {
            Some(last) => Some(URL_SAFE_NO_PAD.encode(last.get::<String>("name")?)),
            None => None,
        };
        Ok(ObjectList {
            items,
            continue_token: next,
            watch_token: Some(start.to_string()),
        })
    }

    /// Those of the rows that are large and still live, with what is stored of them.
    async fn large_of(&self, rows: &[Row]) -> Result<HashMap<Uuid, Row>> {
        let mut ids: Vec<Uuid> = Vec::new();
        for row in rows {
            if row::is_large(row)? {
                ids.push(row.get("id")?);
            }
        }
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut large = self.rows_by_id(of_ids(&ids)).await?;
        large.retain(|_, row| !matches!(row.get::<Option<i64>>("deleted_at"), Ok(Some(_))));
        Ok(large)
    }

    pub(crate) fn list_statement(&self, query: &ListQuery) -> Result<Sql> {
        let (driver, rest) = selector::driver(&query.labels);
        let mut sql = row::select(LIGHT_COLUMNS);
        let order = match driver {
            Some((key, value)) => {
                sql.push(" JOIN label l ON l.object_id = o.id WHERE l.kind = ")
                    .bind(query.kind.clone());
                sql.push(" AND l.label_key = ")
                    .bind(key)
                    .push(" AND l.label_value = ")
                    .bind(value);
                sql.push(" AND o.origin = ").bind(self.control_plane_id());
                "l.name"
            }
            None => {
                sql.push(" WHERE o.origin = ").bind(self.control_plane_id());
                sql.push(" AND o.kind = ").bind(query.kind.clone());
                "o.name"
            }
        };
        sql.push(" AND o.deleted_at IS NULL");
        if let Some(after) = &query.after {
            let name = URL_SAFE_NO_PAD
                .decode(after)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let name = name.filter(|name| threeport_model::name::problem(name).is_none());
            let name: String = name.ok_or_else(|| Cursor::wrong(after))?;
            sql.push(&format!(" AND {order} > ")).bind(name);
        }
        if let Some(name) = &query.fields.name {
            sql.push(" AND o.name = ").bind(name.clone());
        }
        if let Some(managed_by) = query.fields.managed_by {
            sql.push(" AND o.managed_by = ").bind(managed_by.as_str());
        }
        for requirement in rest {
            selector::push(requirement, &mut sql);
        }
        sql.push(&format!(" ORDER BY {order} LIMIT "))
            .bind(i64::from(query.limit));
        Ok(sql)
    }
}
