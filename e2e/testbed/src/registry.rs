//! A container registry (the distribution project's), on a free port.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::paths::write_file;
use crate::process::{Host, Lifetime, Process, Program, mark};
use crate::scratch::Scratch;
use crate::{binaries, ports, wait};

/// A real registry without TLS and authentication. It stops when dropped, and with the process that started it.
#[derive(Debug)]
pub struct Registry {
    _process: Process,
    address: SocketAddr,
    _folder: Scratch,
}

impl Registry {
    /// Starts it on a free port of `address` and waits until it answers.
    pub fn start(address: Ipv4Addr) -> Result<Self> {
        let folder = Scratch::new("registry")?;
        let address = SocketAddr::from((address, ports::free()?));
        let config = json!({
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": folder.join("data")}, "delete": {"enabled": true}},
            "http": {"addr": address},
        });
        // JSON is YAML.
        write_file(&folder.join("registry.yaml"), config.to_string())?;
        let host = Host {
            mark: mark("bare"),
            logs: folder.join("log"),
            network: None,
            lifetime: Lifetime::Tied,
        };
        let program = Program::new("registry", binaries::path("registry")?)
            .arg("serve")
            .arg(folder.join("registry.yaml"));
        let mut process = host.start(program)?;
        wait::served(
            &mut process,
            "wait for the registry",
            Duration::from_secs(20),
            || TcpStream::connect_timeout(&address, Duration::from_secs(1)).context("failed to connect"),
        )?;
        Ok(Self {
            _process: process,
            address,
            _folder: folder,
        })
    }

    /// Where it listens: the first part of the images' references.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
