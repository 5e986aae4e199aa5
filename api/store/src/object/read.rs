//! Reading one object.

use std::collections::HashMap;

use threeport_model::Object;
use uuid::Uuid;

use super::row::{self, COLUMNS, LIGHT_COLUMNS, ObjectRow, select};
use crate::{
    Store,
    database::{
        clock,
        connection::Dialect,
        sql::{Fetch, Row, Sql},
        transaction::Transaction,
    },
    error::{Error, Result},
};

/// The statement that reads a living object by its name.
pub(crate) fn by_name(origin: Uuid, kind: &str, name: &str) -> Sql {
    named(COLUMNS, origin, kind, name)
}

fn named(columns: &str, origin: Uuid, kind: &str, name: &str) -> Sql {
    let mut query = select(columns);
    query.push(" WHERE o.origin = ").bind(origin);
    query.push(" AND o.kind = ").bind(kind);
    query.push(" AND o.name = ").bind(name);
    query.push(" AND o.deleted_at IS NULL");
    query
}

/// The statement that reads objects, tombstones included, with all that is stored of them.
pub(crate) fn of_ids(ids: &[Uuid]) -> Sql {
    selected(COLUMNS, ids)
}

/// The same, without specifications that are large.
pub(crate) fn light_of_ids(ids: &[Uuid]) -> Sql {
    selected(LIGHT_COLUMNS, ids)
}

/// [`light_of_ids`], with the clock as `now`: what a transaction can begin with.
pub(crate) fn light_of_ids_and_now(ids: &[Uuid], dialect: Dialect) -> Sql {
    let now = clock::expression(dialect);
    selected(&format!("{LIGHT_COLUMNS}, {now} AS now"), ids)
}

fn selected(columns: &str, ids: &[Uuid]) -> Sql {
    let mut query = select(columns);
    query.push(" WHERE o.id IN ").list(ids);
    query
}

/// The living object of that name, as the transaction sees it.
pub(crate) async fn find(
    transaction: &Transaction,
    origin: Uuid,
    kind: &str,
    name: &str,
) -> Result<Option<ObjectRow>> {
    transaction
        .one(by_name(origin, kind, name))
        .await?
        .map(|row| ObjectRow::read(&row))
        .transpose()
}

impl Store {
    /// What a statement for several objects finds, by their ids.
    pub(crate) async fn rows_by_id(&self, statement: Sql) -> Result<HashMap<Uuid, Row>> {
        let rows = self.reader().all(statement).await?;
        rows.into_iter().map(|row| Ok((row.get("id")?, row))).collect()
    }

    /// The living object of that kind and name.
    pub async fn object_get(&self, kind: &str, name: &str) -> Result<Object> {
        self.object_row(kind, name).await?.served()
    }

    /// How many bytes the living object of that kind and name has: for whoever reads it whole once there is room for it.
    pub async fn object_bytes(&self, kind: &str, name: &str) -> Result<u64> {
        let query = named(LIGHT_COLUMNS, self.control_plane_id(), kind, name);
        let row = self.reader().one(query).await?;
        let row = row.ok_or_else(|| Error::not_found(kind, name))?;
        Ok(u64::try_from(row::size(&row)?).unwrap_or_default())
    }

    /// The living object of that id.
    pub async fn object_get_by_id(&self, id: Uuid) -> Result<Object> {
        self.object_by_id(id, false).await
    }

    pub(crate) async fn object_row(&self, kind: &str, name: &str) -> Result<ObjectRow> {
        let row = self
            .reader()
            .one(by_name(self.control_plane_id(), kind, name))
            .await?;
        row.map_or_else(|| Err(Error::not_found(kind, name)), |row| ObjectRow::read(&row))
    }

    pub(crate) async fn object_by_id(&self, id: Uuid, tombstones: bool) -> Result<Object> {
        let mut query = select(COLUMNS);
        query.push(" WHERE o.id = ").bind(id);
        if !tombstones {
            query.push(" AND o.deleted_at IS NULL");
        }
        let row = self.reader().one(query).await?;
        row.map_or_else(
            || {
                Err(Error::NotFound {
                    what: format!("object {id}"),
                })
            },
            |row| ObjectRow::read(&row)?.served(),
        )
    }
}
