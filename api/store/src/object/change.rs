//! What becomes of one object: what it was, what it will be, and what of it differs.
//!
//! A mirror shows a large document by its digest. Who sends that back means the document that is stored, so what it
//! means is decided here, on the row that the transaction read: between a read before it and the write, somebody else
//! could have stored another document, which the digest would then undo.

use std::{collections::BTreeMap, ops::Deref};

use threeport_model::{
    FieldError, ManagedBy, document,
    kinds::control_plane_instance::SELF_SLOT,
    object::{self, Source},
    protocol::apply::Outcome,
};
use uuid::Uuid;

use super::{draft::Draft, row::ObjectRow};
use crate::{
    error::{Error, Result},
    system,
};

/// How many former uids an object remembers.
const FORMER: usize = 20;

/// What an object is to become.
pub(crate) enum Wanted<'a> {
    /// What was submitted.
    Submitted(&'a Draft),
    /// What is stored: its digest was submitted.
    Stored(Box<Draft>),
}

impl Deref for Wanted<'_> {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        match self {
            Self::Submitted(draft) => draft,
            Self::Stored(draft) => draft,
        }
    }
}

impl<'a> Wanted<'a> {
    fn of(draft: &'a Draft, old: Option<&ObjectRow>) -> Result<Self> {
        if !document::shows_digest(&draft.spec) {
            return Ok(Self::Submitted(draft));
        }
        match old {
            Some(old) if document::is_mirrored(&draft.spec, &old.spec()?) => {
                Ok(Self::Stored(Box::new(Draft::of_stored(old)?)))
            }
            _ => Err(Error::Invalid {
                what: draft.reference(),
                errors: vec![FieldError::new(
                    "spec.yamlDocument",
                    "is the digest of another document than the one that is stored; send the document itself",
                )],
            }),
        }
    }
}

/// What becomes of one object.
pub(crate) struct Change<'a> {
    pub(crate) draft: Wanted<'a>,
    /// As it was; nothing where it is new.
    pub(crate) old: Option<ObjectRow>,
    pub(crate) managed_by: ManagedBy,
    pub(crate) source: Option<Source>,
    pub(crate) source_former: Vec<String>,
    /// As they will be.
    pub(crate) labels: BTreeMap<String, String>,
    /// As they will be.
    pub(crate) annotations: BTreeMap<String, String>,
}

impl<'a> Change<'a> {
    /// A new object.
    pub(crate) fn create(draft: &'a Draft, managed_by: ManagedBy, source: Option<Source>) -> Result<Self> {
        Ok(Self {
            draft: Wanted::of(draft, None)?,
            old: None,
            managed_by,
            source,
            source_former: Vec::new(),
            labels: draft.labels.clone(),
            annotations: draft.annotations.clone(),
        })
    }

    /// An object that becomes what the draft says, its owner and source unchanged.
    pub(crate) fn replace(draft: &'a Draft, old: ObjectRow) -> Result<Self> {
        Ok(Self {
            draft: Wanted::of(draft, Some(&old))?,
            managed_by: old.managed_by,
            source: old.source.clone(),
            source_former: old.source_former.clone(),
            labels: draft.labels.clone(),
            annotations: draft.annotations.clone(),
            old: Some(old),
        })
    }

    /// An object that gets the draft's specification, its labels and annotations merged.
    pub(crate) fn merge(draft: &'a Draft, old: ObjectRow) -> Result<Self> {
        let mut change = Self::replace(draft, old)?;
        if let Some(old) = &change.old {
            let merge = |old: &BTreeMap<String, String>, new: &BTreeMap<String, String>| {
                old.iter()
                    .chain(new)
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect()
            };
            change.labels = merge(&old.labels, &draft.labels);
            change.annotations = merge(&old.annotations, &draft.annotations);
        }
        change.check_bytes()?;
        Ok(change)
    }

    /// What was there already may be more than is allowed; it may only not become more.
    fn check_bytes(&self) -> Result<()> {
        let old = self.old.as_ref();
        let labels = object::labels_problem(&self.labels).filter(|_| self.relabelled());
        let annotations = object::annotations_problem(&self.annotations)
            .filter(|_| old.is_none_or(|old| old.annotations != self.annotations));
        let errors: Vec<FieldError> = labels.into_iter().chain(annotations).collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(Error::Invalid {
            what: self.draft.reference(),
            errors,
        })
    }

    /// Whether it changes anything that people see.
    pub(crate) fn is_effective(&self) -> bool {
        self.outcome() != Outcome::Unchanged
    }

    pub(crate) fn id(&self) -> Uuid {
        self.old.as_ref().map_or(self.draft.id, |old| old.id)
    }

    pub(crate) fn respecified(&self) -> bool {
        self.old.as_ref().is_none_or(|old| {
            old.spec_text != self.draft.spec_text || old.document.as_deref() != self.draft.document_digest()
        })
    }

    pub(crate) fn relabelled(&self) -> bool {
        self.old.as_ref().is_none_or(|old| old.labels != self.labels)
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let Some(old) = &self.old else {
            return Outcome::Created;
        };
        let unchanged = !self.respecified()
            && !self.relabelled()
            && old.annotations == self.annotations
            && old.managed_by == self.managed_by
            && old.source == self.source;
        if unchanged {
            Outcome::Unchanged
        } else {
            Outcome::Configured
        }
    }

    pub(crate) fn generation(&self) -> i64 {
        self.old
            .as_ref()
            .map_or(1, |old| old.generation + i64::from(self.respecified()))
    }

    fn resource_version(&self) -> i64 {
        self.old.as_ref().map_or(1, |old| old.resource_version + 1)
    }

    /// The row as it will be.
    pub(crate) fn row(&self, now: i64) -> ObjectRow {
        let draft = &self.draft;
        let mut row = self
            .old
            .clone()
            .unwrap_or_else(|| ObjectRow::new(draft.id, draft.kind.kind, &draft.name, now));
        row.generation = self.generation();
        row.resource_version = self.resource_version();
        row.updated_at = now;
        row.spec_text.clone_from(&draft.spec_text);
        row.set_document(draft.document.as_ref());
        row.labels.clone_from(&self.labels);
        row.annotations.clone_from(&self.annotations);
        row.managed_by = self.managed_by;
        row.source.clone_from(&self.source);
        row.source_former.clone_from(&self.source_former);
        if row.slot.as_deref() != Some(SELF_SLOT) {
            row.slot = draft
                .slot
                .clone()
                .or_else(|| system::slot(&row.kind, self.managed_by));
        }
        row
    }
}

/// Remembers a uid that an object is no longer taken from.
pub(crate) fn supersede(former: &mut Vec<String>, uid: String) {
    former.push(uid);
    let surplus = former.len().saturating_sub(FORMER);
    former.drain(..surplus);
}
