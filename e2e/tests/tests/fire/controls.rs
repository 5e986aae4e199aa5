//! Positive controls: what the checks are to find is planted, and they find it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use threeport_e2e::{
    audit, leftovers,
    plane::{NAMESPACE, Plane, RELEASE},
};
use threeport_model::identity;

use crate::check;

const PLANTED: &str = "configmaps. default/planted";

/// An object that carries our label and is in no inventory, is left, and was made twice by one of us. It is of an instance
/// that nobody knows, so that nobody but us removes it.
pub(crate) async fn what_is_planted_is_found(plane: &Plane) -> Result<()> {
    let before = leftovers::everything(&plane.cluster).await?;
    let log = plane.audit_log();
    let offset = audit::end(&log)?;
    let expected = BTreeSet::from([PLANTED.to_owned()]);

    plant(plane).await?;
    let found = check::differences(plane).await?;
    let names: Vec<_> = found
        .iter()
        .map(|(kind, _, name, _)| (kind.as_str(), name.as_str()))
        .collect();
    ensure!(
        names == [("ConfigMap.", "planted")],
        "the comparison found {found:?}"
    );
    let left = check::nothing_is_left(plane, &before).await;
    ensure!(left.is_err(), "what is left was not found");
    check::each_was_created_once(&log, offset, &expected).context("made once")?;

    uproot(plane)?;
    check::nothing_is_left(plane, &before)
        .await
        .context("nothing is left")?;
    plant(plane).await?;
    uproot(plane)?;
    let twice = check::each_was_created_once(&log, offset, &expected);
    ensure!(twice.is_err(), "what was made twice was not found");
    let nothing = check::each_was_created_once(&log, offset, &BTreeSet::new());
    ensure!(nothing.is_err(), "what nobody asked for was not found");
    Ok(())
}

async fn plant(plane: &Plane) -> Result<()> {
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

fn uproot(plane: &Plane) -> Result<()> {
    let kubectl = plane.kubectl()?;
    kubectl
        .run(&["delete", "configmap", "planted", "--namespace=default"])
        .map(drop)
}
