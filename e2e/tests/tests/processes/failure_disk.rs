//! The disk of a database is full: writes are refused by name and nothing of them stays, reads go on, and with room again
//! writes go on without a restart.
//!
//! Of PostgreSQL that is the disk of its data. Where that of its log (`pg_wal`) is full it ends instead, and nobody is left to
//! refuse anything: that is a database that is down, until there is room and somebody starts it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rand::distr::{Alphanumeric, SampleString};
use serde_json::json;
use threeport_client::{Client, Error};
use threeport_e2e::wait_until;
use threeport_model::{Code, KindDescriptor, Object, find_kind};
use threeport_testbed::{
    postgres::{Postgres, PostgresOptions},
    scratch::Scratch,
};
use tokio::task::block_in_place;

use crate::api::Installation;

/// Room for a fresh database of SQLite and some objects.
const ROOM: &str = "8m";
/// The same of PostgreSQL, which begins with a copy of a template of 8 MiB.
const ROOM_OF_A_SERVER: &str = "24m";
/// The log of a fresh server, its databases and some objects.
const ROOM_OF_A_LOG: &str = "32m";
const MORE_ROOM: &str = "64m";
/// A server that can't write its log tries to recover before it gives up.
const ENDS: Duration = Duration::from_secs(60);
/// The value that each object holds: a few dozen of them fill the disk.
const BYTES: usize = 100_000;
/// More objects than fit.
const MOST: usize = 400;

/// A disk of its own, which the user of a server may enter.
struct Disk(Scratch);

impl Disk {
    fn new(room: &str) -> Result<Self> {
        let disk = Self(Scratch::new("disk")?);
        fs::create_dir(disk.path()).context("failed to create a folder to mount at")?;
        mount(
            &["-t", "tmpfs", "-o", &format!("size={room}"), "tmpfs"],
            &disk.path(),
        )?;
        Ok(disk)
    }

    fn path(&self) -> PathBuf {
        self.0.join("disk")
    }

    fn grow(&self, room: &str) -> Result<()> {
        mount(&["-o", &format!("remount,size={room}")], &self.path())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> Result<()> {
    let status = Command::new("mount").args(arguments).arg(at).status();
    let status = status.context("failed to run mount")?;
    ensure!(status.success(), "mount {arguments:?} ended with {status}");
    Ok(())
}

/// What can't be made smaller: PostgreSQL compresses.
fn definition(index: usize) -> Object {
    let value = Alphanumeric.sample_string(&mut rand::rng(), BYTES);
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": value}});
    Object::new(
        "WorkloadDefinition",
        &format!("large-{index:03}"),
        json!({"manifests": [map]}),
    )
}

/// Creates objects until one is refused: those that were taken, as they were answered, and the refusal.
async fn fill(client: &Client, kind: &KindDescriptor) -> Result<(Vec<Object>, Error)> {
    let mut taken = Vec::new();
    for index in 0..MOST {
        match client.object_create(kind, &definition(index)).await {
            Ok(object) => taken.push(object),
            Err(error) => return Ok((taken, error)),
        }
    }
    anyhow::bail!("{MOST} objects were taken: the disk did not fill")
}

/// Fills the disk that the database is on, and makes room again.
async fn is_filled_and_grows(disk: &Disk, database_url: String) -> Result<()> {
    let installation = Installation::on(database_url).await?;
    let api = installation.start().await?;
    let kind = find_kind("WorkloadDefinition").context("no such kind")?;

    let (mut taken, refused) = fill(&api.client, kind).await?;
    ensure!(!taken.is_empty(), "nothing fitted: {refused}");
    ensure!(
        refused.code() == Some(Code::Unavailable) && refused.to_string().contains("disk is full"),
        "{refused:?}"
    );
    println!("{} objects of {BYTES} bytes fitted", taken.len());
    is_there(&api.client, kind, &taken).await?;

    disk.grow(MORE_ROOM)?;
    let next = definition(taken.len());
    let created = wait_until("writes go on", Duration::from_secs(10), || async {
        let created = api.client.object_create(kind, &next).await;
        Ok(created.map_err(|error| error.to_string()))
    });
    taken.push(created.await?);
    is_there(&api.client, kind, &taken).await
}

/// What was acknowledged is there, as it was acknowledged, and nothing else is.
async fn is_there(client: &Client, kind: &KindDescriptor, taken: &[Object]) -> Result<()> {
    let listed = client.object_list_all(kind, None).await?.0;
    let names = |objects: &[Object]| -> Vec<String> { objects.iter().map(Object::reference).collect() };
    ensure!(
        listed == taken,
        "{:?} were acknowledged, {:?} are there",
        names(taken),
        names(&listed)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_a_full_disk_refuses_writes_and_loses_none() -> Result<()> {
    let disk = Disk::new(ROOM)?;
    let database = disk.path().join("threeport.db");
    is_filled_and_grows(&disk, format!("sqlite://{}", database.display())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_a_full_disk_of_postgresql_refuses_writes_and_loses_none() -> Result<()> {
    let disk = Disk::new(ROOM_OF_A_SERVER)?;
    let server = block_in_place(|| Postgres::start(&PostgresOptions::default()))?;
    let url = block_in_place(|| server.create_database_in("threeport", &disk.path()))?;
    is_filled_and_grows(&disk, url).await
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_a_full_disk_of_postgresql_s_log_is_a_database_that_is_down() -> Result<()> {
    let disk = Disk::new(ROOM_OF_A_LOG)?;
    let options = PostgresOptions {
        log_ahead: Some(disk.path()),
        ..PostgresOptions::default()
    };
    let mut server = block_in_place(|| Postgres::start(&options))?;
    let url = block_in_place(|| server.create_database("threeport", None))?;
    let installation = Installation::on(url).await?;
    let api = installation.start().await?;
    let kind = find_kind("WorkloadDefinition").context("no such kind")?;

    let (mut taken, refused) = fill(&api.client, kind).await?;
    ensure!(!taken.is_empty(), "nothing fitted: {refused}");
    ensure!(refused.code() == Some(Code::Unavailable), "{refused:?}");
    println!("{} objects of {BYTES} bytes fitted: {refused}", taken.len());
    let mut ended = || {
        Ok(server
            .process()?
            .exit_status()?
            .ok_or_else(|| "it runs".to_owned()))
    };
    wait_until("the server ends by itself", ENDS, || std::future::ready(ended())).await?;
    let meanwhile = api.client.object_list_all(kind, None).await;
    ensure!(
        meanwhile.as_ref().err().and_then(Error::code) == Some(Code::Unavailable),
        "{meanwhile:?}"
    );

    disk.grow(MORE_ROOM)?;
    block_in_place(|| server.kill().and_then(|()| server.resume()))?;
    let next = definition(MOST);
    let created = wait_until("writes go on", Duration::from_secs(10), || async {
        let created = api.client.object_create(kind, &next).await;
        Ok(created.map_err(|error| error.to_string()))
    });
    // Of the one that was not acknowledged nothing was promised.
    let doubtful = definition(taken.len()).reference();
    taken.push(created.await?);
    let mut listed = api.client.object_list_all(kind, None).await?.0;
    listed.retain(|object| object.reference() != doubtful);
    ensure!(listed == taken, "{} of {} are there", listed.len(), taken.len());
    Ok(())
}
