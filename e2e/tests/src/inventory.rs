//! The inventory and the cluster say the same: every object that carries our label is in a row, and every row's object
//! is there. And the control of that: an object that carries our label and is in no row.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use threeport_client::Client;
use threeport_model::{find_kind, identity, protocol::inventory::InventoryRow};

use crate::{
    leftovers::{self, Identity},
    plane::{NAMESPACE, Plane, RELEASE},
};

/// Where the two differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// In a row, and not in the cluster under our label.
    pub only_recorded: BTreeSet<Identity>,
    /// In the cluster under our label, and in no row.
    pub only_labelled: BTreeSet<Identity>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.only_recorded.is_empty() && self.only_labelled.is_empty()
    }
}

/// What is only in the inventory, and what only in the cluster.
pub async fn difference(api: &Client, cluster: &kube::Client) -> Result<Difference> {
    let who = api.whoami().await?;
    let selector = format!("{}={}", identity::CONTROL_PLANE, who.control_plane_id);
    let (rows, live) = tokio::try_join!(recorded(api), leftovers::labelled(cluster, &selector))?;
    Ok(Difference {
        only_recorded: rows.difference(&live).cloned().collect(),
        only_labelled: live.difference(&rows).cloned().collect(),
    })
}

/// What the database has rows of.
async fn recorded(api: &Client) -> Result<BTreeSet<Identity>> {
    let kind = find_kind("WorkloadInstance").context("no such kind")?;
    let mut found = BTreeSet::new();
    for instance in api.object_list_all(kind, None).await?.0 {
        let rows = api.object_resources(kind, &instance.metadata.name).await?;
        found.extend(rows.into_iter().map(identity_of));
    }
    Ok(found)
}

fn identity_of(row: InventoryRow) -> Identity {
    let kind = format!("{}.{}", row.kind, row.group);
    (kind, row.namespace, row.name, row.uid.unwrap_or_default())
}

/// What [`plant`] makes, as the audit log names it.
pub const PLANTED: &str = "configmaps. default/planted";

/// Makes, as one of our accounts, an object that carries our label and is in no row. It is of an instance that nobody
/// knows, so that nobody but [`uproot`] removes it.
pub async fn plant(plane: &Plane) -> Result<()> {
    let kubectl = plane.kubectl()?;
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:{RELEASE}-workloads");
    kubectl.run(&["create", "configmap", "planted", "--namespace=default", &account])?;
    let who = plane.api.whoami().await?;
    let labels = identity::labels(who.control_plane_id, uuid::Uuid::new_v4(), "planted");
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut label = vec!["label", "configmap", "planted", "--namespace=default"];
    label.extend(labels.iter().map(String::as_str));
    kubectl.run(&label).map(drop)
}

/// Removes it.
pub fn uproot(plane: &Plane) -> Result<()> {
    let kubectl = plane.kubectl()?;
    kubectl
        .run(&["delete", "configmap", "planted", "--namespace=default"])
        .map(drop)
}

/// The comparison finds what is planted, and nothing else.
pub async fn what_is_planted_is_found(plane: &Plane) -> Result<()> {
    let found = difference(&plane.api, &plane.cluster).await?;
    let names: Vec<_> = found
        .only_labelled
        .iter()
        .map(|(kind, _, name, _)| (kind.as_str(), name.as_str()))
        .collect();
    ensure!(
        found.only_recorded.is_empty() && names == [("ConfigMap.", "planted")],
        "the comparison found {found:?}"
    );
    Ok(())
}
