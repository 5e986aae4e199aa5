//! Operations: who did what. An operation's row is the first that its transaction writes; what it changed is the last.

use sea_orm::ConnectionTrait;
use threeport_model::{
    kinds::operation::{ChangedObject, Operation},
    protocol::apply::Outcome,
};
use uuid::Uuid;

use crate::{
    Store, clock,
    connection::Dialect,
    error::{Error, Result},
    request::{Idempotency, Request},
    row::ObjectRow,
    sql::{Fetch, Row, Sql, to_json},
    watch::Cursor,
};

/// What is known of an operation before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) actor: String,
    on_behalf_of: Option<String>,
    pub(crate) route: String,
    pub(crate) idempotency: Option<Idempotency>,
    /// Whether all of it is rolled back at its end.
    pub(crate) dry_run: bool,
}

impl Record {
    pub(crate) fn of(request: &Request, dry_run: bool) -> Self {
        Self {
            id: request.operation_id,
            actor: request.actor.clone(),
            on_behalf_of: request.on_behalf_of.clone(),
            route: request.route.clone(),
            idempotency: request.idempotency.clone().filter(|_| !dry_run),
            dry_run,
        }
    }

    /// Inserts the row; answers the database's clock.
    pub(crate) async fn insert(&self, connection: &impl ConnectionTrait, dialect: Dialect) -> Result<i64> {
        let now = clock::expression(dialect);
        let (key, digest) = match &self.idempotency {
            Some(idempotency) => (
                Some(idempotency.key.clone()),
                Some(idempotency.body_digest.clone()),
            ),
            None => (None, None),
        };
        let insert = Sql::new(format!(
            "INSERT INTO operation (id, actor, on_behalf_of, route, created_at, changes, idempotency_key, \
             body_digest) VALUES ($1, $2, $3, $4, {now}, '[]', $5, $6) RETURNING created_at"
        ))
        .values([
            self.id.into(),
            self.actor.clone().into(),
            self.on_behalf_of.clone().into(),
            self.route.clone().into(),
            key.into(),
            digest.into(),
        ]);
        let row = Fetch::one(connection, insert).await?;
        row.map_or_else(
            || Err(Error::not_found("Operation", &self.id.to_string())),
            |row| row.get("created_at"),
        )
    }

    /// The statement that says what it changed, and keeps the answer.
    pub(crate) fn finish(&self, changes: &[ChangedObject], answer: Option<String>) -> Result<Sql> {
        Ok(
            Sql::new("UPDATE operation SET changes = $1, answer = $2 WHERE id = $3").values([
                to_json(&changes)?.into(),
                answer.into(),
                self.id.into(),
            ]),
        )
    }

    /// The statement that forgets it, where it turned out to change nothing.
    pub(crate) fn forget(&self) -> Sql {
        Sql::new("DELETE FROM operation WHERE id = $1").values([self.id.into()])
    }
}

/// What an operation did to an object, if it did anything.
pub(crate) fn changed(outcome: Outcome, row: &ObjectRow) -> Option<ChangedObject> {
    let change = match outcome {
        Outcome::Created => "created",
        Outcome::Configured => "updated",
        Outcome::Unchanged => return None,
    };
    Some(ChangedObject {
        id: row.id,
        kind: row.kind.clone(),
        name: row.name.clone(),
        change: change.to_owned(),
        generation: row.generation,
    })
}

const COLUMNS: &str = "id, actor, on_behalf_of, route, created_at, changes";

impl Store {
    /// The operation of that id.
    pub async fn operation_get(&self, id: Uuid) -> Result<Operation> {
        let query = Sql::new(format!("SELECT {COLUMNS} FROM operation WHERE id = $1")).values([id.into()]);
        let row = self.reader().one(query).await?;
        row.map_or_else(
            || Err(Error::not_found("Operation", &id.to_string())),
            |row| read(&row),
        )
    }

    /// The newest operations first, and the token for the next page.
    pub async fn operation_list(
        &self,
        limit: u32,
        after: Option<&str>,
    ) -> Result<(Vec<Operation>, Option<String>)> {
        let after = match after {
            Some(after) => Some(after.parse().map_err(|()| Cursor::wrong(after))?),
            None => None,
        };
        let rows = self.reader().all(page(after, i64::from(limit))).await?;
        let operations: Vec<_> = rows.iter().map(read).collect::<Result<_>>()?;
        let full = operations.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = operations.last().filter(|_| full).map(|last| {
            Cursor {
                at: last.at.as_microsecond(),
                id: last.id,
                ..Cursor::default()
            }
            .to_string()
        });
        Ok((operations, next))
    }
}

/// The statement of the list.
pub(crate) fn page(after: Option<Cursor>, limit: i64) -> Sql {
    let mut sql = Sql::new(format!("SELECT {COLUMNS} FROM operation"));
    if let Some(after) = after {
        sql.push(" WHERE (created_at, id) < (")
            .bind(after.at)
            .push(", ")
            .bind(after.id)
            .push(")");
    }
    sql.push(" ORDER BY created_at DESC, id DESC LIMIT ").bind(limit);
    sql
}

fn read(row: &Row) -> Result<Operation> {
    Ok(Operation {
        id: row.get("id")?,
        actor: row.get("actor")?,
        on_behalf_of: row.get("on_behalf_of")?,
        route: row.get("route")?,
        objects: row.json("changes")?,
        at: clock::timestamp(row.get("created_at")?)?,
    })
}
