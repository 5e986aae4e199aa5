//! Creating objects: each by a request of its own, those that come at the same time in one transaction ([`together`]).
//!
//! What is refused because of one of them (a taken name, a reference to nothing) is refused for all, so each is then
//! tried alone. The same where one of them had been done before.
//!
//! [`together`]: crate::database::together

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use threeport_model::{ManagedBy, Object};

use super::{
    change::Change,
    draft::Draft,
    plan,
    write::{self, Context, Done},
};
use crate::{
    Store,
    database::{
        pace::Asking,
        transaction::{Ended, Stamp},
    },
    error::{Error, Result},
    operation::Record,
    request::{Request, Written},
    writes,
};

/// A request to create an object.
pub(crate) struct Create {
    request: Request,
    record: Record,
    draft: Draft,
    /// Until somebody begins with it, controllers stand back.
    asking: Mutex<Option<Asking>>,
}

/// The caller waits. Where it goes away its request may stay in the queue for long.
struct Waits<'a>(&'a Create);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.ask_no_more();
    }
}

impl Create {
    fn ask_no_more(&self) {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether nothing must be read to do it, and nothing is kept of it but what it makes.
    fn is_plain(&self) -> bool {
        self.draft.stands_alone() && self.record.idempotency.is_none()
    }

    /// Says that the error is about this object.
    fn refine(&self, error: Error) -> Error {
        let change = Change::create(&self.draft, self.managed_by(), None);
        plan::refine(error, change.ok().map(|change| change.row(0)).as_ref())
    }

    fn managed_by(&self) -> ManagedBy {
        match self.request.writer {
            ManagedBy::System => ManagedBy::System,
            _ => ManagedBy::Api,
        }
    }
}

impl Store {
    /// Creates an object whose specification is in normal form. A taken name or slot is what the index says, so that of
    /// any number of equal requests exactly one succeeds.
    pub async fn object_create(&self, request: &Request, object: Object) -> Result<Written> {
        let draft = Draft::new(object, self.encryption_key(), self.random())?;
        let create = Arc::new(Create {
            request: request.clone(),
            record: Record::of_create(request, &draft),
            draft,
            asking: Mutex::new(Some(self.transactions().asking())),
        });
        let bytes = create.draft.bytes();
        let _waits = Waits(&create);
        let lead = |creates| -> BoxFuture<'_, _> { Box::pin(self.objects_create(creates)) };
        match self.creates().join(Arc::clone(&create), bytes, lead).await {
            Some(answer) => answer,
            None => self.object_create_alone(&create).await,
        }
    }

    /// Creates objects in one transaction. Nothing for those that must be tried alone.
    async fn objects_create(&self, creates: Vec<Arc<Create>>) -> Vec<Option<Result<Written>>> {
        for create in &creates {
            create.ask_no_more();
        }
        if let [create] = creates.as_slice() {
            return vec![Some(self.object_create_alone(create).await)];
        }
        let answers = match self.objects_create_or_end(&creates).await {
            Ok(Ended::Committed(done)) => creates
                .iter()
                .zip(done)
                .map(|(create, done)| Some(self.written(&create.record, done)))
                .collect(),
            Err(error) => creates.iter().map(|_| error.about_none().map(Err)).collect(),
            Ok(Ended::Before | Ended::KeyUsed) => Vec::new(),
        };
        let missing = creates.len() - answers.len();
        answers.into_iter().chain((0..missing).map(|_| None)).collect()
    }

    async fn object_create_alone(&self, create: &Arc<Create>) -> Result<Written> {
        let ended = self.objects_create_or_end(std::slice::from_ref(create)).await?;
        match ended {
            Ended::Committed(done) => {
                self.written(&create.record, done.into_iter().next().unwrap_or_default())
            }
            Ended::Before => self.operation_answer(create.record.id).await,
            Ended::KeyUsed => self.idempotency_answer(&create.request).await,
        }
    }

    /// What was done for each, in their order.
    async fn objects_create_or_end(&self, creates: &[Arc<Create>]) -> Result<Ended<Vec<Done>>> {
        let records: Vec<&Record> = creates.iter().map(|create| &create.record).collect();
        let (transactions, input) = (self.transactions(), (self, creates));
        let write = writes::OBJECT_CREATE;
        if creates.iter().all(|create| create.is_plain()) {
            let plan = |stamp: &Stamp, (store, creates): &(&Self, &[Arc<Create>])| {
                let (context, changes) = begin(store, creates)?;
                let (statements, done) = plan::new(stamp, &context, changes)?;
                Ok((statements, apart(done)))
            };
            let ended = transactions.at_once(write, &records, &input, plan);
            return ended.await.map_err(|error| match creates {
                [create] => create.refine(error),
                _ => error,
            });
        }
        transactions
            .operate(write, &records, &input, |transaction, (store, creates)| {
                Box::pin(async move {
                    let (context, changes) = begin(store, creates)?;
                    Ok(apart(write::write(transaction, &context, changes).await?))
                })
            })
            .await
    }
}

/// What the creates have in common, and the change that each is.
fn begin<'a>(store: &'a Store, creates: &'a [Arc<Create>]) -> Result<(Context<'a>, Vec<Change<'a>>)> {
    let operations = creates.iter().map(|create| (create.draft.id, &create.record));
    let changes = creates
        .iter()
        .map(|create| Change::create(&create.draft, create.managed_by(), None));
    Ok((
        Context::of_each(store, operations.collect()),
        changes.collect::<Result<_>>()?,
    ))
}

/// What was done for each object, with the notices of what it is; those of others, which are but hints, with the first.
fn apart(done: Done) -> Vec<Done> {
    let mut all: Vec<Done> = done
        .results
        .into_iter()
        .map(|result| Done {
            results: vec![result],
            notices: Vec::new(),
        })
        .collect();
    for notice in done.notices {
        let of = all
            .iter()
            .position(|done| done.results.iter().any(|(_, row)| row.id == notice.id));
        if let Some(done) = all.get_mut(of.unwrap_or_default()) {
            done.notices.push(notice);
        }
    }
    all
}
