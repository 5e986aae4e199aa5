//! Objects that Kubernetes manages: what intake reads from custom resources.
//!
//! A name is taken by one custom resource at a time, so a put from another uid means that the one before is gone: with
//! its namespace, with the CRD, or deleted and made anew. The object is then taken over by the new one, whatever its
//! generation (a resource made anew begins at 1; the database's generation goes on from where it was). The uids before
//! are remembered, and what still comes from them, late, is refused. Of one uid, an older generation is refused, unless
//! the facade saw that the resource itself went back (its etcd was restored).
//!
//! A tombstone fences the uids that its object was taken from: a resource that outlived its object (deleted through the
//! API while no facade looked, or brought back with a restored etcd) does not bring the object back, nor does it take
//! over the one that was made of that name since.

use threeport_model::{ManagedBy, Object, object::Source, protocol::source::SourceRequest};
use uuid::Uuid;

use super::{
    change::{self, Change},
    draft::Draft,
    owner, read, remove,
    row::ObjectRow,
    write::{self, Done},
};
use crate::{
    Store,
    database::{
        sql::{Sql, from_json},
        transaction::Transaction,
    },
    error::{Error, Result},
    request::{Request, Written},
    writes,
};

impl Store {
    /// Brings a custom resource's specification (in normal form), labels and annotations to the database.
    pub async fn source_put(&self, request: &Request, uid: &str, source: &SourceRequest) -> Result<Written> {
        let mut object = Object::new(&source.kind, &source.name, source.spec.clone());
        object.metadata.labels.clone_from(&source.labels);
        object.metadata.annotations.clone_from(&source.annotations);
        let draft = Draft::new(object, self.encryption_key(), self.random())?;
        let regressed = source.regressed;
        let source = Source {
            uid: uid.to_owned(),
            generation: source.generation,
        };
        let input = (&draft, &source, regressed);
        self.operate(writes::SOURCE_PUT, request, input, |transaction, job| {
            Box::pin(async move {
                let (draft, source, regressed) = job.input;
                let origin = job.store.control_plane_id();
                let old = read::find(transaction, origin, draft.kind.kind, &draft.name).await?;
                if !old.as_ref().is_some_and(|old| is_of(old, source)) {
                    check_not_deleted(transaction, origin, draft, source).await?;
                }
                let changes = vec![change(draft, source, regressed, old)?];
                owner::check_changes(ManagedBy::Kubernetes, &changes)?;
                write::write(transaction, &job.context(), changes).await
            })
        })
        .await
    }

    /// Asks for the deletion of the object that was taken from that custom resource. Nothing where there is none: it is
    /// gone, or another resource or owner has it now.
    pub async fn source_delete(
        &self,
        request: &Request,
        uid: &str,
        kind: &str,
        name: &str,
        generation: i64,
        regressed: bool,
    ) -> Result<Option<Written>> {
        let source = Source {
            uid: uid.to_owned(),
            generation,
        };
        let input = (kind.to_owned(), name.to_owned(), source, regressed);
        let written = self
            .operate(writes::SOURCE_DELETE, request, input, |transaction, job| {
                Box::pin(async move {
                    let (kind, name, source, regressed) = &job.input;
                    let old = read::find(transaction, job.store.control_plane_id(), kind, name).await?;
                    match old.filter(|old| is_of(old, source)) {
                        None => nothing(transaction, &job.context()).await,
                        Some(old) => {
                            check_generation(&old, source, *regressed)?;
                            remove::request(transaction, &job.context(), ManagedBy::Kubernetes, old, false)
                                .await
                        }
                    }
                })
            })
            .await?;
        Ok(Some(written).filter(|written| !written.results.is_empty()))
    }
}

async fn nothing(transaction: &Transaction, context: &write::Context<'_>) -> Result<Done> {
    transaction.run(context.forget()).await?;
    Ok(Done::default())
}

/// The most tombstones of one name that are asked; they are kept for days, and the newest matter.
const TOMBSTONES: i64 = 100;

/// Whether the resource stands for an object that was deleted.
async fn check_not_deleted(
    transaction: &Transaction,
    origin: Uuid,
    draft: &Draft,
    source: &Source,
) -> Result<()> {
    let query = Sql::new(
        "SELECT source_uid, source_former FROM object WHERE origin = $1 AND kind = $2 AND name = $3 \
         AND deleted_at IS NOT NULL ORDER BY deleted_at DESC LIMIT $4",
    )
    .values([
        origin.into(),
        draft.kind.kind.into(),
        draft.name.as_str().into(),
        TOMBSTONES.into(),
    ]);
    for row in transaction.all(query).await? {
        let last: Option<String> = row.get("source_uid")?;
        let former: Option<String> = row.get("source_former")?;
        let former: Vec<String> =
            former.map_or_else(|| Ok(Vec::new()), |text| from_json("source_former", &text))?;
        if last.as_ref() == Some(&source.uid) || former.contains(&source.uid) {
            return Err(Error::SourceGone {
                what: format!("{}/{}", draft.kind.kind, draft.name),
                uid: source.uid.clone(),
            });
        }
    }
    Ok(())
}

fn change<'a>(
    draft: &'a Draft,
    source: &Source,
    regressed: bool,
    old: Option<ObjectRow>,
) -> Result<Change<'a>> {
    let Some(old) = old else {
        return Change::create(draft, ManagedBy::Kubernetes, Some(source.clone()));
    };
    if old.managed_by != ManagedBy::Kubernetes {
        return Err(Error::OwnedBy {
            owner: old.managed_by,
            objects: vec![old.reference()],
        });
    }
    if old.deletion_requested_at.is_some() {
        let message = format!(
            "{} is being deleted; it is taken again when it is gone",
            old.reference()
        );
        return Err(Error::Conflict(message));
    }
    if old.source_former.contains(&source.uid) {
        let message = format!(
            "{} was taken over from the resource with uid {}",
            old.reference(),
            source.uid
        );
        return Err(Error::PreconditionFailed(message));
    }
    check_generation(&old, source, regressed)?;
    let former = old.source.clone().filter(|former| former.uid != source.uid);
    let mut change = Change::replace(draft, old)?;
    if let Some(former) = former {
        change::supersede(&mut change.source_former, former.uid);
    }
    change.source = Some(source.clone());
    Ok(change)
}

fn is_of(object: &ObjectRow, source: &Source) -> bool {
    object.managed_by == ManagedBy::Kubernetes
        && object
            .source
            .as_ref()
            .is_some_and(|stored| stored.uid == source.uid)
}

fn check_generation(object: &ObjectRow, source: &Source, regressed: bool) -> Result<()> {
    match &object.source {
        Some(stored) if stored.uid == source.uid && stored.generation > source.generation && !regressed => {
            Err(Error::PreconditionFailed(format!(
                "{} is at generation {} of its resource, not {}",
                object.reference(),
                stored.generation,
                source.generation
            )))
        }
        _ => Ok(()),
    }
}
