//! Operations: who did what. An operation's row is the first that its transaction writes; what it changed is the last.

use sea_orm::Value;
use threeport_model::{
    kinds::operation::{ChangeKind, ChangedObject, Operation},
    protocol::apply::Outcome,
};
use uuid::Uuid;

use crate::{
    Store,
    database::{
        clock,
        connection::Dialect,
        sql::{Fetch, Row, Sql, to_json},
    },
    error::{Error, Result},
    idempotency,
    object::{draft::Draft, row::ObjectRow},
    request::{Idempotency, Request},
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
    /// What it changes, where that is known before it begins and no answer is kept: it needs no second statement then.
    /// And reads nothing, which is what serializable transactions collide on.
    known: Option<ChangedObject>,
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
            known: None,
        }
    }

    /// Of a request that creates one object.
    pub(crate) fn of_create(request: &Request, draft: &Draft) -> Self {
        let record = Self::of(request, false);
        let known = record.idempotency.is_none().then(|| ChangedObject {
            id: draft.id,
            kind: draft.kind.kind.to_owned(),
            name: draft.name.clone(),
            change: ChangeKind::Created,
            generation: 1,
        });
        Self { known, ..record }
    }
}

/// What one of the operations of a transaction did.
pub(crate) struct Part<'a, 'r> {
    pub(crate) record: &'a Record,
    /// In the order of the request.
    pub(crate) results: Vec<(Outcome, &'r ObjectRow)>,
}

/// The statement that inserts the rows of operations as of `now` or, without that, of what the database's clock says,
/// and answers which time that was.
pub(crate) fn insert(records: &[&Record], dialect: Dialect, now: Option<i64>) -> Result<Sql> {
    let mut sql = Sql::new(
        "INSERT INTO operation (id, actor, on_behalf_of, route, idempotency_key, body_digest, changes, created_at) \
         VALUES ",
    );
    for (index, record) in records.iter().enumerate() {
        sql.push(if index == 0 { "(" } else { ", (" });
        let idempotency = record.idempotency.as_ref();
        let values: [Value; 7] = [
            record.id.into(),
            record.actor.clone().into(),
            record.on_behalf_of.clone().into(),
            record.route.clone().into(),
            idempotency.map(|idempotency| idempotency.key.clone()).into(),
            idempotency
                .map(|idempotency| idempotency.body_digest.clone())
                .into(),
            to_json(&record.known.as_slice())?.into(),
        ];
        for value in values {
            sql.bind(value).push(", ");
        }
        match now {
            Some(now) => sql.bind(now),
            None => sql.push(clock::expression(dialect)),
        };
        sql.push(")");
    }
    sql.push(" RETURNING created_at AS now");
    Ok(sql)
}

/// The statement that says what operations changed, and keeps the answers that may be asked for again. Nothing where
/// all of that was known before.
pub(crate) fn finish(
    parts: &[Part<'_, '_>],
    changed: fn(Outcome, &ObjectRow) -> Option<ChangedObject>,
) -> Result<Option<Sql>> {
    let mut rows = Vec::with_capacity(parts.len());
    for Part { record, results } in parts.iter().filter(|part| part.record.known.is_none()) {
        let changes: Vec<_> = results
            .iter()
            .filter_map(|(outcome, row)| changed(*outcome, row))
            .collect();
        let keep = || {
            let kept = results
                .iter()
                .map(|(outcome, row)| idempotency::keep(*outcome, row));
            to_json(&kept.collect::<Result<Vec<_>>>()?)
        };
        let answer = record.idempotency.as_ref().map(|_| keep()).transpose()?;
        rows.push(Vec::<Value>::from([
            record.id.into(),
            to_json(&changes)?.into(),
            answer.into(),
        ]));
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let mut sql = Sql::new("WITH v (id, changes, answer) AS (VALUES ");
    sql.rows(rows);
    sql.push(
        ") UPDATE operation SET changes = v.changes, answer = v.answer FROM v WHERE operation.id = v.id",
    );
    Ok(Some(sql))
}

/// What an operation did to an object that it wrote, if it did anything.
pub(crate) fn changed(outcome: Outcome, row: &ObjectRow) -> Option<ChangedObject> {
    let change = match outcome {
        Outcome::Created => ChangeKind::Created,
        Outcome::Configured => ChangeKind::Updated,
        Outcome::Unchanged => return None,
    };
    Some(change_of(row, change))
}

/// That an operation asked for the deletion of an object.
pub(crate) fn deleted(_: Outcome, row: &ObjectRow) -> Option<ChangedObject> {
    Some(change_of(row, ChangeKind::Deleted))
}

fn change_of(row: &ObjectRow, change: ChangeKind) -> ChangedObject {
    ChangedObject {
        id: row.id,
        kind: row.kind.clone(),
        name: row.name.clone(),
        change,
        generation: row.generation,
    }
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
