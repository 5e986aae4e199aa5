//! A network namespace that stands for the network of a machine.
//!
//! Entered by the thread that calls, so by all threads and programs that this one starts from then on. Processes, mounts
//! and cgroups are the machine's: only where addresses, ports and packet filters live is another one.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use threeport_testbed::paths::Site;
use threeport_testbed::process::output;
use threeport_testbed::{cleanup, cluster};

pub(crate) struct Machine {
    name: String,
    site: Site,
}

impl Machine {
    /// Makes it anew, after removing what a killed run of this test left, and enters it.
    pub(crate) fn enter(name: &str, site: &Site) -> Result<Self> {
        let machine = Self {
            name: format!("threeport-test-{name}"),
            site: site.clone(),
        };
        machine.remove()?;
        ip(&["netns", "add", &machine.name])?;
        let path = Path::new("/run/netns").join(&machine.name);
        let namespace = File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("failed to enter the network namespace")?;
        ip(&["link", "set", "lo", "up"])?;
        Ok(machine)
    }

    /// Addresses, routes and tables of the packet filter: all of what a testbed may leave in a machine's network.
    pub(crate) fn network(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for arguments in [
            ["-o", "address", "show"].as_slice(),
            &["-o", "link", "show"],
            &["route", "show", "table", "all"],
        ] {
            found.extend(ip(arguments)?.lines().map(str::to_owned));
        }
        found.extend(
            output(Command::new("nft").args(["list", "tables"]))?
                .lines()
                .map(str::to_owned),
        );
        Ok(found)
    }

    fn remove(&self) -> Result<()> {
        cluster::down(&self.site)?;
        if Path::new("/run/netns").join(&self.name).exists() {
            ip(&["netns", "delete", &self.name])?;
        }
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its state folder is kept where a test failed: its logs say why. The next run removes it.
        let removed =
            cleanup::release(&self.site).and_then(|()| ip(&["netns", "delete", &self.name]).map(drop));
        if let Err(error) = removed {
            eprintln!("{error:#}");
        }
    }
}

fn ip(arguments: &[&str]) -> Result<String> {
    output(Command::new("ip").args(arguments))
}
