//! An object as its rows hold it, and the [`Object`] that is made of it.

use std::collections::BTreeMap;

use serde_json::Value;
use threeport_model::{API_VERSION, ManagedBy, Metadata, Object, find_kind, object::Source};
use uuid::Uuid;

use crate::{
    database::{
        clock,
        sql::{Row, Sql, from_json},
    },
    document::Document,
    error::{Error, Result},
    reference::DEFINITION,
    status::served::{self, Applied},
};

/// All columns but those that may be large.
macro_rules! small {
    () => {
        "o.id, o.kind, o.name, o.generation, o.resource_version, o.document, o.labels, o.managed_by, \
         o.source_uid, o.source_generation, o.source_former, o.slot, o.created_at, o.updated_at, \
         o.deletion_requested_at, o.deleted_at, s.version AS status_version, s.status, \
         s.updated_at AS status_updated_at, s.seen_definition, s.epoch, w.id AS definition_id, \
         w.generation AS definition_generation, w.updated_at AS definition_updated_at"
    };
}

/// How many bytes a specification has, its document, the labels and the annotations included.
macro_rules! size {
    () => {
        "octet_length(o.spec) + octet_length(o.labels) + octet_length(o.annotations) \
         + COALESCE(octet_length(d.content), 0)"
    };
}

/// From how many bytes on an object is large.
macro_rules! large {
    () => {
        32768
    };
}

/// Whether it is not.
macro_rules! fits {
    () => {
        concat!(size!(), " < ", large!())
    };
}

/// What [`ObjectRow::read`] needs. `o` is the object, `s` its status, `d` its document, `w` the definition that it refers
/// to.
pub(crate) const COLUMNS: &str = concat!(small!(), ", o.annotations, o.spec, d.content");

/// The same without specifications and annotations of what is [large](is_large), so that many rows are never too much.
pub(crate) const LIGHT_COLUMNS: &str = concat!(
    small!(),
    ", CASE WHEN ",
    fits!(),
    " THEN o.annotations ELSE '{}' END AS annotations, CASE WHEN ",
    fits!(),
    " THEN o.spec ELSE '{}' END AS spec, CASE WHEN ",
    fits!(),
    " THEN d.content END AS content, CAST(",
    size!(),
    " AS BIGINT) AS size"
);

/// How many bytes specification, labels and annotations have, by [`LIGHT_COLUMNS`].
pub(crate) fn size(row: &Row) -> Result<i64> {
    row.get("size")
}

/// Whether specification and annotations are not among [`LIGHT_COLUMNS`].
pub(crate) fn is_large(row: &Row) -> Result<bool> {
    Ok(size(row)? >= large!())
}

/// `SELECT` of columns from everywhere that they come from: everything before WHERE.
pub(crate) fn select(columns: &str) -> Sql {
    let mut sql = Sql::new(format!("SELECT {columns} FROM object o "));
    join(&mut sql);
    sql
}

/// Appends what is joined to `object o` for the columns.
pub(crate) fn join(sql: &mut Sql) {
    sql.push(
        "JOIN object_status s ON s.object_id = o.id LEFT JOIN document d ON d.digest = o.document \
         LEFT JOIN reference r ON r.from_id = o.id AND r.field = ",
    );
    sql.bind(DEFINITION).push(" LEFT JOIN object w ON w.id = r.to_id");
}

/// What the status of an object is served by, of the definition that it refers to.
#[derive(Clone, Copy, Debug)]
struct Definition {
    id: Uuid,
    generation: i64,
    updated_at: i64,
}

/// An object with everything that is stored of it.
#[derive(Clone, Debug)]
pub(crate) struct ObjectRow {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) generation: i64,
    pub(crate) resource_version: i64,
    /// As stored, without its document.
    pub(crate) spec_text: String,
    /// Digest of the document.
    pub(crate) document: Option<String>,
    content: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) managed_by: ManagedBy,
    pub(crate) source: Option<Source>,
    /// Uids of custom resources that it was taken from before.
    pub(crate) source_former: Vec<String>,
    pub(crate) slot: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) deletion_requested_at: Option<i64>,
    pub(crate) deleted_at: Option<i64>,
    pub(crate) status_version: i64,
    pub(crate) status: Value,
    status_updated_at: i64,
    seen_definition: Option<i64>,
    definition: Option<Definition>,
}

