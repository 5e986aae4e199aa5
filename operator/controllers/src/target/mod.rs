//! A target: the cluster that a runtime names, as the ServiceAccount that its policy names.
//!
//! Thin I/O: one function per call, each with a time-out, each answering with [`TargetError`], which tells refused from
//! unknown. Nothing in here decides.
//!
//! **How objects are made and changed.** Server-side apply does both, in one call each, and never over something else
//! (tried against kube-apiserver 1.35, built-in kinds and custom resources):
//!
//! * An apply that carries `metadata.resourceVersion: "1"` is *create-only*. Where the object is absent it is created
//!   (201), and the fields are ours as an Apply entry from the start. Where it exists the answer is 409, forced or not,
//!   equal or not: an update must name the object's own resourceVersion, and no object ever has 1. design.md, 7 asks for
//!   a POST because a POST can't adopt; this can't either, and needs no second call to turn the entry into an apply entry.
//! * An apply that carries `metadata.uid` is *update-only*. Another object of that name answers 422 (uid is immutable),
//!   an absent one 409 (uid mismatch, no existing object).
//! * If it carries the object's own `metadata.resourceVersion` too, it changes that version or nothing (409): whoever was
//!   paused since it looked does not overwrite what its successor wrote.

mod call;
pub mod discovery;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod listable;
mod resource;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use call::{DeleteAnswer, Target, Version};
pub use error::{FieldConflict, TargetError};
use kube::{Client, Config};
pub use resource::{Resource, display};
use uuid::Uuid;

use self::discovery::Discovery;

/// The clients of all targets, made once each. At most as many as there are runtimes and accounts.
pub struct Targets {
    // The cluster that the control plane runs in.
    local: Config,
    clients: Mutex<BTreeMap<(Uuid, Option<String>), Target>>,
}

impl Targets {
    /// Targets, with the configuration of the cluster that the control plane itself runs in.
    pub fn new(mut local: Config) -> Self {
        local.connect_timeout = Some(Duration::from_secs(3));
        local.read_timeout = Some(call::TIMEOUT);
        local.write_timeout = Some(call::TIMEOUT);
        Self {
            local,
            clients: Mutex::new(BTreeMap::new()),
        }
    }

    /// The target of a runtime, as `service_account` (`namespace/name`), or as ourselves where none is named.
    pub fn get(&self, runtime: Uuid, service_account: Option<&str>) -> Result<Target, TargetError> {
        let key = (runtime, service_account.map(str::to_owned));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = clients.get(&key) {
            return Ok(target.clone());
        }
        let mut config = self.local.clone();
        if let Some(account) = service_account {
            impersonate(&mut config, account);
        }
        let client = Client::try_from(config).map_err(|error| TargetError::Unreachable(error.to_string()))?;
        let target = Target::new(client, Arc::new(Discovery::default()));
        clients.insert(key, target.clone());
        Ok(target)
    }
}

/// The API server adds a ServiceAccount's groups itself; naming them would need the right to impersonate groups.
fn impersonate(config: &mut Config, account: &str) {
    let (namespace, name) = account.split_once('/').unwrap_or(("default", account));
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{name}"));
}
