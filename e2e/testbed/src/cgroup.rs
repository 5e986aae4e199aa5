//! A testbed's cgroup: the root of its kubelet's, on cgroup v1 and v2.
//!
//! Every container of the testbed is below it, which is how a later run finds what a killed one left.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Which of the kernel's two interfaces is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy per controller.
    V1,
    /// One hierarchy.
    V2,
}

/// What `/sys/fs/cgroup` is.
#[must_use]
pub fn version() -> Version {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        Version::V2
    } else {
        Version::V1
    }
}

/// The mount points of all hierarchies, from `/proc/mounts`: v1's and, beside them or alone, v2's.
fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (path, kind) = (fields.next()?, fields.next()?);
            (kind.starts_with("cgroup") && path.starts_with("/sys/fs/cgroup")).then(|| PathBuf::from(path))
        })
        .filter(|path| seen.insert(path.clone()))
        .collect()
}

fn roots(name: &str) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/mounts").context("failed to read /proc/mounts")?;
    Ok(hierarchies(&mounts)
        .into_iter()
        .map(|path| path.join(name))
        .collect())
}

/// Creates the cgroup in every hierarchy.
pub fn create(name: &str) -> Result<()> {
    let roots = roots(name)?;
    ensure!(
        !roots.is_empty(),
        "no cgroup hierarchy is mounted below /sys/fs/cgroup"
    );
    for root in roots {
        let context = || format!("failed to create the cgroup {}", root.display());
        fs::create_dir_all(&root).with_context(context)?;
        let parent = root.parent().unwrap_or_else(|| Path::new("/"));
        match version() {
            Version::V1 => copy_cpuset(parent, &root).with_context(context)?,
            Version::V2 => enable_controllers(parent).with_context(context)?,
        }
    }
    Ok(())
}

/// A new v1 cpuset is empty, and nothing can run in an empty one.
fn copy_cpuset(parent: &Path, root: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if parent.join(file).exists() {
            fs::write(root.join(file), fs::read_to_string(parent.join(file))?.trim())?;
        }
    }
    Ok(())
}

/// A v2 cgroup has the controllers that its parent hands down.
fn enable_controllers(parent: &Path) -> io::Result<()> {
    let available = fs::read_to_string(parent.join("cgroup.controllers"))?;
    for controller in ["cpuset", "cpu", "memory", "pids"] {
        if available.split_whitespace().any(|name| name == controller) {
            fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
    }
    Ok(())
}

/// The processes in the cgroup and below it.
pub fn processes(name: &str) -> Result<BTreeSet<i32>> {
    let mut found = BTreeSet::new();
    for root in roots(name)? {
        for folder in tree(&root) {
            let list = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
    }
    Ok(found)
}

/// Kills every process in it and removes it.
pub fn remove(name: &str) -> Result<()> {
    wait::until(
        &format!("empty the cgroup {name}"),
        Duration::from_secs(20),
        || {
            let left = processes(name)?;
            for id in left.iter().filter_map(|id| Pid::from_raw(*id)) {
                // It may have ended meanwhile.
                let _ = kill_process(id, Signal::KILL);
            }
            ensure!(left.is_empty(), "processes are left: {left:?}");
            Ok(())
        },
    )?;
    for root in roots(name)? {
        for folder in tree(&root) {
            wait::until(
                &format!("remove the cgroup {}", folder.display()),
                Duration::from_secs(5),
                || match fs::remove_dir(&folder) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                    _ => Ok(()),
                },
            )?;
        }
    }
    Ok(())
}

/// The folder and all below it, children first; empty if there is none.
fn tree(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let children = fs::read_dir(root).into_iter().flatten().flatten();
    for child in children.filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir())) {
        found.extend(tree(&child.path()));
    }
    if root.exists() {
        found.push(root.to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_of_both_versions() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
            cgroup2 /elsewhere cgroup2 rw 0 0\n";
        assert_eq!(
            hierarchies(mounts),
            ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"].map(PathBuf::from)
        );
    }
}
