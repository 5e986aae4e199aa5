//! Asking for the deletion of one object, and of what refers to it where that is wanted.

use threeport_model::Etag;

use super::{owner, read, remove};
use crate::{
    Store,
    error::{Error, Result},
    request::{Request, Written},
    writes,
};

impl Store {
    /// Asks for deletion. What has no footprint and no referrers is gone when this returns; all else lives on until its
    /// controller is done. Refused where living objects refer to it, unless `cascade` takes them along.
    pub async fn object_delete(
        &self,
        request: &Request,
        kind: &str,
        name: &str,
        if_match: Option<Etag>,
        cascade: bool,
    ) -> Result<Written> {
        let input = (kind.to_owned(), name.to_owned(), if_match, cascade);
        self.operate(writes::OBJECT_DELETE, request, input, |transaction, job| {
            Box::pin(async move {
                let (kind, name, if_match, cascade) = &job.input;
                let old = read::find(transaction, job.store.control_plane_id(), kind, name).await?;
                let old = old.ok_or_else(|| Error::not_found(kind, name))?;
                owner::check_match(&old, *if_match)?;
                remove::request(transaction, &job.context(), job.request.writer, old, *cascade).await
            })
        })
        .await
    }
}
