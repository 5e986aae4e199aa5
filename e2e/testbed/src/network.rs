//! A testbed's network: the machine's own namespace (addresses that a person reaches), or one of its own joined
//! to the machine by a veth pair (several testbeds at once).
//!
//! The node's address is the testbed's alone, so it depends on nothing of the machine: it comes from 198.18.0.0/15,
//! which RFC 2544 sets aside for test beds. Pods get addresses of their own behind it.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::paths::{Site, create_folder};
use crate::process::output;

/// Where pods' addresses come from.
pub const POD_RANGE: &str = "10.244.0.0/16";
/// Where Services' addresses come from.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The address of the `kubernetes` Service.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The address of the `kube-dns` Service.
pub const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The node's address in the machine's own namespace.
pub const HOST_NODE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// Which network namespace a testbed lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The machine's own: at most one testbed.
    Machine,
    /// One of its own.
    Own,
}

/// A testbed's network, as made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Which kind it is.
    pub kind: Kind,
    /// The file of the namespace, for `nsenter --net=`; none is the machine's own.
    pub namespace: Option<PathBuf>,
    /// The node's address: of the API server, the kubelet and NodePorts; reachable from the machine and from pods.
    pub node: Ipv4Addr,
    /// The machine's address as pods see it: where a process of the machine's own namespace is reached.
    pub machine: Ipv4Addr,
}

/// Makes the network; what is there of it already stays.
pub fn create(site: &Site, kind: Kind) -> Result<Network> {
    match kind {
        Kind::Machine => {
            let node = HOST_NODE.to_string();
            ip(&["address", "replace", &format!("{node}/32"), "dev", "lo"])?;
            // kube-proxy redirects what is sent to Services, but only what has a route is sent: a machine need not have a
            // default one.
            ip(&["route", "replace", SERVICE_RANGE, "dev", "lo", "src", &node])?;
            let network = Network {
                kind,
                namespace: None,
                node: HOST_NODE,
                machine: HOST_NODE,
            };
            masquerade(site, &network)?;
            Ok(network)
        }
        Kind::Own => create_own(site),
    }
}

fn create_own(site: &Site) -> Result<Network> {
    let run = site.run();
    create_folder(&run)?;
    let lock_path = run.with_file_name("network.lock");
    let lock =
        File::create(&lock_path).with_context(|| format!("failed to create {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("failed to lock {}", lock_path.display()))?;
    let (machine, node) = free_pair(&ip(&["-4", "-o", "address", "show"])?)?;
    let (name, link) = (site.kernel_name(), link(site));
    ip(&["netns", "add", &name])?;
    ip(&[
        "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &name,
    ])?;
    ip(&["address", "add", &format!("{machine}/30"), "dev", &link])?;
    ip(&["link", "set", &link, "up"])?;
    for arguments in [
        vec!["link", "set", "lo", "up"],
        vec!["address", "add", &format!("{node}/30"), "dev", "eth0"],
        vec!["link", "set", "eth0", "up"],
        vec!["route", "add", "default", "via", &machine.to_string()],
    ] {
        ip(&[&["-n", name.as_str()], arguments.as_slice()].concat())?;
    }
    let namespace = Some(PathBuf::from("/run/netns").join(&name));
    let network = Network {
        kind: Kind::Own,
        namespace,
        node,
        machine,
    };
    masquerade(site, &network)?;
    Ok(network)
}

/// Removes what [`create`] made, of either kind, and kube-proxy's tables of the machine's own namespace if this
/// testbed lived there.
pub fn remove(site: &Site) -> Result<()> {
    let name = site.kernel_name();
    // Before the namespace, whose end takes its interfaces along some time later.
    let link = link(site);
    if PathBuf::from("/sys/class/net").join(&link).exists() {
        ip(&["link", "delete", &link])?;
    }
    if PathBuf::from("/run/netns").join(&name).exists() {
        ip(&["netns", "delete", &name])?;
    }
    let tables = output(Command::new("nft").args(["list", "tables"]))?;
    // The table of that name says that the testbed lived in the machine's own namespace.
    if tables.lines().any(|line| line == format!("table ip {name}")) {
        for table in ["ip kube-proxy", "ip6 kube-proxy", &format!("ip {name}")] {
            if tables.lines().any(|line| line == format!("table {table}")) {
                nft(None, &format!("delete table {table}"))?;
            }
        }
        let addresses = ip(&["-4", "-o", "address", "show", "dev", "lo"])?;
        if addresses.contains(&format!(" {HOST_NODE}/32 ")) {
            // The route to Services goes with its source address.
            ip(&["address", "delete", &format!("{HOST_NODE}/32"), "dev", "lo"])?;
        }
    }
    Ok(())
}

/// Lets pods reach what is outside of the cluster under the node's address.
fn masquerade(site: &Site, network: &Network) -> Result<()> {
    let name = site.kernel_name();
    let rules = format!(
        "add table ip {name}
         delete table ip {name}
         add table ip {name}
         add chain ip {name} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}
         add rule ip {name} postrouting ip saddr {POD_RANGE} ip daddr != {POD_RANGE} masquerade
"
    );
    nft(network.namespace.as_ref(), &rules)
}

fn nft(namespace: Option<&PathBuf>, rules: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new().context("failed to create a temporary file")?;
    fs::write(file.path(), rules).context("failed to write nftables rules")?;
    let mut command = match namespace {
        Some(namespace) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", namespace.display())).arg("nft");
            command
        }
        None => Command::new("nft"),
    };
    output(command.arg("-f").arg(file.path())).map(|_| ())
}

fn ip(arguments: &[&str]) -> Result<String> {
    output(Command::new("ip").args(arguments))
}

/// The machine's end of the veth pair.
pub(crate) fn link(site: &Site) -> String {
    format!("tb-{}", site.name)
}

/// The first pair of addresses (the machine's, the node's) that no interface has, given `ip -4 -o address show`.
/// Each pair is a /30; the first belongs to the testbed in the machine's own namespace.
fn free_pair(addresses: &str) -> Result<(Ipv4Addr, Ipv4Addr)> {
    for index in 1..1024_u32 {
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + index * 4;
        let (machine, node) = (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2));
        if !addresses.contains(&format!(" {machine}/")) {
            return Ok((machine, node));
        }
    }
    bail!("1023 testbeds are running: no pair of addresses is left");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_pair_is_taken() {
        let none = free_pair("1: lo    inet 198.18.0.1/32 scope global lo").unwrap();
        assert_eq!(none, (Ipv4Addr::new(198, 18, 0, 5), Ipv4Addr::new(198, 18, 0, 6)));
        let one = free_pair("7: tb-a    inet 198.18.0.5/30 scope global tb-a").unwrap();
        assert_eq!(one.0, Ipv4Addr::new(198, 18, 0, 9));
    }
}
