//! What every handler may use. Made once by [`crate::serve`], and by tests.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use threeport_model::protocol::apply::{Applied, Outcome};
use threeport_store::{Request, Store, Written};
use threeport_telemetry::stages::Stage;
use tokio_util::sync::CancellationToken;

use crate::{
    authentication::Authenticator, changes::Changes, limits::Admission, metrics::Metrics,
    notifications::Notifier,
};

/// Cheap to clone; one per process.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] is made of.
pub struct Parts {
    /// The truth.
    pub store: Store,
    /// This control plane's name.
    pub control_plane: String,
    /// Its namespace.
    pub namespace: String,
    /// Who asks.
    pub authenticator: Authenticator,
    /// How much may be asked.
    pub admission: Admission,
    /// After how long a request is given up.
    pub timeout: Duration,
    /// What is counted.
    pub metrics: Metrics,
    /// Tells controllers.
    pub notifier: Notifier,
    /// Feeds watchers.
    pub changes: Changes,
    /// Whether the database answers, and what is degraded.
    pub health: Health,
    /// Cancelled when the process drains: ends what would not end by itself.
    pub shutdown: CancellationToken,
}

impl App {
    /// An app of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// See [`Parts::metrics`].
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What must follow every write: controllers and watchers hear of it.
    pub fn committed(&self, request: &Request, written: &mut Written) {
        let changed = |result: &&Applied| !written.replayed && result.outcome != Outcome::Unchanged;
        let changed = written.results.iter().filter(changed);
        let kinds: BTreeSet<&str> = changed.map(|result| result.object.kind.as_str()).collect();
        for kind in kinds {
            self.0.metrics.stage(kind, Stage::Commit, request.begun.elapsed());
        }
        let notices = std::mem::take(&mut written.notices);
        self.0.notifier.committed(request.operation_id, notices);
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// How the process is, as its background tasks saw it last.
#[derive(Clone)]
pub struct Health(Arc<RwLock<State>>);

#[derive(Clone, Default)]
struct State {
    unready: Option<String>,
    degraded: Vec<String>,
}

impl Default for Health {
    fn default() -> Self {
        let unready = Some("the database was not asked yet".to_owned());
        Self(Arc::new(RwLock::new(State {
            unready,
            degraded: Vec::new(),
        })))
    }
}

impl Health {
    /// Ready means database and schema.
    pub fn set_ready(&self, ready: Result<(), String>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).unready = ready.err();
    }

    /// What does not work, though the API serves.
    pub fn set_degraded(&self, degraded: Vec<String>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).degraded = degraded;
    }

    /// Why not, where it is not ready.
    pub fn ready(&self) -> Result<(), String> {
        self.state().unready.map_or(Ok(()), Err)
    }

    /// What does not work, though the API serves.
    pub fn degraded(&self) -> Vec<String> {
        self.state().degraded
    }

    fn state(&self) -> State {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
