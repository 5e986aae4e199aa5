//! What a testbed has on the machine besides its state folder: what tests look for before and after it is removed.
//!
//! It asks the machine, by other marks than [`crate::cleanup`] goes by wherever there are two, so that it finds what
//! cleaning up forgets. A test that finds nothing afterwards must have found every sort before ([`Traces::sorts`]).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cleanup::{self, list, marked_processes, mounts_below, read_mounts};
use crate::network::link;
use crate::paths::Site;
use crate::process::output;

/// The sorts of traces that every cluster has.
pub const COMMON: [&str; 7] = [
    "process",
    "mount",
    "cgroup",
    "folder",
    "socket",
    "container log",
    "CNI result",
];
/// Those of a cluster in a network of its own.
pub const OWN_NETWORK: [&str; 2] = ["link", "network namespace"];
/// Those of a cluster in the machine's network.
pub const MACHINE_NETWORK: [&str; 1] = ["nftables"];

/// What was found at one time.
#[derive(Clone, Debug, Default)]
pub struct Traces(Vec<Trace>);

#[derive(Clone, Debug)]
struct Trace {
    sort: &'static str,
    what: String,
}

impl Traces {
    /// Looks for everything of this testbed.
    pub fn of(site: &Site) -> Result<Self> {
        let name = site.kernel_name();
        let namespace = PathBuf::from("/run/netns").join(&name);
        let mut found = Self::default();
        let processes = marked_processes(site)?.into_iter();
        found.add(
            "process",
            processes.map(|(id, command)| format!("{command} ({id})")),
        );
        let run = site.run();
        let folders = [&site.state, &run, &namespace].map(PathBuf::as_path);
        found.add_paths("mount", mounts_below(&read_mounts()?, &folders));
        found.add_paths("cgroup", cgroups(&name)?);
        found.add_paths("folder", Some(run).filter(|path| path.exists()));
        found.add_paths("network namespace", Some(namespace).filter(|path| path.exists()));
        found.add_paths("socket", sockets(site)?);
        found.add_paths("container log", container_logs(site)?);
        found.add_paths("CNI result", cni_results(&name)?);
        let links = output(Command::new("ip").args(["-o", "link"]))?;
        let link = format!(" {}@", link(site));
        found.add(
            "link",
            links
                .lines()
                .filter(|line| line.contains(&link))
                .map(str::to_owned),
        );
        let tables = output(Command::new("nft").args(["list", "tables"]))?;
        let table = format!("table ip {name}");
        found.add(
            "nftables",
            tables.lines().filter(|line| *line == table).map(str::to_owned),
        );
        Ok(found)
    }

    fn add(&mut self, sort: &'static str, found: impl IntoIterator<Item = String>) {
        self.0.extend(found.into_iter().map(|what| Trace { sort, what }));
    }

    fn add_paths(&mut self, sort: &'static str, found: impl IntoIterator<Item = PathBuf>) {
        self.add(sort, found.into_iter().map(|path| path.display().to_string()));
    }

    /// The sorts of what was found.
    #[must_use]
    pub fn sorts(&self) -> BTreeSet<&'static str> {
        self.0.iter().map(|trace| trace.sort).collect()
    }

    /// What there is of the testbed now, and what was found then and still exists: a shim's socket is known as the
    /// testbed's only as long as the bundle is there that names it.
    pub fn left(&self, site: &Site) -> Result<Vec<String>> {
        let now = Self::of(site)?.0.into_iter();
        let then = self.0.iter().filter(|trace| trace.sort == "socket");
        let then = then.filter(|trace| Path::new(&trace.what).exists()).cloned();
        let left = now
            .chain(then)
            .map(|trace| format!("{}: {}", trace.sort, trace.what));
        Ok(left.collect::<BTreeSet<_>>().into_iter().collect())
    }
}

fn cgroups(name: &str) -> Result<Vec<PathBuf>> {
    let root = PathBuf::from("/sys/fs/cgroup");
    let hierarchies = list(&root)?.into_iter().chain([root]);
    Ok(hierarchies
        .map(|path| path.join(name))
        .filter(|path| path.exists())
        .collect())
}

/// containerd's own, and those of its shims, which lie in a folder of the machine.
fn sockets(site: &Site) -> Result<Vec<PathBuf>> {
    let is_socket =
        |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let own = list(&site.run())?.into_iter();
    Ok(own
        .chain(cleanup::shim_sockets(site)?)
        .filter(is_socket)
        .collect())
}

/// The kubelet's links to the logs of containers.
fn container_logs(site: &Site) -> Result<Vec<PathBuf>> {
    let is_ours = |path: &PathBuf| fs::read_link(path).is_ok_and(|target| target.starts_with(&site.state));
    Ok(list(Path::new(cleanup::CONTAINER_LOGS))?
        .into_iter()
        .filter(is_ours)
        .collect())
}

/// What CNI remembers of the interfaces in the testbed's network.
fn cni_results(name: &str) -> Result<Vec<PathBuf>> {
    let network = format!("\"networkName\":\"{name}\"");
    // One that goes meanwhile is another testbed's.
    let is_ours = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains(&network));
    Ok(list(Path::new(cleanup::CNI_RESULTS))?
        .into_iter()
        .filter(is_ours)
        .collect())
}
