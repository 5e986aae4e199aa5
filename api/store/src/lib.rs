//! The truth of a control plane, in a SQL database: the only crate that speaks SQL.
//!
//! One schema and one set of statements for CockroachDB, PostgreSQL and SQLite. A change of desired state is one
//! transaction: objects, references, revisions, the operation that made them and the pending rows of everything that may
//! now have work ([`database::transaction`]).
//!
//! Where things are: [`database`] is how the store talks to a database, whatever it says; the schema is [`migration`]'s.
//! [`error`], [`options`] and [`request`] are the words that callers use, whatever they call. Every other module here is a
//! resource, a table or what is done with some of them, with the methods of [`Store`] that do it. Those are named after the
//! resource first, as in `object_create`, but for the few that are about all of it, as `purge`; [`writes`] has the names of
//! what they write.
//!
//! What not to do: no HTTP, no JetStream, no Kubernetes here; no statement that one of the three databases lacks; no
//! `SELECT` before an `INSERT` to find out whether something exists (the index knows).

mod agent;
mod broken;
mod claim;
mod database;
mod document;
mod error;
mod event;
mod idempotency;
mod inventory;
mod migration;
mod object;
mod observation;
mod operation;
mod options;
mod pending;
mod reference;
mod request;
mod retention;
mod revision;
mod secret;
mod set_back;
mod status;
mod system;
#[cfg(test)]
mod tests;
mod verification;
mod watch;
pub mod writes;

use std::sync::Arc;

use futures::future::BoxFuture;
use threeport_failpoint::{Write, around};
use uuid::Uuid;

pub use database::{random::Random, transaction::TransactionCount};
pub use error::{Error, Result};
pub use object::{
    list::ListQuery,
    selector::{FieldSelector, LabelSelector},
};
pub use options::{Options, Retention};
pub use pending::OldestPending;
pub use request::{Idempotency, Notice, Request, Written};
pub use retention::Purged;
pub use secret::EncryptionKey;
pub use status::StatusFence;
pub use system::{Ensured, SelfRecord};
pub use verification::Verified;
pub use watch::{Change, Changes, Cursor, Unreadable};

use crate::{
    database::{
        clock,
        connection::{Connections, Dialect},
        reader::Reader,
        sql::{Fetch, Sql},
        together::Together,
        transaction::{self, Ended, Transaction, Transactions},
    },
    object::{
        create::Create,
        write::{Context, Done},
    },
    operation::Record,
};

/// An open store; clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    connections: Connections,
    transactions: Transactions,
    creates: Together<Create, Result<Written>>,
    options: Options,
    control_plane_id: Uuid,
    incarnation: Uuid,
    schema_version: i64,
}

impl Store {
    /// Brings the schema to this program's version and gives a new database its identity. Any number of processes may do
    /// so at once. Answers the version.
    pub async fn migrate(options: &Options) -> Result<i64> {
        let connections = Connections::for_migration(options).await?;
        let version = migration::run(&connections.writer, connections.dialect, &options.random).await;
        let version = match version {
            Ok(version) => version,
            Err(error) => {
                connections.close().await;
                return Err(error);
            }
        };
        let now = clock::expression(connections.dialect);
        let insert = Sql::new(format!(
            "INSERT INTO control_plane (id, control_plane_id, incarnation, created_at) VALUES (1, $1, $2, {now}) \
             ON CONFLICT (id) DO NOTHING"
        ))
        .values([options.random.uuid().into(), options.random.uuid().into()]);
        let inserted = around(writes::IDENTITY, connections.writer.run(insert)).await;
        connections.close().await;
        match inserted {
            Err(Error::Database(error)) if !transaction::is_retryable(&error) => Err(error.into()),
            _ => Ok(version),
        }
    }

