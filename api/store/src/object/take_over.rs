//! Taking over: the API becomes the owner of an object that Kubernetes or the system managed.

use threeport_model::ManagedBy;

use super::{
    change::{self, Change},
    draft::Draft,
    read, write,
};
use crate::{
    Store,
    error::{Error, Result},
    request::{Request, Written},
    writes,
};

impl Store {
    /// Makes the API the owner of a living object. Its custom resource becomes a mirror.
    pub async fn object_take_over(&self, request: &Request, kind: &str, name: &str) -> Result<Written> {
        let (kind, name) = (kind.to_owned(), name.to_owned());
        self.operate(
            writes::OBJECT_TAKE_OVER,
            request,
            (kind, name),
            |transaction, job| {
                Box::pin(async move {
                    let (kind, name) = &job.input;
                    let old = read::find(transaction, job.store.control_plane_id(), kind, name).await?;
                    let old = old.ok_or_else(|| Error::not_found(kind, name))?;
                    if old.deletion_requested_at.is_some() {
                        return Err(Error::Conflict(format!("{} is being deleted", old.reference())));
                    }
                    let draft = Draft::of_stored(&old)?;
                    let mut change = Change::replace(&draft, old)?;
                    change.managed_by = ManagedBy::Api;
                    if let Some(source) = change.source.take() {
                        change::supersede(&mut change.source_former, source.uid);
                    }
                    write::write(transaction, &job.context(), vec![change]).await
                })
            },
        )
        .await
    }
}
