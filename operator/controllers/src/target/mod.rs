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
//!   equal or not: an update must name the object's own resourceVersion, and no object ever has 1. A POST
//!   can't adopt what somebody else made; this can't either, and needs no second call to turn the entry into an apply entry.
//! * An apply that carries `metadata.uid` is *update-only*. Another object of that name answers 422 (uid is immutable),
//!   an absent one 409 (uid mismatch, no existing object).
//! * If it carries the object's own `metadata.resourceVersion` too, it changes that version or nothing (409): whoever was
//!   paused since it looked does not overwrite what its successor wrote.

mod autoscalers;
mod call;
pub mod discovery;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod list;
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
use threeport_model::{
    explain,
    kinds::kubernetes_runtime_instance::{Connection, Empty},
};
use uuid::Uuid;

use self::discovery::Discovery;

/// The clients of all targets, made once each. At most as many as there are runtimes and accounts, and one of our own; those
/// of a runtime that is reached in another way than before, or is gone, are made anew, or not any more.
pub struct Targets {
    // The cluster that the control plane runs in.
    local: Config,
    clients: Mutex<BTreeMap<Uuid, Clients>>,
}

/// The clients of a runtime, by account.
struct Clients {
    connection: Connection,
    accounts: BTreeMap<Option<String>, Target>,
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
    pub fn get(
        &self,
        runtime: Uuid,
        connection: &Connection,
        service_account: Option<&str>,
    ) -> Result<Target, TargetError> {
        let account = service_account.map(str::to_owned);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let clients = clients.entry(runtime).or_insert_with(|| Clients {
            connection: connection.clone(),
            accounts: BTreeMap::new(),
        });
        if clients.connection != *connection {
            clients.connection = connection.clone();
            clients.accounts.clear();
        }
        if let Some(target) = clients.accounts.get(&account) {
            return Ok(target.clone());
        }
        let mut config = self.local.clone();
        if let Some(account) = service_account {
            impersonate(&mut config, account);
        }
        let client = Client::try_from(config).map_err(|error| TargetError::Unreachable(explain(&error)))?;
        let target = Target::new(client, Arc::new(Discovery::default()));
        clients.accounts.insert(account, target.clone());
        Ok(target)
    }

    /// The cluster that the control plane runs in, as ourselves and whatever runtimes there are: it looks at itself from
    /// within.
    pub fn own(&self) -> Result<Target, TargetError> {
        let local = Connection {
            in_cluster: Some(Empty {}),
            ..Connection::default()
        };
        self.get(Uuid::nil(), &local, None)
    }

    /// A runtime is gone.
    pub fn forget(&self, runtime: Uuid) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.remove(&runtime);
    }
}

/// The API server adds a ServiceAccount's groups itself; naming them would need the right to impersonate groups.
fn impersonate(config: &mut Config, account: &str) {
    let (namespace, name) = account.split_once('/').unwrap_or(("default", account));
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{name}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::nowhere;

    #[tokio::test]
    async fn a_client_is_made_once_and_anew_where_the_connection_changed() {
        let targets = Targets::new(nowhere());
        let runtime = Uuid::from_u128(1);
        let local = Connection {
            in_cluster: Some(Empty {}),
            ..Connection::default()
        };
        let get = |connection: &Connection, account| targets.get(runtime, connection, account).unwrap();
        let same = |left: &Target, right: &Target| std::ptr::eq(left.discovery(), right.discovery());
        let first = get(&local, None);
        assert!(same(&first, &get(&local, None)));
        assert!(
            !same(&first, &get(&local, Some("a/b"))),
            "what it may see is the account's"
        );
        let other = Connection {
            eks: Some(Empty {}),
            ..Connection::default()
        };
        let second = get(&other, None);
        assert!(!same(&first, &second) && same(&second, &get(&other, None)));
        targets.forget(runtime);
        assert!(!same(&second, &get(&other, None)));
    }
}
