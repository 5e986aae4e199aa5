//! What every handler may use. Made once by [`crate::serve`], and by tests.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use threeport_model::protocol::apply::{Applied, Outcome};
use threeport_store::{Request, Store, Written};
use threeport_telemetry::stages::Stage;
use tokio_util::sync::CancellationToken;

use crate::{
    authentication::Authenticator, changes::Changes, health::Health, limits::Admission, metrics::Metrics,
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
