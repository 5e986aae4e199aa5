//! What must hold before a testbed starts, each with what to do where it does not.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::network::{HOST_NODE, Kind, POD_RANGE, SERVICE_RANGE};
use crate::paths::{Site, cache};
use crate::process::output;
use crate::{binaries, cgroup, cleanup, install, ports};

/// A port, and what listens on it.
pub type Port = (u16, &'static str);

/// Ports of a testbed that lives in the machine's own network.
const PORTS: &[Port] = &[
    (6443, "kube-apiserver"),
    (10250, "kubelet"),
    (10248, "kubelet's health"),
    (10249, "kube-proxy's metrics"),
    (10256, "kube-proxy's health"),
    (10257, "kube-controller-manager"),
    (10259, "kube-scheduler"),
    (12379, "etcd"),
    (12380, "etcd's peers"),
];
const GIGABYTE: u64 = 1 << 30;
const DISK_NEEDED: u64 = 12 * GIGABYTE;
const MEMORY_NEEDED: u64 = 3 * GIGABYTE;
/// How long Kubernetes takes to start.
pub const START: Duration = Duration::from_secs(25);

/// One line of the check.
#[derive(Debug)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// What was found, or what is wrong and what to do.
    pub result: Result<String, Failure>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was found.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

fn failure(problem: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure {
        problem: problem.into(),
        remedy: remedy.into(),
    }
}

type Checked = Result<String, Failure>;

/// Looks at everything; what does not apply to the kind of network is left out. `more` are ports that what is installed
/// into the testbed needs in the same network.
#[must_use]
pub fn check(site: &Site, kind: Kind, more: &[Port]) -> Vec<Finding> {
    let mut findings = vec![
        Finding {
            subject: "rights",
            result: rights(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
        },
        Finding {
            subject: "disk",
            result: free_space(site).and_then(disk),
        },
        Finding {
            subject: "memory",
            result: memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        },
        Finding {
            subject: "cgroups",
            result: cgroups(cgroup::version(), try_cgroup()),
        },
        Finding {
            subject: "file systems",
            result: overlay(),
        },
        Finding {
            subject: "Go",
            result: go(),
        },
        Finding {
            subject: "packages",
            result: packages(),
        },
    ];
    // What a running testbed of this name uses is not in its way.
    let is_up = cleanup::marked_processes(site).is_ok_and(|found| !found.is_empty());
    if kind == Kind::Machine && !is_up {
        findings.push(Finding {
            subject: "ports",
            result: free_ports(PORTS.iter().chain(more), ports::is_free, || {
                output(Command::new("ss").args(["-ltnpH"])).unwrap_or_default()
            }),
        });
        let routes =
            output(Command::new("ip").args(["-4", "route", "show", "table", "all"])).unwrap_or_default();
        findings.push(Finding {
            subject: "addresses",
            result: addresses(&routes),
        });
        let rules = output(Command::new("nft").args(["list", "chain", "ip", "filter", "FORWARD"]));
        findings.push(Finding {
            subject: "forwarding",
            result: forwarding(&rules.unwrap_or_default()),
        });
    }
    findings
}

/// How long Debian's packages take, if any is missing.
#[must_use]
pub fn installing() -> Duration {
    Duration::from_secs(if install::missing().is_empty() { 0 } else { 70 })
}

/// How long it takes until a testbed is up, with all of its parts that are missing.
pub fn duration() -> Result<Duration> {
    Ok(installing() + binaries::missing_build_time()? + START)
}

/// Whether a process with this `/proc/self/status` may make network namespaces and mounts.
fn rights(status: &str) -> Checked {
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .unwrap_or_default();
    let effective = u64::from_str_radix(capabilities.trim(), 16).unwrap_or_default();
    // By linux/capability.h: CAP_NET_ADMIN is 12, CAP_SYS_ADMIN 21.
    if effective & (1 << 12) == 0 || effective & (1 << 21) == 0 {
        return Err(failure(
            "not enough rights to make network namespaces and mounts",
            "run as root; in a container, give it CAP_SYS_ADMIN and CAP_NET_ADMIN",
        ));
    }
    Ok("root".to_owned())
}

/// The least of what is free where the testbed's data and the cache lie.
fn free_space(site: &Site) -> Result<u64, Failure> {
    let mut free = u64::MAX;
    for path in [Some(site.state.clone()), cache().ok()].into_iter().flatten() {
        let existing = path
            .ancestors()
            .find(|path| path.exists())
            .unwrap_or_else(|| Path::new("/"));
        let found = rustix::fs::statvfs(existing).map_err(|error| {
            failure(
                format!("can't look at {}: {error}", existing.display()),
                "check the disk",
            )
        })?;
        free = free.min(found.f_bavail * found.f_frsize);
    }
    Ok(free)
}

fn disk(free: u64) -> Checked {
    let text = format!("{} GB free", free / GIGABYTE);
    if free < DISK_NEEDED {
        let needed = DISK_NEEDED / GIGABYTE;
        return Err(failure(
            text,
            format!("free {needed} GB where the project and ~/.cache lie"),
        ));
    }
    Ok(text)
}

fn memory(meminfo: &str) -> Checked {
    let available = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .unwrap_or_default()
        * 1024;
    let text = format!("{:.1} GB available", available as f64 / GIGABYTE as f64);
    if available < MEMORY_NEEDED {
        return Err(failure(
            text,
            format!("stop other programs: {} GB are needed", MEMORY_NEEDED / GIGABYTE),
        ));
    }
    Ok(text)
}

/// Makes a cgroup and removes it again.
fn try_cgroup() -> Result<()> {
    let name = format!("threeport-check-{}", std::process::id());
    let made = cgroup::create(&name);
    // Removed even where only some of it could be made.
    let removed = cgroup::remove(&name);
    made.and(removed)
}

fn cgroups(version: cgroup::Version, tried: Result<()>) -> Checked {
    match tried {
        Ok(()) => Ok(format!("{version:?}, writable")),
        Err(error) => Err(failure(
            format!("{error:#}"),
            "mount the cgroup hierarchies writable below /sys/fs/cgroup; in a container, share the machine's cgroup namespace",
        )),
    }
}

fn overlay() -> Checked {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.trim_end().ends_with("overlay")) {
        return Ok("overlay".to_owned());
    }
    Err(failure(
        "the kernel has no overlay file system",
        "load it: modprobe overlay",
    ))
}

fn go() -> Checked {
    let remedy = "install Go 1.26 or newer and put it into PATH";
    let text = output(
        Command::new("go")
            .args(["env", "GOVERSION"])
            .env("GOTOOLCHAIN", "local"),
    )
    .map_err(|error| failure(format!("{error:#}"), remedy))?;
    match go_minor(text.trim()) {
        Some(minor) if minor >= 26 => Ok(text.trim().to_owned()),
        _ => Err(failure(format!("found {}", text.trim()), remedy)),
    }
}

/// 26 of `go1.26.3`.
fn go_minor(version: &str) -> Option<u32> {
    version
        .strip_prefix("go1.")?
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn packages() -> Checked {
    let missing = install::missing();
    if missing.is_empty() {
        return Ok("installed".to_owned());
    }
    if Path::new("/usr/bin/apt-get").exists() {
        return Ok(format!("to be installed: {}", missing.join(" ")));
    }
    Err(failure(
        format!("missing: {}, and there is no apt-get", missing.join(" ")),
        "use Debian 12, or install the like of these packages",
    ))
}

/// Whether nobody listens on the ports, and who does; `listeners` gives what `ss -ltnpH` prints.
fn free_ports<'a>(
    ports: impl Iterator<Item = &'a Port>,
    is_free: impl Fn(u16) -> bool,
    listeners: impl FnOnce() -> String,
) -> Checked {
    let taken = ports.filter(|(port, _)| !is_free(*port)).collect::<Vec<_>>();
    if taken.is_empty() {
        return Ok("free".to_owned());
    }
    let listeners = listeners();
    let problem = taken.iter().map(|(port, purpose)| {
        let owner = listeners.lines().find(|line| line.contains(&format!(":{port} ")));
        let owner = owner
            .and_then(|line| line.split("users:").nth(1))
            .unwrap_or("an unknown program");
        format!("{port} ({purpose}) is used by {owner}")
    });
    Err(failure(
        problem.collect::<Vec<_>>().join("; "),
        "stop those programs, or use a testbed with a network of its own: testbed up --name other",
    ))
}

/// Whether the ranges of pods and Services, and the node's address, are routed elsewhere, given `ip -4 route show`.
fn addresses(routes: &str) -> Checked {
    let prefixes = [POD_RANGE, SERVICE_RANGE].map(|range| range.trim_end_matches("0.0/16"));
    let node = HOST_NODE.to_string();
    let taken = routes.lines().find(|line| {
        line.split_whitespace()
            .find(|word| word.contains('.'))
            .is_some_and(|target| prefixes.iter().any(|prefix| target.starts_with(prefix)) || target == node)
    });
    match taken {
        None => Ok(format!("{POD_RANGE}, {SERVICE_RANGE} and {node} are free")),
        Some(route) => Err(failure(
            format!(
                "an address range of the testbed is routed already: {}",
                route.trim()
            ),
            "stop the other Kubernetes, or use a testbed with a network of its own: testbed up --name other",
        )),
    }
}

/// Docker drops what it does not know, given the chain that it sets.
fn forwarding(chain: &str) -> Checked {
    if chain.contains("policy drop") && !chain.contains(POD_RANGE) {
        return Err(failure(
            "the firewall drops forwarded packets, so pods would reach nothing",
            format!(
                "let them pass: nft insert rule ip filter FORWARD ip saddr {POD_RANGE} accept; nft insert rule ip filter FORWARD ip daddr {POD_RANGE} accept"
            ),
        ));
    }
    Ok("not restricted".to_owned())
}

/// Fails with all that is wrong.
pub fn require(findings: &[Finding]) -> Result<()> {
    let failed = findings.iter().filter(|finding| finding.result.is_err()).count();
    ensure!(
        failed == 0,
        "{failed} of {} checks failed: see above what to do",
        findings.len()
    );
    Ok(())
}

/// The findings as lines for a person.
pub fn print(findings: &[Finding]) -> Result<()> {
    use std::io::Write;
    let mut output = std::io::stderr().lock();
    for Finding { subject, result } in findings {
        match result {
            Ok(found) => writeln!(output, "  ok      {subject}: {found}"),
            Err(Failure { problem, remedy }) => {
                writeln!(output, "  FAILED  {subject}: {problem}\n          {remedy}")
            }
        }
        .context("failed to print")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_those_of_network_and_mounts() {
        assert!(rights("Name:\ttest\nCapEff:\t000001ffffffffff\n").is_ok());
        // Docker's usual set, and each of the two alone.
        for capabilities in ["00000000a80425fb", "0000000000001000", "0000000000200000"] {
            let found = rights(&format!("CapEff:\t{capabilities}\n")).unwrap_err();
            assert!(found.remedy.contains("run as root"), "{found:?}");
        }
        assert!(rights("").is_err());
    }

    #[test]
    fn a_full_disk_fails() {
        assert_eq!(disk(40 * GIGABYTE).unwrap(), "40 GB free");
        assert_eq!(disk(3 * GIGABYTE).unwrap_err().problem, "3 GB free");
        // A state folder that is yet to be made lies on the disk of its parent.
        let site = Site::new("disktest", Path::new("/tmp/not/yet/there")).unwrap();
        assert!(free_space(&site).unwrap() > 0);
    }

    #[test]
    fn cgroups_that_cannot_be_written_fail() {
        assert!(cgroups(cgroup::Version::V2, Ok(())).unwrap().contains("writable"));
        let refused = Err(anyhow::anyhow!("Read-only file system"));
        let found = cgroups(cgroup::Version::V2, refused).unwrap_err();
        assert!(
            found.problem.contains("Read-only") && found.remedy.contains("mount"),
            "{found:?}"
        );
    }

    #[test]
    fn a_port_in_use_is_named_with_its_user() {
        let port = ports::free().unwrap();
        let needed = [(port, "the API")];
        let nobody = free_ports(needed.iter(), ports::is_free, String::new);
        assert_eq!(nobody.unwrap(), "free");
        let _listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).unwrap();
        let listed = format!("LISTEN 0 128 127.0.0.1:{port} 0.0.0.0:* users:((\"nginx\",pid=7,fd=3))\n");
        let found = free_ports(needed.iter(), ports::is_free, || listed).unwrap_err();
        assert!(
            found.problem.contains(&format!("{port} (the API)")) && found.problem.contains("nginx"),
            "{found:?}"
        );
        let unlisted = free_ports(needed.iter(), ports::is_free, String::new).unwrap_err();
        assert!(unlisted.problem.contains("an unknown program"), "{unlisted:?}");
    }

    #[test]
    fn little_memory_fails() {
        assert!(memory("MemAvailable:    8000000 kB\n").is_ok());
        assert!(memory("MemAvailable:    1000000 kB\n").is_err());
        assert!(memory("").is_err());
    }

    #[test]
    fn another_cluster_is_in_the_way() {
        assert!(addresses("default via 192.0.2.1 dev eth0\n192.0.2.0/24 dev eth0\n").is_ok());
        assert!(addresses("10.244.0.0/24 dev cni0 proto kernel\n").is_err());
        assert!(addresses("local 198.18.0.1 dev lo table local\n").is_err());
    }

    #[test]
    fn a_dropping_firewall_is_in_the_way() {
        let chain = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n";
        assert!(forwarding(chain).is_err());
        assert!(forwarding("").is_ok());
    }

    #[test]
    fn go_versions_are_read() {
        assert_eq!(go_minor("go1.26.3"), Some(26));
        assert_eq!(go_minor("go1.27rc1"), Some(27));
        assert_eq!(go_minor("devel"), None);
    }
}
