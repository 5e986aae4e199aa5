//! An object as somebody wants it, made ready outside of the transaction: secrets taken out, document apart, everything
//! that follows from the specification computed.

use std::collections::BTreeMap;

use serde_json::Value;
use threeport_model::{KindDescriptor, Object, Reference, find_kind};
use uuid::Uuid;

use super::row::ObjectRow;
use crate::{
    database::{random::Random, sql::to_json},
    document::{self, Document},
    error::{Error, Result},
    secret::{
        EncryptionKey,
        redact::{self, Redacted},
    },
};

/// See the module.
pub(crate) struct Draft {
    /// What it gets where it is new.
    pub(crate) id: Uuid,
    pub(crate) kind: &'static KindDescriptor,
    pub(crate) name: String,
    /// In normal form, without secret values.
    pub(crate) spec: Value,
    /// As it is stored.
    pub(crate) spec_text: String,
    pub(crate) document: Option<Document>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) references: Vec<Reference>,
    pub(crate) slot: Option<String>,
    pub(crate) suspended: bool,
    pub(crate) redacted: Redacted,
}

impl Draft {
    /// Of an object whose specification is in normal form.
    pub(crate) fn new(object: Object, key: Option<&EncryptionKey>, random: &Random) -> Result<Self> {
        let what = object.reference();
        let kind = find_kind(&object.kind)
            .filter(|kind| kind.kind == object.kind)
            .ok_or_else(|| Error::NotFound {
                what: format!("kind {}", object.kind),
            })?;
        let mut spec = object.spec;
        let redacted = redact::redact(&mut spec, key).map_err(|errors| Error::Invalid {
            what: what.clone(),
            errors,
        })?;
        let references = (kind.references)(&spec);
        let slot = (kind.slot)(&spec).map(ToOwned::to_owned);
        let suspended = is_suspended(&spec);
        let mut stored = spec.clone();
        let document = document::take(&mut stored);
        Ok(Self {
            id: random.uuid(),
            kind,
            name: object.metadata.name,
            spec,
            spec_text: to_json(&stored)?,
            document,
            labels: object.metadata.labels,
            annotations: object.metadata.annotations,
            references,
            slot,
            suspended,
            redacted,
        })
    }

    /// Of an object as it is stored: what changes nothing but its owner.
    pub(crate) fn of_stored(row: &ObjectRow) -> Result<Self> {
        let kind = find_kind(&row.kind).ok_or_else(|| Error::NotFound {
            what: format!("kind {}", row.kind),
        })?;
        let spec = row.spec()?;
        let mut stored = spec.clone();
        let document = document::take(&mut stored);
        Ok(Self {
            id: row.id,
            kind,
            name: row.name.clone(),
            references: (kind.references)(&spec),
            suspended: is_suspended(&spec),
            spec,
            spec_text: row.spec_text.clone(),
            document,
            labels: row.labels.clone(),
            annotations: row.annotations.clone(),
            slot: row.slot.clone(),
            redacted: Redacted::default(),
        })
    }

    /// `Kind/name`.
    pub(crate) fn reference(&self) -> String {
        format!("{}/{}", self.kind.kind, self.name)
    }

    /// Whether nothing must be read to write it where it is new.
    pub(crate) fn stands_alone(&self) -> bool {
        self.references.is_empty() && self.redacted.kept.is_empty()
    }

    /// About how many bytes it is.
    pub(crate) fn bytes(&self) -> usize {
        let document = self
            .document
            .as_ref()
            .map_or(0, |document| document.content.len());
        self.spec_text.len() + document
    }

    /// The digest of its document.
    pub(crate) fn document_digest(&self) -> Option<&str> {
        self.document.as_ref().map(|document| document.digest.as_str())
    }
}

fn is_suspended(spec: &Value) -> bool {
    spec.get("suspend").and_then(Value::as_bool).unwrap_or_default()
}
