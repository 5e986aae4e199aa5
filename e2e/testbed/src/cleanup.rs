//! Removing a testbed, or what a killed run left of one: processes, containers, mounts, network, cgroup.
//!
//! Everything is found by what marks it as this testbed's, never by a remembered process id: the environment of
//! processes ([`crate::process::MARK`]), the cgroup of containers, folders of mounts, names of kernel objects.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::paths::Site;
use crate::process::{MARK, environment_has, mark};
use crate::{cgroup, network, postgres, wait};

/// Stops and removes everything but the testbed's files. Nothing to remove is success.
pub fn release(site: &Site) -> Result<()> {
    stop_processes(site)?;
    cgroup::remove(&site.kernel_name())?;
    // Before their bundles go, which lie in the run folder.
    for socket in shim_sockets(site)? {
        remove_file(&socket)?;
    }
    unmount_below(&[&site.state, &site.run()])?;
    network::remove(site)?;
    remove_strays(site)
}

/// [`release`], then removes the testbed's files.
pub fn remove(site: &Site) -> Result<()> {
    release(site)?;
    for folder in [&site.state, &site.run()] {
        let mounts = mounts_below(&read_mounts()?, &[folder]);
        ensure!(
            mounts.is_empty(),
            "{} still has mounts below it: {mounts:?}",
            folder.display()
        );
    }
    remove_state(&site.state)?;
    remove_folder(&site.run())
}

/// The file that marks a folder as a testbed's.
pub(crate) const RECORD: &str = "testbed.json";

/// Removes a state folder, its mark last: what an interruption leaves is still known as a testbed's.
pub(crate) fn remove_state(folder: &Path) -> Result<()> {
    for path in list(folder)?
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name != RECORD))
    {
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let removed = if is_folder {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("failed to remove {}", path.display()))?;
    }
    remove_folder(folder)
}

/// Removes a folder; none is success.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The processes that carry this testbed's mark, as (id, command).
pub fn marked_processes(site: &Site) -> Result<Vec<(u32, String)>> {
    let entries = fs::read_dir("/proc").context("failed to list /proc")?;
    let ids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(ids
        .filter_map(|id| Some((id, marked_command(site, id)?)))
        .collect())
}

/// The command of a process if it carries this testbed's mark.
fn marked_command(site: &Site, id: u32) -> Option<String> {
    let folder = PathBuf::from(format!("/proc/{id}"));
    let command = fs::read_to_string(folder.join("comm")).ok()?.trim().to_owned();
    // PostgreSQL overwrites its environment with its status line; it works in its data folder.
    let is_database = command == "postgres"
        && fs::read_link(folder.join("cwd")).is_ok_and(|cwd| cwd == postgres::data_of(site));
    let is_marked = environment_has(id, MARK, &mark(&site.name));
    (id != std::process::id() && (is_database || is_marked)).then_some(command)
}

fn stop_processes(site: &Site) -> Result<()> {
    wait::until("stop the testbed's processes", Duration::from_secs(20), || {
        let found = marked_processes(site)?;
        for (id, _) in &found {
            kill(site, *id);
        }
        ensure!(found.is_empty(), "still running: {found:?}");
        Ok(())
    })
}

/// Ends a process that carries the mark.
fn kill(site: &Site, id: u32) {
    // PostgreSQL removes its shared memory on SIGQUIT, its fastest way to end.
    send(site, id, |command| {
        if command == "postgres" {
            Signal::QUIT
        } else {
            Signal::KILL
        }
    });
}

/// Sends a signal to every process of the testbed that runs this program; says how many there were.
pub fn signal(site: &Site, program: &str, signal: Signal) -> Result<usize> {
    // The kernel keeps 15 bytes of a program's name.
    let command = program.get(..15).unwrap_or(program);
    let found = marked_processes(site)?;
    let ids = found
        .iter()
        .filter(|(_, other)| other == command)
        .map(|(id, _)| *id)
        .collect::<Vec<_>>();
    for id in &ids {
        send(site, *id, |_| signal);
    }
    Ok(ids.len())
}

/// Signals a process if it still carries the mark. The handle pins the process, so that check and signal meet the
/// same one.
fn send(site: &Site, id: u32, signal: impl FnOnce(&str) -> Signal) {
    let handle = i32::try_from(id)
        .ok()
        .and_then(Pid::from_raw)
        .and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok());
    if let (Some(handle), Some(command)) = (handle, marked_command(site, id)) {
        // Failing means that it has ended.
        let _ = pidfd_send_signal(handle, signal(&command));
    }
}

