//! Objects that Kubernetes manages: what intake reads from custom resources.
//!
//! A name is taken by one custom resource at a time, so a put from another uid means that the one before is gone: with
//! its namespace, with the CRD, or deleted and made anew. The object is then taken over by the new one, whatever its
//! generation (a resource made anew begins at 1; the database's generation goes on from where it was). The uids before
//! are remembered, and what still comes from them, late, is refused. Of one uid, an older generation is refused.

use threeport_model::{ManagedBy, Object, object::Source, protocol::source::SourceRequest};

use super::{
    change::{self, Change},
    owner, read, remove,
    write::{self, Done},
};
use crate::{
    Store,
    draft::Draft,
    error::{Error, Result},
    request::{Request, Written},
    row::ObjectRow,
    transaction::Transaction,
};

impl Store {
    /// Brings a custom resource's specification (in normal form), labels and annotations to the database.
    pub async fn source_put(&self, request: &Request, uid: &str, source: &SourceRequest) -> Result<Written> {
        let mut object = Object::new(&source.kind, &source.name, source.spec.clone());
        object.metadata.labels.clone_from(&source.labels);
        object.metadata.annotations.clone_from(&source.annotations);
        let draft = Draft::new(object, self.encryption_key(), self.random())?;
        let source = Source {
            uid: uid.to_owned(),
            generation: source.generation,
        };
        self.operate("source_put", request, (&draft, &source), |transaction, job| {
            Box::pin(async move {
                let (draft, source) = job.input;
                let origin = job.store.control_plane_id();
                let old = read::find(transaction, origin, draft.kind.kind, &draft.name).await?;
                let changes = vec![change(draft, source, old)?];
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
    ) -> Result<Option<Written>> {
        let source = Source {
            uid: uid.to_owned(),
            generation,
        };
        let input = (kind.to_owned(), name.to_owned(), source);
        let written = self
            .operate("source_delete", request, input, |transaction, job| {
                Box::pin(async move {
                    let (kind, name, source) = &job.input;
                    let old = read::find(transaction, job.store.control_plane_id(), kind, name).await?;
                    match old.filter(|old| is_of(old, source)) {
                        None => nothing(transaction, job.record).await,
                        Some(old) => {
                            check_generation(&old, source)?;
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

async fn nothing(transaction: &Transaction, record: &crate::operation::Record) -> Result<Done> {
    transaction.run(record.forget()).await?;
    Ok(Done::default())
}

fn change<'a>(draft: &'a Draft, source: &Source, old: Option<ObjectRow>) -> Result<Change<'a>> {
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
    check_generation(&old, source)?;
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

fn check_generation(object: &ObjectRow, source: &Source) -> Result<()> {
    match &object.source {
        Some(stored) if stored.uid == source.uid && stored.generation > source.generation => {
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
