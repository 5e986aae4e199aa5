//! Events: what happened to objects. Equal ones are counted, not repeated.

use std::collections::BTreeMap;

use sea_orm::Value;
use threeport_model::{
    digest,
    kinds::event::{Event, EventType, NewEvent},
};
use uuid::Uuid;

use crate::{
    Store,
    database::{
        clock,
        random::Random,
        sql::{Fetch, Row, Sql},
        transaction::Transaction,
    },
    error::{Error, Result},
    writes,
};

/// The longest message that is kept, in characters.
const LONGEST: usize = 2048;
/// The most events that an object answers.
const MOST: i64 = 500;
/// Which object of a name is living.
const LIVING: &str = "IS NULL";
/// Which of those that are not was deleted last.
const DELETED_LAST: &str = "IS NOT NULL ORDER BY deleted_at DESC LIMIT 1";

fn word(kind: EventType) -> &'static str {
    match kind {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    }
}

/// The statement that records events, if there are any; those of objects that are not there are dropped.
pub(crate) fn record(transaction: &Transaction, random: &Random, events: &[NewEvent]) -> Option<Sql> {
    let mut distinct: BTreeMap<_, (&NewEvent, String, i64)> = BTreeMap::new();
    for event in events {
        let message: String = event
            .message
            .chars()
            .filter(|character| *character != '\0')
            .take(LONGEST)
            .collect();
        let text = format!("{}\n{}\n{message}", word(event.kind), event.reason);
        let found = distinct.entry((event.object_id, digest::of_bytes(text.as_bytes())));
        found.or_insert((event, message, 0)).2 += 1;
    }
    if distinct.is_empty() {
        return None;
    }
    let mut sql = Sql::new("WITH v (id, object_id, kind, reason, message, digest, count, at) AS (VALUES ");
    sql.rows(
        distinct
            .into_iter()
            .map(|((object, digest), (event, message, count))| {
                Vec::<Value>::from([
                    random.uuid().into(),
                    object.into(),
                    word(event.kind).into(),
                    event.reason.clone().into(),
                    message.into(),
                    digest.into(),
                    count.into(),
                    transaction.now.into(),
                ])
            }),
    );
    sql.push(
        ") INSERT INTO event (id, object_id, object_kind, object_name, kind, reason, message, message_digest, count, \
         first_seen, last_seen) SELECT v.id, v.object_id, o.kind, o.name, v.kind, v.reason, v.message, v.digest, \
         v.count, v.at, v.at FROM v JOIN object o ON o.id = v.object_id WHERE TRUE \
         ON CONFLICT (object_id, message_digest) DO UPDATE SET count = event.count + excluded.count, \
         last_seen = excluded.last_seen",
    );
    Some(sql)
}

impl Store {
    /// Records events.
    pub async fn event_record(&self, events: &[NewEvent]) -> Result<()> {
        let input = (self, events);
        self.transactions()
            .run(writes::EVENT_RECORD, &input, |transaction, (store, events)| {
                let statement = record(transaction, store.random(), events);
                Box::pin(transaction.write(statement.into_iter().collect()))
            })
            .await
    }

    /// The events of the living object of that name or, where there is none, of the one that was deleted last; the newest
    /// first. What an abandoned deletion may have left in a cluster is told by nothing else.
    pub async fn object_events(&self, kind: &str, name: &str) -> Result<Vec<Event>> {
        for which in [LIVING, DELETED_LAST] {
            let named = of_name(self.control_plane_id(), kind, name, which);
            if let Some(row) = self.reader().one(named).await? {
                let events = self.reader().all(of(row.get("id")?)).await?;
                return events.iter().map(read).collect();
            }
        }
        Err(Error::not_found(kind, name))
    }
}

/// The statement of the id of an object of that name.
fn of_name(origin: Uuid, kind: &str, name: &str, which: &str) -> Sql {
    Sql::new(format!(
        "SELECT id FROM object WHERE origin = $1 AND kind = $2 AND name = $3 AND deleted_at {which}"
    ))
    .values([origin.into(), kind.into(), name.into()])
}

/// The statement of an object's events.
pub(crate) fn of(id: Uuid) -> Sql {
    Sql::new(
        "SELECT id, object_id, object_kind, object_name, kind, reason, message, count, first_seen, last_seen \
         FROM event WHERE object_id = $1 ORDER BY last_seen DESC, id DESC LIMIT $2",
    )
    .values([id.into(), MOST.into()])
}

fn read(row: &Row) -> Result<Event> {
    let kind: String = row.get("kind")?;
    Ok(Event {
        id: row.get("id")?,
        object_id: row.get("object_id")?,
        object_kind: row.get("object_kind")?,
        object_name: row.get("object_name")?,
        kind: if kind == word(EventType::Warning) {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: row.get("reason")?,
        message: row.get("message")?,
        count: row.get("count")?,
        first_seen: clock::timestamp(row.get("first_seen")?)?,
        last_seen: clock::timestamp(row.get("last_seen")?)?,
    })
}
