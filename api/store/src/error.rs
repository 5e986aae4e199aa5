//! What can go wrong, in words that a user may see: no SQL, no secret. The server makes a problem of it.

use sea_orm::DbErr;
use threeport_model::{Code, FieldError, ManagedBy, explain};
use uuid::Uuid;

use crate::database::transaction::{self, Refusal};

/// What every method of the store answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No living object, operation or agent of that name.
    #[error("{what} does not exist")]
    NotFound {
        /// `Kind/name` or `Kind id`.
        what: String,
    },
    /// The name is taken.
    #[error("{what} already exists")]
    AlreadyExists {
        /// `Kind/name`.
        what: String,
    },
    /// Another living object holds the slot that this one wants.
    #[error("{what} can't hold {slot}: another object holds it already")]
    SlotTaken {
        /// `Kind/name`.
        what: String,
        /// As in `runtime/default`.
        slot: String,
    },
    /// The state of the object stands against it.
    #[error("{0}")]
    Conflict(String),
    /// A fence (resource version, source generation, claim epoch, token) is out of date.
    #[error("{0}")]
    PreconditionFailed(String),
    /// The effect reaches objects of another owner.
    #[error("{} belongs to {}", .objects.join(", "), .owner.as_str())]
    OwnedBy {
        /// The owner of the first of them.
        owner: ManagedBy,
        /// `Kind/name` of each.
        objects: Vec<String>,
    },
    /// Others refer to what was to be deleted.
    #[error("{what} is referred to by {}", .referrers.join(", "))]
    Referenced {
        /// `Kind/name`.
        what: String,
        /// `Kind/name` of each, at most a hundred.
        referrers: Vec<String>,
        /// Whether it depends on itself through some of them, so that none can go first.
        circle: bool,
    },
    /// References name what does not exist.
    #[error("{what} refers to what does not exist")]
    ReferenceNotFound {
        /// `Kind/name`.
        what: String,
        /// Each of them.
        errors: Vec<FieldError>,
    },
    /// References name what is being deleted.
    #[error("{what} refers to what is being deleted")]
    ReferenceDeleting {
        /// `Kind/name`.
        what: String,
        /// Each of them.
        errors: Vec<FieldError>,
    },
    /// Fields are wrong: immutable ones changed, a Secret that can't be read.
    #[error("{what} is not valid")]
    Invalid {
        /// `Kind/name`.
        what: String,
        /// Each of them.
        errors: Vec<FieldError>,
    },
    /// The model has it, and this version does not serve it.
    #[error("{what} is not served by this version")]
    NotSupported {
        /// `Kind/name`.
        what: String,
        /// Each of them.
        errors: Vec<FieldError>,
    },
    /// More than the limit.
    #[error("{0}")]
    TooLarge(String),
    /// The key came with another body.
    #[error("the idempotency key {0:?} was used with another body")]
    IdempotencyMismatch(String),
    /// An agent's epoch is not the newest.
    #[error("epoch {epoch} of the agent of runtime {runtime_id} is not the newest")]
    EpochStale {
        /// The runtime.
        runtime_id: Uuid,
        /// The epoch that came.
        epoch: i64,
    },
    /// A custom resource outlived the object that was taken from it.
    #[error("{what} that was taken from the resource with uid {uid} was deleted")]
    SourceGone {
        /// `Kind/name`.
        what: String,
        /// The resource.
        uid: String,
    },
    /// The watch token is older than what is kept.
    #[error("the watch token is older than the tombstones that are kept")]
    Gone,
    /// The schema is older than this program.
    #[error("the database has schema version {found}, this program needs {known}")]
    SchemaOlder {
        /// What is there.
        found: i64,
        /// What this program needs.
        known: i64,
    },
    /// The schema is newer than this program, and not marked compatible.
    #[error("the database has schema version {found}, this program knows {known} and can't serve it")]
    SchemaNewer {
        /// What is there.
        found: i64,
        /// What this program knows.
        known: i64,
    },
    /// An option is wrong.
    #[error("failed to open the database: {0}")]
    Options(String),
    /// Secret values can't be stored or read with the keys that are here.
    #[error("failed to handle secret values: {0}")]
    Secret(String),
    /// A row holds what this program can't read.
    #[error("failed to read {what}: {why}")]
    Decode {
        /// Which column or object.
        what: String,
        /// Why.
        why: String,
    },
    /// A transaction did not end in time; it may or may not have committed.
    #[error("the transaction {name} did not end within {seconds} s")]
    TimedOut {
        /// Its name.
        name: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// The database has no room left: nothing of the transaction was written.
    #[error("the database's disk is full")]
    DiskFull(#[source] DbErr),
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] DbErr),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match transaction::refusal(&error) {
            None if transaction::is_full(&error) => Self::DiskFull(error),
            None => Self::Database(error),
            // What came in should have been refused before it got there: the log says what the database said.
            Some(refusal) => {
                tracing::warn!(?refusal, "the database refused a statement: {}", explain(&error));
                Self::refused(refusal)
            }
        }
    }
}