    /// Opens a migrated database. Refuses a schema that this program can't serve.
    pub async fn open(options: Options) -> Result<Self> {
        let connections = Connections::open(&options).await?;
        let schema_version = migration::check(migration::version(&connections.reader).await?)?;
        let query = Sql::new("SELECT control_plane_id, incarnation FROM control_plane WHERE id = 1");
        let row = connections.reader.one(query).await?;
        let row = row.ok_or_else(|| Error::Options("the database was not migrated to its end".to_owned()))?;
        let transactions = Transactions::new(connections.clone(), &options);
        Ok(Self(Arc::new(Inner {
            transactions,
            creates: Together::default(),
            control_plane_id: row.get("control_plane_id")?,
            incarnation: row.get("incarnation")?,
            schema_version,
            connections,
            options,
        })))
    }

    /// Whether the database answers and has a schema that this program can serve.
    pub async fn check(&self) -> Result<()> {
        migration::check(migration::version(&self.reader()).await?).map(drop)
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.0.connections.close().await;
    }

    /// The control plane whose truth this is: the `origin` of its objects.
    pub fn control_plane_id(&self) -> Uuid {
        self.0.control_plane_id
    }

    /// Another one after a restore from a backup.
    pub fn incarnation(&self) -> Uuid {
        self.0.incarnation
    }

    /// Of the database.
    pub fn schema_version(&self) -> i64 {
        self.0.schema_version
    }

    /// `sqlite`, `postgresql` or `cockroachdb`.
    pub fn database(&self) -> &'static str {
        self.dialect().name()
    }

    /// How often transactions ended how, by name: for metrics.
    pub fn transaction_counts(&self) -> Vec<TransactionCount> {
        self.transactions().counts()
    }

    /// The source of ids and jitter.
    pub fn random(&self) -> &Random {
        &self.0.options.random
    }

    pub(crate) fn retention(&self) -> Retention {
        self.0.options.retention
    }

    pub(crate) fn encryption_key(&self) -> Option<&EncryptionKey> {
        self.0.options.encryption_key.as_ref()
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.0.connections.dialect
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader(&self.0.connections.reader, self.0.options.timeout)
    }

    pub(crate) fn transactions(&self) -> &Transactions {
        &self.0.transactions
    }

    pub(crate) fn creates(&self) -> &Together<Create, Result<Written>> {
        &self.0.creates
    }

    /// Runs a write as the request's operation. What it did before, it does not do again.
    pub(crate) async fn operate<I, W>(
        &self,
        write: Write,
        request: &Request,
        input: I,
        work: W,
    ) -> Result<Written>
    where
        I: Sync,
        W: for<'t> Fn(&'t Transaction, &'t Job<'_, I>) -> BoxFuture<'t, Result<Done>> + Sync,
    {
        self.operate_or_try(write, request, false, input, work).await
    }

    /// Like [`Self::operate`]; a dry run is rolled back at its end.
    pub(crate) async fn operate_or_try<I, W>(
        &self,
        write: Write,
        request: &Request,
        dry_run: bool,
        input: I,
        work: W,
    ) -> Result<Written>
    where
        I: Sync,
        W: for<'t> Fn(&'t Transaction, &'t Job<'_, I>) -> BoxFuture<'t, Result<Done>> + Sync,
    {
        let record = Record::of(request, dry_run);
        let job = Job {
            store: self,
            request,
            record: &record,
            input,
        };
        match self.transactions().operate(write, &[&record], &job, work).await? {
            Ended::Committed(done) if dry_run => self.written(
                &record,
                Done {
                    notices: Vec::new(),
                    ..done
                },
            ),
            Ended::Committed(done) => self.written(&record, done),
            Ended::Before => self.operation_answer(record.id).await,
            Ended::KeyUsed => self.idempotency_answer(request).await,
        }
    }
}

/// What a write works on.
pub(crate) struct Job<'a, I> {
    pub(crate) store: &'a Store,
    pub(crate) request: &'a Request,
    pub(crate) record: &'a Record,
    pub(crate) input: I,
}

impl<I> Job<'_, I> {
    pub(crate) fn context(&self) -> Context<'_> {
        Context::of_one(self.store, self.record)
    }
}