pub(crate) fn read_mounts() -> Result<String> {
    fs::read_to_string("/proc/self/mounts").context("failed to read /proc/self/mounts")
}

fn unmount_below(folders: &[&Path]) -> Result<()> {
    for path in mounts_below(&read_mounts()?, folders) {
        unmount(&path, UnmountFlags::DETACH)
            .with_context(|| format!("failed to unmount {}", path.display()))?;
    }
    Ok(())
}

/// The mount points below the folders, last mounted first, given `/proc/self/mounts`.
pub(crate) fn mounts_below(mounts: &str, folders: &[&Path]) -> Vec<PathBuf> {
    let mut found = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|path| PathBuf::from(unescape(path)))
        .filter(|path| folders.iter().any(|folder| path.starts_with(folder)))
        .collect::<Vec<_>>();
    found.reverse();
    found
}

/// `/proc/mounts` writes space, tab, newline and backslash as octal escapes.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (escaped, plain)| {
            path.replace(escaped, plain)
        })
}

/// The kubelet's links to containers' logs, in a folder that can't be configured.
pub(crate) const CONTAINER_LOGS: &str = "/var/log/containers";
/// What CNI remembers of each interface that it made, in a folder that can't be configured.
pub(crate) const CNI_RESULTS: &str = "/var/lib/cni/results";
/// Where containerd's shims listen, whatever containerd's own folders are.
const SHIM_SOCKETS: &str = "/run/containerd/s";

/// What killed shims leave: a socket that is named by a digest. The shim's bundle, which lies in our folder, holds the
/// address.
pub(crate) fn shim_sockets(site: &Site) -> Result<Vec<PathBuf>> {
    let bundles = site.run().join("containerd/io.containerd.runtime.v2.task/k8s.io");
    let mut found = BTreeSet::new();
    for bundle in list(&bundles)? {
        let address = fs::read_to_string(bundle.join("address")).unwrap_or_default();
        let path = Path::new(address.trim().trim_start_matches("unix://"));
        if path.starts_with(SHIM_SOCKETS) && path.exists() {
            found.insert(path.to_owned());
        }
    }
    Ok(found.into_iter().collect())
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// What kubelet and CNI keep in folders of the machine.
fn remove_strays(site: &Site) -> Result<()> {
    let logs = site.path("pod-logs");
    for link in list(Path::new(CONTAINER_LOGS))? {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(&logs)) {
            remove_file(&link)?;
        }
    }
    // CNI's record of an interface names the pod's network namespace, which lies in our folder.
    let run = format!("\"{}/", site.run().display());
    for result in list(Path::new(CNI_RESULTS))? {
        if fs::read_to_string(&result).is_ok_and(|text| text.contains(&run)) {
            remove_file(&result)?;
        }
    }
    Ok(())
}

pub(crate) fn list(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| format!("failed to list {}", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_undone_in_reverse_and_only_ours() {
        let mounts = "tmpfs /state/a tmpfs rw 0 0\ntmpfs /state/a/b\\040c tmpfs rw 0 0\n\
            tmpfs /stateful tmpfs rw 0 0\ntmpfs /run/x/y tmpfs rw 0 0\n";
        let found = mounts_below(mounts, &[Path::new("/state"), Path::new("/run/x")]);
        assert_eq!(found, ["/run/x/y", "/state/a/b c", "/state/a"].map(PathBuf::from));
    }

    #[test]
    fn only_marked_processes_are_found() {
        let site = Site::new("marktest", Path::new("/tmp/marktest")).unwrap();
        let start = |value: String| {
            std::process::Command::new("sleep")
                .arg("60")
                .env(MARK, value)
                .spawn()
                .unwrap()
        };
        let (mut ours, mut foreign) = (start(mark("marktest")), start(mark("marktest-2")));
        let found = wait::until("see the process", Duration::from_secs(5), || {
            let found = marked_processes(&site)?;
            ensure!(found.iter().any(|(_, command)| command == "sleep"), "not yet");
            Ok(found)
        })
        .unwrap();
        assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [ours.id()]);
        for child in [&mut ours, &mut foreign] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
