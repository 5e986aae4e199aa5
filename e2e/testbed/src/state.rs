//! What a cluster keeps in its state folder, and how that folder is taken over from an earlier start.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::cleanup::RECORD;
use crate::network::Network;
use crate::paths::{Site, create_folder, write_file};
use crate::process::Lifetime;
use crate::{binaries, cleanup, progress};

/// What is remembered of a cluster in its state folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) network: Option<Network>,
    /// Whether a start was completed: its data are worth keeping.
    pub(crate) complete: bool,
}

/// Releases leftovers and readies the state folder.
pub(crate) fn prepare(site: &Site, lifetime: Lifetime) -> Result<()> {
    refuse_second_home(site)?;
    let record = read_record(site)?;
    ensure!(
        record.is_some() || is_empty(&site.state)?,
        "{} is not empty and no testbed's state folder: choose another one",
        site.state.display()
    );
    cleanup::release(site)?;
    let keeps_data = lifetime == Lifetime::Detached && record.is_some_and(|record| record.complete);
    if keeps_data {
        eprintln!("Continue with the data of {}", site.state.display());
        // Every container is gone: addresses are given anew.
        cleanup::remove_folder(&site.path("cni-addresses"))?;
    } else {
        cleanup::remove_state(&site.state)?;
    }
    cleanup::remove_folder(&site.run())?;
    create_folder(&site.state)?;
    write_record(site, None, keeps_data)?;
    write_file(
        &site.run().join("state"),
        site.state.as_os_str().as_encoded_bytes(),
    )
}

/// The same name must not be started from two state folders, e.g. of two checkouts.
fn refuse_second_home(site: &Site) -> Result<()> {
    let home = fs::read_to_string(site.run().join("state")).unwrap_or_default();
    if home.is_empty() || Path::new(&home) == site.state {
        return Ok(());
    }
    let running = cleanup::marked_processes(site)?;
    ensure!(
        running.is_empty(),
        "a testbed {:?} is already up with its data in {home}: take it down there (`make down`) first",
        site.name
    );
    Ok(())
}

/// One start or stop of a name at a time.
pub(crate) fn lock(site: &Site) -> Result<File> {
    let path = site.run().with_extension("lock");
    create_folder(path.parent().unwrap_or_else(|| Path::new("/run")))?;
    let file = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    if file.try_lock().is_err() {
        let what = format!("Wait for another process that holds the testbed {:?}", site.name);
        progress::step(&what, Duration::ZERO, || {
            file.lock()
                .with_context(|| format!("failed to lock {}", path.display()))
        })?;
    }
    Ok(file)
}

pub(crate) fn is_empty(folder: &Path) -> Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("failed to list {}", folder.display())),
    }
}

pub(crate) fn read_record(site: &Site) -> Result<Option<Record>> {
    let path = site.path(RECORD);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("failed to parse {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
}

pub(crate) fn write_record(site: &Site, network: Option<Network>, complete: bool) -> Result<()> {
    let record = Record {
        name: site.name.clone(),
        network,
        complete,
    };
    write_file(&site.path(RECORD), serde_json::to_vec_pretty(&record)?)
}

/// `bin/` with the tools, and `env` to source.
pub(crate) fn write_environment(site: &Site) -> Result<()> {
    let folder = site.path("bin");
    create_folder(&folder)?;
    for (name, target) in binaries::of_every_testbed()? {
        let link = folder.join(name);
        if fs::read_link(&link).ok().as_ref() != Some(&target) {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&target, &link)
                .with_context(|| format!("failed to link {}", link.display()))?;
        }
    }
    let text = format!(
        "export PATH=\"{}:$PATH\"\nexport KUBECONFIG=\"{}\"\n",
        folder.display(),
        site.path("kubeconfig").display()
    );
    write_file(&site.path("env"), text)
}