impl Error {
    /// The stable code for programs.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } => Code::NotFound,
            Self::AlreadyExists { .. } | Self::SlotTaken { .. } => Code::AlreadyExists,
            Self::Conflict(_) | Self::EpochStale { .. } => Code::Conflict,
            Self::PreconditionFailed(_) => Code::PreconditionFailed,
            Self::OwnedBy { .. } => Code::OwnedBy,
            Self::Referenced { .. } => Code::Referenced,
            Self::ReferenceNotFound { .. } => Code::ReferenceNotFound,
            Self::ReferenceDeleting { .. } => Code::ReferenceDeleting,
            Self::Invalid { .. } => Code::Invalid,
            Self::NotSupported { .. } => Code::NotSupported,
            Self::TooLarge(_) => Code::TooLarge,
            Self::IdempotencyMismatch(_) => Code::IdempotencyMismatch,
            Self::Gone | Self::SourceGone { .. } => Code::Gone,
            Self::TimedOut { .. } | Self::DiskFull(_) => Code::Unavailable,
            Self::Database(_) if self.is_transient() => Code::Unavailable,
            Self::SchemaOlder { .. } | Self::SchemaNewer { .. } => Code::Unavailable,
            Self::Database(_) | Self::Options(_) | Self::Secret(_) | Self::Decode { .. } => Code::Internal,
        }
    }

    /// Whether it says that nothing of that name exists.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the same request may succeed later, without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::DiskFull(_) => true,
            Self::Database(error) => transaction::is_transient(error),
            _ => false,
        }
    }

    /// Whether no database answered: it is not there yet, or no more. One that refuses a password or has no such name did.
    pub fn is_unanswered(&self) -> bool {
        match self {
            Self::Database(error) => transaction::is_unanswered(error),
            _ => false,
        }
    }

    /// Whether this program and the schema don't go together.
    pub fn is_about_schema(&self) -> bool {
        matches!(self, Self::SchemaOlder { .. } | Self::SchemaNewer { .. })
    }

    /// The same for all that were tried together, where it is about none of them.
    pub(crate) fn about_none(&self) -> Option<Self> {
        match self {
            Self::TimedOut { name, seconds } => Some(Self::TimedOut {
                name,
                seconds: *seconds,
            }),
            Self::DiskFull(error) => Some(Self::DiskFull(error.clone())),
            Self::Database(error) if self.is_transient() => Some(Self::Database(error.clone())),
            _ => None,
        }
    }

    /// The fields that are wrong.
    pub fn field_errors(&self) -> Vec<FieldError> {
        match self {
            Self::ReferenceNotFound { errors, .. }
            | Self::ReferenceDeleting { errors, .. }
            | Self::Invalid { errors, .. }
            | Self::NotSupported { errors, .. } => errors.clone(),
            _ => Vec::new(),
        }
    }

    /// `Kind/name` of what refers to the object, or of what belongs to another owner.
    pub fn referrers(&self) -> Vec<String> {
        match self {
            Self::Referenced { referrers, .. } => referrers.clone(),
            Self::OwnedBy { objects, .. } => objects.clone(),
            _ => Vec::new(),
        }
    }

    /// What to do next, where there is something.
    pub fn next(&self) -> String {
        let next = match self {
            Self::PreconditionFailed(_) => "read it again, apply the change to what you read, and send that",
            Self::OwnedBy {
                owner: ManagedBy::Kubernetes,
                ..
            } => "change the custom resource with kubectl, or take the object over (POST .../takeover)",
            Self::OwnedBy {
                owner: ManagedBy::Api,
                ..
            } => "change it through the API or with tptctl",
            Self::OwnedBy { .. } => "take the object over (POST .../takeover) if you mean to own it",
            Self::Referenced { circle: true, .. } => {
                "it depends on itself through them: take over (POST .../takeover) all of them that Kubernetes manages, \
                 and delete with ?propagation=cascade"
            }
            Self::Referenced { .. } => "delete what refers to it first, or delete with ?propagation=cascade",
            Self::ReferenceNotFound { .. } => "create what is missing, or send all of it in one apply",
            Self::ReferenceDeleting { .. } => "wait until it is gone and create it anew, or refer to another",
            Self::AlreadyExists { .. } => {
                "choose another name, or change the one that exists with PUT or apply"
            }
            Self::SlotTaken { .. } => "change the object that holds it first",
            Self::NotSupported { .. } => "use the one that is named, or change it with PUT or apply",
            Self::Gone => "list again and watch from the list's token",
            Self::SourceGone { .. } => "delete the resource; one that is created anew makes the object anew",
            Self::EpochStale { .. } => "register anew",
            Self::SchemaOlder { .. } => "run threeport-api migrate",
            Self::SchemaNewer { .. } => "run a program of at least the version that migrated the database",
            Self::TimedOut { .. } => "send the same request again; with an idempotency key it happens once",
            Self::DiskFull(_) => "give the database's volume more room, and send the same request again",
            Self::Database(_) if self.is_transient() => "try again",
            _ => "",
        };
        next.to_owned()
    }

    fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Content => Self::Invalid {
                what: "the request".to_owned(),
                errors: vec![FieldError::new("", "holds a value that the database can't keep")],
            },
            Refusal::Size => {
                Self::TooLarge("the request says more than the database takes at once".to_owned())
            }
        }
    }

    /// A missing object.
    pub(crate) fn not_found(kind: &str, name: &str) -> Self {
        Self::NotFound {
            what: format!("{kind}/{name}"),
        }
    }
}
