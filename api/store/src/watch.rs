//! What changed since when: what the one tailer of each replica asks for.
//!
//! A cursor is (time, id) by the database's clock. Transactions commit in another order than they read the clock, so the
//! tailer asks again for what is a little older than its cursor (the overlap) and drops what it has seen, by version.
//!
//! The clock may be set back (a standby takes over, a machine resumes). What was written before stands in the future then,
//! and a cursor that followed it would see nothing until the clock has caught up. So what is ahead of the clock is left for
//! when it is not, and a token that is ahead of it is one of a time that is over.

use std::{fmt, str::FromStr, time::Duration};

use threeport_model::{Object, explain};
use uuid::Uuid;

use crate::{
    Store,
    database::{
        clock,
        connection::Dialect,
        sql::{Fetch, Row, Sql},
    },
    error::{Error, Result},
    object::{
        read::light_of_ids,
        row::{self, ObjectRow},
    },
};

/// How far ahead of the clock changes are looked at.
const SKEW: Duration = Duration::from_secs(1);

/// A place in the order of changes of one database. Its text is the opaque token of watches, also of one
/// that follows a list, and of pages of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Of which database: the beginning of its incarnation's id. A watch that meets another one (a restored or an empty
    /// database) must list again.
    pub incarnation: u32,
    /// Microseconds since 1970 by the database's clock.
    pub at: i64,
    /// Breaks ties.
    pub id: Uuid,
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:08x}-{:x}-{}",
            self.incarnation,
            self.at,
            self.id.as_simple()
        )
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (incarnation, rest) = text.split_once('-').ok_or(())?;
        let (at, id) = rest.split_once('-').ok_or(())?;
        Ok(Self {
            incarnation: u32::from_str_radix(incarnation, 16).map_err(|_| ())?,
            at: i64::from_str_radix(at, 16).map_err(|_| ())?,
            id: id.parse().map_err(|_| ())?,
        })
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}

impl Cursor {
    /// Whether it is further ahead of the clock than it may be: the clock was set back since. Whoever looks back so far sees
    /// all the same.
    pub fn is_ahead(&self, now: i64) -> bool {
        clock::is_ahead(self.at, now)
    }

    /// The error for a token that is none.
    pub(crate) fn wrong(token: &str) -> Error {
        let message = format!("{token:?} is not a token of this API");
        Error::Invalid {
            what: "the token".to_owned(),
            errors: vec![threeport_model::FieldError::new("continue", message)],
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where it stands.
    pub cursor: Cursor,
    /// As it is now, without its specification and annotations where it is large.
    pub object: Object,
    /// Whether they are there.
    pub is_whole: bool,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// Versions of the object and of its status: an equal pair was seen already.
    pub version: (i64, i64),
}

/// A change of an object that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it stands.
    pub cursor: Cursor,
    /// `Kind/name`.
    pub what: String,
    /// Versions of the object and of its status.
    pub version: (i64, i64),
    /// Why.
    pub why: String,
}

/// A page of changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// In order.
    pub items: Vec<Change>,
    /// What is left out, since it can't be read. Everything else goes on.
    pub unreadable: Vec<Unreadable>,
    /// Where to go on: the last item, or as far as nothing happened.
    pub next: Cursor,
    /// Whether there is more right now.
    pub more: bool,
    /// The database's clock when it was asked, in microseconds.
    pub now: i64,
}

impl Store {
    /// Where a watch starts that wants to see what happens from now on.
    pub async fn watch_start(&self) -> Result<Cursor> {
        Ok(Cursor {
            incarnation: self.cursor_incarnation(),
            at: clock::read(&self.reader(), self.dialect()).await?,
            id: Uuid::nil(),
        })
    }

    fn cursor_incarnation(&self) -> u32 {
        self.incarnation().as_fields().0
    }

    /// At most `limit` changes after the cursor less `overlap`. While there is more, ask again from `next` without an
    /// overlap. [`Error::Gone`] where tombstones of that time may be purged already, where the cursor is another
    /// database's, and where it [is ahead](Cursor::is_ahead) of the clock.
    pub async fn watch_changes(&self, since: Cursor, limit: u32, overlap: Duration) -> Result<Changes> {
        let changes = self.watch_news(since, limit, overlap, |_, _| true).await?;
        if since.is_ahead(changes.now) {
            return Err(Error::Gone);
        }
        Ok(changes)
    }

