//! `DATABASE=postgresql`: the testbed's PostgreSQL, as an outside database that pods reach at the machine's address.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use threeport_testbed::{Postgres, PostgresOptions, progress};

use crate::release::NAMESPACE;
use crate::target::Target;

/// The Secret with the database's URL.
pub(crate) const SECRET: &str = "threeport-postgresql";
/// Where it listens: below the ephemeral range, and not among the ports that the testbed gives to tests.
pub(crate) const PORT: u16 = 26432;
const DATABASE: &str = "threeport";

/// Makes sure that the server runs and that the Secret with its URL and its authority is there.
pub(crate) fn provide(target: &Target) -> Result<()> {
    let cluster = target.cluster().context("only the testbed has a PostgreSQL")?;
    let address = cluster.machine_address();
    let runs = TcpStream::connect_timeout(&SocketAddr::from((address, PORT)), Duration::from_secs(2)).is_ok();
    if runs
        && target
            .run_kubectl(&["get", "secret", SECRET, "--namespace", NAMESPACE])
            .is_ok()
    {
        return Ok(());
    }
    let options = PostgresOptions {
        address,
        fsync: true,
        ..PostgresOptions::default()
    };
    let server = progress::step("Start PostgreSQL", Duration::from_secs(5), || {
        Postgres::start_detached(&options, cluster.site(), PORT)
    })?;
    let authority = server.authority();
    let authority = std::fs::read_to_string(&authority)
        .with_context(|| format!("failed to read {}", authority.display()))?;
    // The server's certificate is verified: its authority lies beside the URL in the pod.
    let url = server.ensure_database(DATABASE)?;
    let (url, _) = url.split_once('?').unwrap_or((&url, ""));
    let url = format!("{url}?sslmode=verify-full&sslrootcert=/etc/threeport/database/ca.crt");
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "stringData": {"url": url, "ca.crt": authority},
    });
    target.apply(&secret.to_string())
}
