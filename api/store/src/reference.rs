//! References: names in specifications, resolved to ids when they are written.
//!
//! The row has a foreign key, and the transaction is serializable: what is referred to exists and is not being deleted,
//! whatever happens at the same time.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::Value;
use threeport_model::{FieldError, Reference};
use uuid::Uuid;

use crate::{
    database::{sql::Sql, transaction::Transaction},
    error::{Error, Result},
    object::draft::Draft,
};

/// The most referrers that an error names.
pub(crate) const NAMED: i64 = 100;
/// The field by which an instance names its definition.
pub(crate) const DEFINITION: &str = Reference::DEFINITION;

/// A kind and a name.
pub(crate) type Name = (String, String);

/// Ids by kind and name.
#[derive(Debug, Default)]
pub(crate) struct Resolved(BTreeMap<Name, (Uuid, bool)>);

impl Resolved {
    /// Looks up what `drafts` refer to, those apart that are drafts themselves (with the ids that `own` has for them).
    pub(crate) async fn load(
        transaction: &Transaction,
        origin: Uuid,
        drafts: &[&Draft],
        own: BTreeMap<Name, Uuid>,
    ) -> Result<Self> {
        let mut resolved = Self(own.into_iter().map(|(name, id)| (name, (id, false))).collect());
        let wanted: BTreeSet<Name> = drafts
            .iter()
            .flat_map(|draft| &draft.references)
            .map(|reference| (reference.kind.clone(), reference.name.clone()))
            .filter(|name| !resolved.0.contains_key(name))
            .collect();
        if wanted.is_empty() {
            return Ok(resolved);
        }
        let mut query = Sql::new("SELECT id, kind, name, deletion_requested_at FROM object WHERE origin = ");
        query
            .bind(origin)
            .push(" AND deleted_at IS NULL AND (kind, name) IN (VALUES ");
        query.rows(
            wanted
                .into_iter()
                .map(|(kind, name)| Vec::<Value>::from([kind.into(), name.into()])),
        );
        query.push(")");
        for row in transaction.all(query).await? {
            let deleting: Option<i64> = row.get("deletion_requested_at")?;
            resolved.0.insert(
                (row.get("kind")?, row.get("name")?),
                (row.get("id")?, deleting.is_some()),
            );
        }
        Ok(resolved)
    }

    /// The ids of what a draft refers to. `before` are the ids that it referred to already: those may be on their way
    /// out.
    pub(crate) fn of(&self, draft: &Draft, before: &BTreeSet<Uuid>) -> Result<Vec<(Reference, Uuid)>> {
        let mut found = Vec::new();
        let mut missing = Vec::new();
        let mut deleting = Vec::new();
        for reference in &draft.references {
            let target = format!("{} {:?}", reference.kind, reference.name);
            match self.0.get(&(reference.kind.clone(), reference.name.clone())) {
                None => missing.push(FieldError::new(
                    &reference.field,
                    format!("{target} does not exist"),
                )),
                Some((id, true)) if !before.contains(id) => {
                    deleting.push(FieldError::new(
                        &reference.field,
                        format!("{target} is being deleted"),
                    ));
                }
                Some((id, _)) => found.push((reference.clone(), *id)),
            }
        }
        if !missing.is_empty() {
            return Err(Error::ReferenceNotFound {
                what: draft.reference(),
                errors: missing,
            });
        }
        if !deleting.is_empty() {
            return Err(Error::ReferenceDeleting {
                what: draft.reference(),
                errors: deleting,
            });
        }
        Ok(found)
    }
}

/// The statement that stores references.
pub(crate) fn insert(rows: &[(Uuid, &Reference, Uuid)]) -> Option<Sql> {
    if rows.is_empty() {
        return None;
    }
    let mut sql = Sql::new("INSERT INTO reference (from_id, field, to_id, to_kind, resolved_by) VALUES ");
    sql.rows(rows.iter().map(|(from, reference, to)| {
        Vec::<Value>::from([
            (*from).into(),
            reference.field.clone().into(),
            (*to).into(),
            reference.kind.clone().into(),
            "name".into(),
        ])
    }));
    Some(sql)
}

/// The ids that objects refer to.
pub(crate) async fn targets(
    transaction: &Transaction,
    from: &[Uuid],
) -> Result<BTreeMap<Uuid, BTreeSet<Uuid>>> {
    let mut targets: BTreeMap<Uuid, BTreeSet<Uuid>> = BTreeMap::new();
    if from.is_empty() {
        return Ok(targets);
    }
    let mut query = Sql::new("SELECT from_id, to_id FROM reference WHERE from_id IN ");
    query.list(from);
    for row in transaction.all(query).await? {
        targets
            .entry(row.get("from_id")?)
            .or_default()
            .insert(row.get("to_id")?);
    }
    Ok(targets)
}