    /// The same, without those changes of which `is_news` says of the object and its versions that they were seen: of
    /// these nothing but that is read. From a cursor that is ahead of the clock it reads what was written before the clock
    /// was set back, and leaves it to the caller to begin anew.
    pub async fn watch_news(
        &self,
        since: Cursor,
        limit: u32,
        overlap: Duration,
        is_news: impl Fn(Uuid, (i64, i64)) -> bool + Send,
    ) -> Result<Changes> {
        let back = micros(overlap);
        let from = if back > 0 {
            Cursor {
                at: since.at - back,
                id: Uuid::nil(),
                ..since
            }
        } else {
            since
        };
        let places = self
            .reader()
            .all(statement(from, i64::from(limit), self.dialect()))
            .await?;
        let now = match places.first() {
            Some(place) => place.get("now")?,
            None => clock::read(&self.reader(), self.dialect()).await?,
        };
        let kept = i64::try_from(self.retention().tombstones.as_micros()).unwrap_or(i64::MAX);
        if since.incarnation != self.cursor_incarnation() || since.at < now.saturating_sub(kept) {
            return Err(Error::Gone);
        }
        let horizon = if since.is_ahead(now) {
            since.at.saturating_add(clock::AHEAD)
        } else {
            now.saturating_add(micros(SKEW))
        };
        let mut more = places.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let mut last = from;
        let mut news = Vec::new();
        for place in &places {
            let at: i64 = place.get("changed_at")?;
            if at > horizon {
                more = false;
                break;
            }
            last = Cursor {
                incarnation: since.incarnation,
                at,
                id: place.get("id")?,
            };
            if is_news(
                last.id,
                (place.get("resource_version")?, place.get("status_version")?),
            ) {
                news.push(last);
            }
        }
        let (items, unreadable) = self.read_changes(&news).await?;
        Ok(Changes {
            items,
            unreadable,
            next: if more { last } else { last.max(since) },
            more,
            now,
        })
    }

    /// The objects that stand at these places, as they are now; what was purged meanwhile is left out.
    async fn read_changes(&self, places: &[Cursor]) -> Result<(Vec<Change>, Vec<Unreadable>)> {
        let (mut items, mut unreadable) = (Vec::with_capacity(places.len()), Vec::new());
        if places.is_empty() {
            return Ok((items, unreadable));
        }
        let ids: Vec<Uuid> = places.iter().map(|place| place.id).collect();
        let rows = self.rows_by_id(light_of_ids(&ids)).await?;
        for place in places {
            let Some(row) = rows.get(&place.id) else { continue };
            match read(row, *place) {
                Ok(change) => items.push(change),
                Err(error) => unreadable.push(skipped(row, *place, &error)?),
            }
        }
        Ok((items, unreadable))
    }
}

/// The statement of the tailer: what changed, and the versions by which it knows what it has seen.
pub(crate) fn statement(from: Cursor, limit: i64, dialect: Dialect) -> Sql {
    // Both halves are walks of an index. What stands in both stands where it changed first: by the later one, a page
    // could end behind changes that its other half had no room for, and those would never be seen.
    Sql::new(format!(
        "SELECT c.changed_at, c.id, o.resource_version, s.version AS status_version, {} AS now FROM (SELECT id, MIN(changed_at) AS changed_at FROM ( \
         SELECT id, changed_at FROM (SELECT id, updated_at AS changed_at FROM object \
         WHERE (updated_at, id) > ($1, $2) ORDER BY updated_at, id LIMIT $3) AS x \
         UNION ALL \
         SELECT id, changed_at FROM (SELECT object_id AS id, updated_at AS changed_at FROM object_status \
         WHERE (updated_at, object_id) > ($1, $2) ORDER BY updated_at, object_id LIMIT $3) AS y) AS z \
         GROUP BY id ORDER BY 2, 1 LIMIT $3) AS c JOIN object o ON o.id = c.id \
         JOIN object_status s ON s.object_id = c.id ORDER BY c.changed_at, c.id",
        clock::expression(dialect)
    ))
    .values([from.at.into(), from.id.into(), limit.into()])
}

fn skipped(row: &Row, cursor: Cursor, error: &Error) -> Result<Unreadable> {
    let (kind, name): (String, String) = (row.get("kind")?, row.get("name")?);
    Ok(Unreadable {
        cursor,
        version: (row.get("resource_version")?, row.get("status_version")?),
        why: explain(error),
        what: format!("{kind}/{name}"),
    })
}

fn read(row: &Row, cursor: Cursor) -> Result<Change> {
    let object = ObjectRow::read(row)?;
    Ok(Change {
        cursor,
        is_whole: !row::is_large(row)?,
        deleted: object.deleted_at.is_some(),
        version: (object.resource_version, object.status_version),
        object: object.served()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_are_written() {
        let cursor = Cursor {
            incarnation: 7,
            at: 1_760_000_000_000_000,
            id: Uuid::from_u128(42),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "-", "x-y", "12", "12-12", "12-12-12"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(()), "{wrong}");
        }
    }
}
