//! Debian's packages that a testbed runs on: what is missing is installed, nothing is upgraded.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::paths::{cache, create_folder, write_file};
use crate::process::log_tail;
use crate::progress;

/// A package and files of which any says that it, or another vendor's package of the like, is installed.
const PACKAGES: &[(&str, &[&str])] = &[
    ("ca-certificates", &["/etc/ssl/certs/ca-certificates.crt"]),
    // Not the testbed's own need: README's tour and what `make up` prints at its end call it.
    ("curl", &["/usr/bin/curl"]),
    ("iproute2", &["/usr/bin/ip", "/usr/sbin/ip"]),
    ("nftables", &["/usr/sbin/nft"]),
    ("conntrack", &["/usr/sbin/conntrack"]),
    ("containerd", &["/usr/bin/containerd"]),
    ("runc", &["/usr/sbin/runc", "/usr/bin/runc"]),
    ("containernetworking-plugins", &["/usr/lib/cni/ptp"]),
    ("busybox-static", &["/usr/bin/busybox"]),
    ("postgresql", &["/usr/lib/postgresql"]),
    ("postgresql-client", &["/usr/bin/psql"]),
    ("openssl", &["/usr/bin/openssl"]),
    ("skopeo", &["/usr/bin/skopeo"]),
];

/// The file that keeps Debian's package from making and starting a server on port 5432.
pub const NO_SERVER: &str = "/etc/postgresql-common/createcluster.d/threeport-testbed.conf";

/// The packages that are missing.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    missing_from(|file| Path::new(file).exists())
}

/// The packages that a machine lacks which has such files.
fn missing_from(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    PACKAGES
        .iter()
        .filter(|(_, files)| !files.iter().any(|file| has(file)))
        .map(|(package, _)| *package)
        .collect()
}

/// Installs what is missing, by apt.
pub fn install() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let no_server = Path::new(NO_SERVER);
    if missing.contains(&"postgresql") && !no_server.exists() {
        write_file(no_server, "create_main_cluster = false\n")?;
    }
    let log = cache()?.join("install.log");
    create_folder(&cache()?)?;
    progress::step("Fetch Debian's package lists", Duration::from_secs(10), || {
        apt(&log, &["update"])
    })?;
    let what = format!("Install Debian packages: {}", missing.join(" "));
    progress::step(&what, Duration::from_secs(60), || {
        apt(
            &log,
            &[
                &[
                    "install",
                    "--yes",
                    "--no-install-recommends",
                    "--no-upgrade",
                    "--no-remove",
                ],
                missing.as_slice(),
            ]
            .concat(),
        )
    })?;
    let left = self::missing();
    ensure!(
        left.is_empty(),
        "apt installed {missing:?}, yet these are still missing: {left:?}"
    );
    Ok(())
}

fn apt(log: &Path, arguments: &[&str]) -> Result<()> {
    let output = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("failed to open {}", log.display()))?;
    let status = Command::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("failed to duplicate a log's handle")?)
        .stderr(output)
        .status()
        .context("failed to run apt-get: the testbed installs on Debian 12")?;
    ensure!(
        status.success(),
        "apt-get {} ended with {status}; the end of {}:\n{}",
        arguments.first().unwrap_or(&""),
        log.display(),
        log_tail(log)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_missing_until_any_of_its_files_is_there() {
        let all: Vec<&str> = PACKAGES.iter().map(|(package, _)| *package).collect();
        assert_eq!(missing_from(|_| false), all);
        assert_eq!(missing_from(|_| true), Vec::<&str>::new());
        for (package, files) in PACKAGES {
            for file in *files {
                let others: Vec<&str> = all.iter().copied().filter(|other| other != package).collect();
                assert_eq!(missing_from(|found| found == *file), others, "with {file} alone");
            }
        }
    }

    #[test]
    fn a_debian_with_nothing_but_what_it_begins_with_lacks_what_a_testbed_runs_on() {
        let fresh = [
            "/etc/ssl/certs/ca-certificates.crt",
            "/usr/bin/openssl",
            "/usr/sbin/ip",
        ];
        assert_eq!(
            missing_from(|file| fresh.contains(&file)),
            [
                "curl",
                "nftables",
                "conntrack",
                "containerd",
                "runc",
                "containernetworking-plugins",
                "busybox-static",
                "postgresql",
                "postgresql-client",
                "skopeo"
            ]
        );
    }
}
