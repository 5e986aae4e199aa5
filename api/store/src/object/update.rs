//! Replacing one object: PUT. A PATCH is a read, a merge, and an update that is tied to what was read.

use threeport_model::{Etag, Object};

use super::{change::Change, draft::Draft, owner, read, write};
use crate::{
    Store,
    error::{Error, Result},
    request::{Request, Written},
    writes,
};

impl Store {
    /// Replaces specification, labels and annotations of a living object; the specification is in normal form. With
    /// `if_match`, only where it is that very object in that very version.
    pub async fn object_update(
        &self,
        request: &Request,
        object: Object,
        if_match: Option<Etag>,
    ) -> Result<Written> {
        let draft = Draft::new(object, self.encryption_key(), self.random())?;
        self.operate(
            writes::OBJECT_UPDATE,
            request,
            (&draft, if_match),
            |transaction, job| {
                Box::pin(async move {
                    let (draft, if_match) = job.input;
                    let origin = job.store.control_plane_id();
                    let old = read::find(transaction, origin, draft.kind.kind, &draft.name).await?;
                    let old = old.ok_or_else(|| Error::not_found(draft.kind.kind, &draft.name))?;
                    owner::check_match(&old, if_match)?;
                    let changes = vec![Change::replace(draft, old)?];
                    owner::check_changes(job.request.writer, &changes)?;
                    write::write(transaction, &job.context(), changes).await
                })
            },
        )
        .await
    }
}
