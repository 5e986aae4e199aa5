//! The inventory and the cluster say the same: every object that carries our label is in a row, and every row's object
//! is there.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use threeport_client::Client;
use threeport_model::{find_kind, identity, protocol::inventory::InventoryRow};
use uuid::Uuid;

use crate::leftovers::{self, Identity};

/// What the database has rows of.
pub async fn recorded(api: &Client) -> Result<BTreeSet<Identity>> {
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

/// What is only in the inventory and only in the cluster; nothing where they are equal.
pub async fn difference(api: &Client, cluster: &kube::Client, control_plane: Uuid) -> Result<Option<String>> {
    let selector = format!("{}={control_plane}", identity::CONTROL_PLANE);
    let (rows, live) = (
        recorded(api).await?,
        leftovers::labelled(cluster, &selector).await?,
    );
    let only_rows: Vec<_> = rows.difference(&live).collect();
    let only_live: Vec<_> = live.difference(&rows).collect();
    Ok((rows != live).then(|| format!("only recorded: {only_rows:?}; only in the cluster: {only_live:?}")))
}
