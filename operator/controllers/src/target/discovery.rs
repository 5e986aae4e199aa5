//! What a cluster serves, per group and version, remembered: one read per group and version in ten minutes.
//!
//! A kind that is not found is looked for again, at most every two seconds: CRDs come and go. An error is never
//! remembered, and never taken for "not served".

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use threeport_cluster::discovery::{self, Asker};
use threeport_model::explain;
use tokio::time::Instant;

use super::{Resource, Target, TargetError, listable::Remembered};

const FRESH: Duration = Duration::from_secs(600);
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(2);

type Served = BTreeMap<(String, String), (Instant, Vec<Resource>)>;

/// What a cluster serves.
#[derive(Debug, Default)]
pub struct Discovery {
    served: Mutex<Served>,
    listable: Mutex<Remembered>,
}

impl Discovery {
    fn served(&self) -> MutexGuard<'_, Served> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listable(&self) -> MutexGuard<'_, Remembered> {
        self.listable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A version of a group turned out to be served no more: it is asked for anew.
    pub fn forget(&self, group: &str, version: &str) {
        self.served().remove(&(group.to_owned(), version.to_owned()));
    }

    /// What is remembered of a kind: that it is served, that it is not, or nothing.
    fn remembered(&self, key: &(String, String), kind: &str) -> Option<Option<Resource>> {
        let served = self.served();
        let (read_at, resources) = served.get(key)?;
        let found = resources.iter().find(|resource| resource.kind == kind).cloned();
        let fresh = if found.is_some() { FRESH } else { LOOK_AGAIN };
        (read_at.elapsed() < fresh).then_some(found)
    }
}

impl Target {
    /// The kind as the cluster serves it, or nothing where it does not.
    pub async fn find(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Option<Resource>, TargetError> {
        let key = (group.to_owned(), version.to_owned());
        match self.discovery().remembered(&key, kind) {
            Some(remembered) => Ok(remembered),
            None => self.find_now(group, version, kind).await,
        }
    }

    /// The same, asked now.
    pub async fn find_now(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Option<Resource>, TargetError> {
        let found = discovery::find(self, group, version, kind).await?;
        Ok(found.map(Resource::from))
    }

    /// The kind in whichever version of its group the cluster serves it, the preferred one first; nothing where it serves
    /// it in none.
    pub async fn find_in_any_version(
        &self,
        group: &str,
        kind: &str,
    ) -> Result<Option<Resource>, TargetError> {
        let found = discovery::find_in_any_version(self, group, kind).await?;
        Ok(found.map(Resource::from))
    }
}

impl Asker for Target {
    type Error = TargetError;

    async fn read(&self, path: &str) -> Result<Option<Value>, TargetError> {
        let request = http::Request::get(path).body(Vec::new());
        let request = request.map_err(|error| TargetError::Invalid(explain(&error)))?;
        match self.send(request, "get", path).await {
            Ok(answer) => Ok(Some(answer)),
            Err(TargetError::NotFound(_) | TargetError::NotServed(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn undecodable(error: serde_json::Error) -> TargetError {
        TargetError::Unreachable(format!("the answer can't be decoded: {error}"))
    }

    fn remember(&self, group: &str, version: &str, served: &[discovery::Served]) {
        let key = (group.to_owned(), version.to_owned());
        let resources = served.iter().cloned().map(Resource::from).collect();
        self.discovery().served().insert(key, (Instant::now(), resources));
    }
}
