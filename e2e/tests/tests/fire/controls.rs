//! Positive controls: what the checks are to find is planted, and they find it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use threeport_e2e::{
    audit,
    inventory::{self, PLANTED, plant, uproot},
    leftovers,
    plane::Plane,
};

use crate::check;

/// An object that carries our label and is in no inventory, is left, and was made twice by one of us.
pub(crate) async fn what_is_planted_is_found(plane: &Plane) -> Result<()> {
    let before = leftovers::everything(&plane.cluster).await?;
    let log = plane.audit_log();
    let offset = audit::end(&log)?;
    let expected = BTreeSet::from([PLANTED.to_owned()]);

    plant(plane).await?;
    inventory::what_is_planted_is_found(plane).await?;
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
