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
        let key = (group.to_owned(), version.to_owned());
        let resources = self.read_group(group, version).await?;
        let found = resources.iter().find(|resource| resource.kind == kind).cloned();
        self.discovery().served().insert(key, (Instant::now(), resources));
        Ok(found)
    }

    /// The kind in whichever version of its group the cluster serves it, the preferred one first; nothing where it serves
    /// it in none.
    pub async fn find_in_any_version(
        &self,
        group: &str,
        kind: &str,
    ) -> Result<Option<Resource>, TargetError> {
        let versions = match self.read(&group_path(group)).await {
            Ok(versions) => versions["versions"].clone(),
            Err(TargetError::NotFound(_) | TargetError::NotServed(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        for version in versions.as_array().into_iter().flatten() {
            // A group's versions are objects, the core's are words.
            let version = version["version"]
                .as_str()
                .or(version.as_str())
                .unwrap_or_default();
            if let Some(found) = self.find_now(group, version, kind).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn read_group(&self, group: &str, version: &str) -> Result<Vec<Resource>, TargetError> {
        match self.read(&format!("{}/{version}", group_path(group))).await {
            Ok(list) => {
                let entries = list["resources"].as_array().into_iter().flatten();
                Ok(entries
                    .filter_map(|entry| of_entry(group, version, entry))
                    .collect())
            }
            Err(TargetError::NotFound(_) | TargetError::NotServed(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, path: &str) -> Result<Value, TargetError> {
        let request = http::Request::get(path).body(Vec::new());
        let request = request.map_err(|error| TargetError::Invalid(explain(&error)))?;
        self.send(request, "get", path).await
    }
}

fn group_path(group: &str) -> String {
    if group.is_empty() {
        "/api".to_owned()
    } else {
        format!("/apis/{group}")
    }
}

fn of_entry(group: &str, version: &str, entry: &Value) -> Option<Resource> {
    let plural = entry["name"].as_str()?;
    // Subresources are listed as `deployments/scale`.
    if plural.contains('/') {
        return None;
    }
    Some(Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: entry["kind"].as_str()?.to_owned(),
        plural: plural.to_owned(),
        namespaced: entry["namespaced"].as_bool()?,
    })
}
