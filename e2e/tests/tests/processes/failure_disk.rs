//! The disk of an SQLite database is full: writes are refused by name and nothing of them stays, reads go on, and with
//! room again writes go on without a restart.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use threeport_client::{Client, Error};
use threeport_e2e::wait_until;
use threeport_model::{Code, KindDescriptor, Object, find_kind};

use crate::api::Installation;

/// Room for a fresh database and some objects.
const ROOM: &str = "8m";
/// The value that each object holds: a few dozen of them fill the disk.
const BYTES: usize = 100_000;
/// More objects than fit.
const MOST: usize = 400;

/// A disk of its own.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(room: &str) -> Result<Self> {
        let disk = Self(tempfile::tempdir()?);
        disk.mount(&["-t", "tmpfs", "-o", &format!("size={room}"), "tmpfs"])?;
        Ok(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn grow(&self, room: &str) -> Result<()> {
        self.mount(&["-o", &format!("remount,size={room}")])
    }

    fn mount(&self, arguments: &[&str]) -> Result<()> {
        let status = Command::new("mount").args(arguments).arg(self.path()).status();
        let status = status.context("failed to run mount")?;
        ensure!(status.success(), "mount {arguments:?} ended with {status}");
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

fn definition(index: usize) -> Object {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "x".repeat(BYTES)}});
    Object::new(
        "WorkloadDefinition",
        &format!("large-{index}"),
        json!({"manifests": [map]}),
    )
}

/// Creates objects until one is refused: how many were taken, and the refusal.
async fn fill(client: &Client, kind: &KindDescriptor) -> Result<(usize, Error)> {
    for index in 0..MOST {
        if let Err(error) = client.object_create(kind, &definition(index)).await {
            return Ok((index, error));
        }
    }
    anyhow::bail!("{MOST} objects were taken: the disk did not fill")
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_a_full_disk_refuses_writes_and_loses_none() -> Result<()> {
    let disk = Disk::new(ROOM)?;
    let database = disk.path().join("threeport.db");
    let installation = Installation::on(format!("sqlite://{}", database.display())).await?;
    let api = installation.start().await?;
    let kind = find_kind("WorkloadDefinition").context("no such kind")?;

    let (taken, refused) = fill(&api.client, kind).await?;
    ensure!(taken > 0, "nothing fitted: {refused}");
    ensure!(
        refused.code() == Some(Code::Unavailable) && refused.to_string().contains("disk is full"),
        "{refused:?}"
    );
    let listed = api.client.object_list_all(kind, None).await?.0;
    ensure!(
        listed.len() == taken,
        "{taken} were acknowledged, {} are there",
        listed.len()
    );

    disk.grow("64m")?;
    wait_until("writes go on", Duration::from_secs(10), || async {
        let created = api.client.object_create(kind, &definition(taken)).await;
        Ok(created.map(drop).map_err(|error| error.to_string()))
    })
    .await?;
    ensure!(
        api.client.object_list_all(kind, None).await?.0.len() == taken + 1,
        "what was refused is there"
    );
    println!("{taken} objects of {BYTES} bytes fitted into {ROOM}");
    Ok(())
}
