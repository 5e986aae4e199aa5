//! Applying many objects: all of them in one transaction, in any order, or none.
//!
//! A request of a few KiB may name a thousand objects of which gigabytes are stored: by the digests of their documents, or to
//! put something small in their place. What is stored is held some times over while it is compared, written and answered. So
//! objects are read without what is large, and weighed; the large ones are read whole where all together are not too much.

use std::collections::BTreeMap;

use sea_orm::Value;
use threeport_model::{FieldError, ManagedBy, Object};
use uuid::Uuid;

use super::{
    change::Change,
    draft::Draft,
    owner,
    read::of_ids,
    row::{self, LIGHT_COLUMNS, ObjectRow, select},
    write,
};
use crate::{
    Store,
    database::{sql::Row, transaction::Transaction},
    error::{Error, Result},
    reference::Name,
    request::{Request, Written},
    writes,
};

/// The most objects in one request.
const MOST: usize = 1000;
/// The most bytes that are stored of them: twice what one request may bring, so that whatever it brought can be applied anew.
const STORED: i64 = 32 << 20;
/// How often it is tried again where somebody else created one of the objects meanwhile.
const TRIES: u32 = 5;

impl Store {
    /// Creates what is not there, replaces specifications, merges labels and annotations, never prunes. What is equal
    /// stays as it is, whoever owns it. A dry run answers the same and stores nothing.
    pub async fn object_apply(
        &self,
        request: &Request,
        objects: Vec<Object>,
        dry_run: bool,
    ) -> Result<Written> {
        if objects.len() > MOST {
            return Err(Error::TooLarge(format!(
                "{} objects are more than {MOST} in one apply",
                objects.len()
            )));
        }
        let drafts: Vec<Draft> = objects
            .into_iter()
            .map(|object| Draft::new(object, self.encryption_key(), self.random()))
            .collect::<Result<_>>()?;
        check_distinct(&drafts)?;
        let mut tried = 0;
        loop {
            let written = self.apply_once(request, &drafts, dry_run).await;
            tried += 1;
            if tried < TRIES && matches!(written, Err(Error::AlreadyExists { .. })) {
                continue;
            }
            return written;
        }
    }

    async fn apply_once(&self, request: &Request, drafts: &[Draft], dry_run: bool) -> Result<Written> {
        self.operate_or_try(
            writes::OBJECT_APPLY,
            request,
            dry_run,
            drafts,
            |transaction, job| {
                Box::pin(async move {
                    let drafts = job.input;
                    let mut old = find_all(transaction, job.store, drafts).await?;
                    let mut changes = Vec::with_capacity(drafts.len());
                    for draft in drafts {
                        let name = (draft.kind.kind.to_owned(), draft.name.clone());
                        changes.push(match old.remove(&name) {
                            None => Change::create(draft, ManagedBy::Api, None)?,
                            Some(old) if old.deletion_requested_at.is_some() => {
                                let message = format!(
                                    "{} is being deleted; apply it again when it is gone",
                                    old.reference()
                                );
                                return Err(Error::Conflict(message));
                            }
                            Some(old) => Change::merge(draft, old)?,
                        });
                    }
                    owner::check_changes(job.request.writer, &changes)?;
                    write::write(transaction, &job.context(), changes).await
                })
            },
        )
        .await
    }
}

fn check_distinct(drafts: &[Draft]) -> Result<()> {
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        if let Some(first) = seen.insert((draft.kind.kind, &draft.name), index) {
            let message = format!(
                "is {} again, which is objects[{first}] already",
                draft.reference()
            );
            let errors = vec![FieldError::new(format!("objects[{index}]"), message)];
            return Err(Error::Invalid {
                what: draft.reference(),
                errors,
            });
        }
    }
    Ok(())
}

/// What is there of the drafts.
async fn find_all(
    transaction: &Transaction,
    store: &Store,
    drafts: &[Draft],
) -> Result<BTreeMap<Name, ObjectRow>> {
    let mut found = BTreeMap::new();
    if drafts.is_empty() {
        return Ok(found);
    }
    let mut query = select(LIGHT_COLUMNS);
    query
        .push(" WHERE o.origin = ")
        .bind(store.control_plane_id())
        .push(" AND o.deleted_at IS NULL AND (o.kind, o.name) IN (VALUES ");
    query.rows(
        drafts
            .iter()
            .map(|draft| Vec::<Value>::from([draft.kind.kind.into(), draft.name.clone().into()])),
    );
    query.push(")");
    let light = transaction.all(query).await?;
    let large = weigh(&light)?;
    let whole = if large.is_empty() {
        Vec::new()
    } else {
        transaction.all(of_ids(&large)).await?
    };
    // Those that are whole take the place of the same ones.
    for row in light.iter().chain(&whole) {
        let object = ObjectRow::read(row)?;
        found.insert((object.kind.clone(), object.name.clone()), object);
    }
    Ok(found)
}

/// Those of which rows don't have all. Fails where all together are too much.
fn weigh(rows: &[Row]) -> Result<Vec<Uuid>> {
    let (mut bytes, mut large) = (0, Vec::new());
    for row in rows {
        bytes += row::size(row)?;
        if row::is_large(row)? {
            large.push(row.get("id")?);
        }
    }
    if bytes > STORED {
        return Err(Error::TooLarge(format!(
            "what is stored of these objects is more than {} MiB; apply them in parts",
            STORED >> 20
        )));
    }
    Ok(large)
}
