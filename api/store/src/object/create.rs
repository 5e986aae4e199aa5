//! Creating one object.

use threeport_model::{ManagedBy, Object};

use super::{change::Change, write};
use crate::{
    Store,
    draft::Draft,
    error::Result,
    request::{Request, Written},
    writes,
};

impl Store {
    /// Creates an object whose specification is in normal form. A taken name or slot is what the index says, so that of
    /// any number of equal requests exactly one succeeds.
    pub async fn object_create(&self, request: &Request, object: Object) -> Result<Written> {
        let draft = Draft::new(object, self.encryption_key(), self.random())?;
        self.operate(writes::OBJECT_CREATE, request, &draft, |transaction, job| {
            Box::pin(async move {
                let managed_by = if job.request.writer == ManagedBy::System {
                    ManagedBy::System
                } else {
                    ManagedBy::Api
                };
                let change = Change::create(job.input, managed_by, None)?;
                write::write(transaction, &job.context(), vec![change]).await
            })
        })
        .await
    }
}