impl ObjectRow {
    /// Reads [`COLUMNS`].
    pub(crate) fn read(row: &Row) -> Result<Self> {
        let managed_by: String = row.get("managed_by")?;
        let source_uid: Option<String> = row.get("source_uid")?;
        let source_generation: Option<i64> = row.get("source_generation")?;
        let former: Option<String> = row.get("source_former")?;
        let status: Option<String> = row.get("status")?;
        let definition: Option<Uuid> = row.get("definition_id")?;
        let generation: Option<i64> = row.get("definition_generation")?;
        let updated: Option<i64> = row.get("definition_updated_at")?;
        Ok(Self {
            id: row.get("id")?,
            kind: row.get("kind")?,
            name: row.get("name")?,
            generation: row.get("generation")?,
            resource_version: row.get("resource_version")?,
            spec_text: row.get("spec")?,
            document: row.get("document")?,
            content: row.get("content")?,
            labels: row.json("labels")?,
            annotations: row.json("annotations")?,
            managed_by: ManagedBy::from_word(&managed_by).ok_or_else(|| Error::Decode {
                what: "managed_by".to_owned(),
                why: managed_by,
            })?,
            source: source_uid
                .zip(source_generation)
                .map(|(uid, generation)| Source { uid, generation }),
            source_former: former.map_or_else(|| Ok(Vec::new()), |text| from_json("source_former", &text))?,
            slot: row.get("slot")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            deletion_requested_at: row.get("deletion_requested_at")?,
            deleted_at: row.get("deleted_at")?,
            status_version: row.get("status_version")?,
            status_updated_at: row.get("status_updated_at")?,
            status: status.map_or(Ok(Value::Null), |text| from_json("status", &text))?,
            seen_definition: row.get("seen_definition")?,
            definition: definition
                .zip(generation.zip(updated))
                .map(|(id, (generation, updated_at))| Definition {
                    id,
                    generation,
                    updated_at,
                }),
        })
    }

    /// An object that is about to be written for the first time.
    pub(crate) fn new(id: Uuid, kind: &str, name: &str, now: i64) -> Self {
        Self {
            id,
            kind: kind.to_owned(),
            name: name.to_owned(),
            generation: 1,
            resource_version: 1,
            spec_text: String::new(),
            document: None,
            content: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            managed_by: ManagedBy::Api,
            source: None,
            source_former: Vec::new(),
            slot: None,
            created_at: now,
            updated_at: now,
            deletion_requested_at: None,
            deleted_at: None,
            status_version: 1,
            status: Value::Null,
            status_updated_at: now,
            seen_definition: None,
            definition: None,
        }
    }

    pub(crate) fn set_document(&mut self, document: Option<&Document>) {
        self.document = document.map(|document| document.digest.clone());
        self.content = document.map(|document| document.content.clone());
    }

    /// Its definition has the generation and the time of change that are written now, where it is among these: by that its
    /// status is served.
    pub(crate) fn see_definition(&mut self, written: &BTreeMap<Uuid, (i64, i64)>) {
        if let Some(definition) = &mut self.definition
            && let Some((generation, updated_at)) = written.get(&definition.id)
        {
            definition.generation = *generation;
            definition.updated_at = *updated_at;
        }
    }

    /// `Kind/name`.
    pub(crate) fn reference(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// The specification, its document in its place.
    pub(crate) fn spec(&self) -> Result<Value> {
        hydrate(&self.spec_text, self.content.as_deref())
    }

    /// The texts in which placeholders of secret values may stand.
    pub(crate) fn secret_texts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.spec_text.as_str()).chain(self.content.as_deref())
    }

    /// The object with its status as it is stored: what controllers work on.
    pub(crate) fn stored(&self) -> Result<Object> {
        Ok(Object {
            api_version: API_VERSION.to_owned(),
            kind: self.kind.clone(),
            metadata: Metadata {
                id: Some(self.id),
                name: self.name.clone(),
                labels: self.labels.clone(),
                annotations: self.annotations.clone(),
                generation: Some(self.generation),
                resource_version: Some(self.resource_version),
                managed_by: Some(self.managed_by),
                source: self.source.clone(),
                created_at: Some(clock::timestamp(self.created_at)?),
                updated_at: Some(clock::timestamp(self.updated_at)?),
                status_updated_at: Some(clock::timestamp(self.status_updated_at)?),
                deletion_requested_at: clock::optional(self.deletion_requested_at)?,
            },
            spec: self.spec()?,
            status: self.status.clone(),
        })
    }

    /// The object with the status that is served: one that can't fool who waits for it.
    pub(crate) fn served(&self) -> Result<Object> {
        let mut object = self.stored()?;
        let applied = Applied {
            generation: self.generation,
            definition: self
                .definition
                .filter(|_| has_footprint(&self.kind))
                .map(|definition| definition.generation),
            seen_definition: self.seen_definition,
        };
        let changed = self.definition.map_or(self.updated_at, |definition| {
            definition.updated_at.max(self.updated_at)
        });
        served::status(&mut object.status, applied, clock::timestamp(changed)?);
        Ok(object)
    }
}

/// Whether objects of that kind make something in a runtime, so that they have revisions and live on until it is gone.
pub(crate) fn has_footprint(kind: &str) -> bool {
    find_kind(kind).is_some_and(|kind| kind.footprint)
}

/// A stored specification with its document in its place.
pub(crate) fn hydrate(spec: &str, content: Option<&str>) -> Result<Value> {
    let mut spec: Value = from_json("spec", spec)?;
    if let (Some(content), Some(fields)) = (content, spec.as_object_mut()) {
        fields.insert(
            crate::document::FIELD.to_owned(),
            Value::String(content.to_owned()),
        );
    }
    Ok(spec)
}
