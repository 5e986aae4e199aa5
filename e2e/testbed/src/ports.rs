//! Free TCP ports of the machine.
//!
//! They come from below the kernel's ephemeral range, so no outgoing connection takes one between the choice and
//! the listening, and each is held by a file lock until this process ends, so that no other testbed chooses it.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use crate::paths::create_own_folder;

const FIRST: u16 = 15_000;
const COUNT: u16 = 10_000;
const LOCKS: &str = "/tmp/threeport-testbed/ports";

/// A port on which nobody listens and which this process, until it ends, is the only testbed to be given.
pub fn free() -> Result<u16> {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    create_own_folder(Path::new(LOCKS))?;
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    // Different processes begin at different places, so that they seldom try each other's.
    let offset = u16::try_from(u64::from(std::process::id()) * 61 % u64::from(COUNT)).unwrap_or_default();
    for step in 0..COUNT {
        let port = FIRST + (offset + step) % COUNT;
        let path = Path::new(LOCKS).join(port.to_string());
        let lock = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
        if lock.try_lock().is_ok() && is_free(port) {
            held.push(lock);
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// Whether nobody listens on the port, on any IPv4 address.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ports_are_given_once() {
        let ports = (0..50).map(|_| free().unwrap()).collect::<HashSet<_>>();
        assert_eq!(ports.len(), 50);
    }

    #[test]
    fn a_listener_is_seen() {
        let port = free().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
        drop(listener);
        assert!(is_free(port));
    }
}
