//! What the processes of a testbed used, by component, from /proc: pods are found by the testbed's cgroup, the others by
//! its mark.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use serde::Serialize;
use threeport_testbed::{cgroup, cleanup, paths::Site};

/// The components of a control plane, its database and its broker.
pub(crate) const CONTROL_PLANE: [&str; 6] = ["api", "facade", "controllers", "agent", "nats", "postgresql"];
/// What its memory is counted of.
pub(crate) const API_AND_OPERATOR: [&str; 3] = ["api", "facade", "controllers"];

/// The cluster's own controllers.
pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// /proc counts in hundredths of a second, whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

/// What a component used since its processes began, and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
}

/// By component.
pub(crate) type Sample = BTreeMap<String, Usage>;

/// What all processes of the testbed used.
pub(crate) fn sample(site: &Site) -> Result<Sample> {
    let pods = cgroup::processes(&site.kernel_name())?;
    let pods = pods
        .into_iter()
        .filter_map(|id| Some((u32::try_from(id).ok()?, true)));
    let others = cleanup::marked_processes(site)?;
    let others = others.into_iter().map(|(id, _)| (id, false));
    let mut sample = Sample::new();
    for (id, in_pod) in pods.chain(others).collect::<BTreeMap<_, _>>() {
        // It may have ended meanwhile.
        let Some((component, usage)) = read(id, in_pod) else {
            continue;
        };
        let sum = sample.entry(component).or_default();
        sum.cpu += usage.cpu;
        sum.resident_bytes += usage.resident_bytes;
    }
    Ok(sample)
}

/// The CPU time of components between two samples.
pub(crate) fn cpu(before: &Sample, after: &Sample, components: &[&str]) -> Duration {
    components
        .iter()
        .map(|component| {
            let of = |sample: &Sample| sample.get(*component).map(|usage| usage.cpu).unwrap_or_default();
            of(after).saturating_sub(of(before))
        })
        .sum()
}

/// A program of the testbed's own that stands still until this is dropped.
#[derive(Debug)]
pub(crate) struct Paused<'a> {
    site: &'a Site,
    program: &'a str,
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        if let Err(error) = cleanup::signal(self.site, self.program, Signal::CONT) {
            eprintln!("bench: failed to let {} go on: {error:#}", self.program);
        }
    }
}

/// Lets a program that runs outside of pods stand still.
pub(crate) fn pause<'a>(site: &'a Site, program: &'a str) -> Result<Paused<'a>> {
    let paused = Paused { site, program };
    let found = cleanup::signal(site, program, Signal::STOP)?;
    ensure!(found > 0, "{program} does not run");
    Ok(paused)
}

fn read(id: u32, in_pod: bool) -> Option<(String, Usage)> {
    let usage = Usage {
        cpu: cpu_of_stat(&text(id, "stat")?)?,
        resident_bytes: resident_of_status(&text(id, "status")?),
    };
    let name = component(text(id, "comm")?.trim(), &text(id, "cmdline")?, in_pod);
    Some((name, usage))
}

/// A file of a process, of which the kernel says nothing more once it has ended.
fn text(id: u32, file: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{id}/{file}")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Which component a process is of; the kernel keeps 15 bytes of its name.
fn component(command: &str, arguments: &str, in_pod: bool) -> String {
    match command {
        "threeport-api" if in_pod => "api",
        "threeport-agent" if in_pod => "agent",
        "threeport-opera" if in_pod && arguments.contains("--role=facade") => "facade",
        "threeport-opera" if in_pod => "controllers",
        "nats-server" if in_pod => "nats",
        "postgres" => "postgresql",
        "kube-controller" => CONTROLLER_MANAGER,
        "etcd" | "kube-apiserver" | "kube-scheduler" | "kube-proxy" | "kubelet" | "containerd" => command,
        _ => "other",
    }
    .to_owned()
}

/// User and system time, that of ended children included (PostgreSQL ends sessions), of `/proc/ID/stat`.
fn cpu_of_stat(stat: &str) -> Option<Duration> {
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<u32> = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse().ok())
        .collect();
    (fields.len() == 4).then(|| TICK * fields.iter().sum::<u32>())
}

fn resident_of_status(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Instant};

    use threeport_testbed::process::{MARK, mark};

    use super::*;

    #[test]
    fn times_are_read_whatever_the_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 200 0 0 150 50 7 3 20 0 9 0 1000 0 0";
        assert_eq!(cpu_of_stat(stat), Some(Duration::from_millis(2100)));
        assert_eq!(cpu_of_stat("42 (a) S 1"), None);
    }

    #[test]
    fn what_is_paused_stands_still_until_it_is_dropped() {
        let site = Site::new("pausetest", Path::new("/tmp/pausetest")).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .env(MARK, mark(&site.name))
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        // The letter after the name; the kernel stops and continues a process when it gets to it.
        let stops = |stopped: bool| {
            let stat = || text(child.id(), "stat").unwrap();
            while stat().contains(") T ") != stopped {
                assert!(Instant::now() < deadline, "{}", stat());
                std::thread::yield_now();
            }
        };
        // It has no name and no mark before it was executed.
        let paused = loop {
            match pause(&site, "sleep") {
                Ok(paused) => break paused,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        };
        stops(true);
        drop(paused);
        stops(false);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn memory_is_what_is_resident() {
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmRSS:\t   300 kB\n";
        assert_eq!(resident_of_status(status), 300 * 1024);
        assert_eq!(resident_of_status("Name:\tkthread\n"), 0);
    }

    #[test]
    fn the_operator_s_halves_are_told_apart() {
        assert_eq!(component("threeport-opera", "x\0--role=facade\0", true), "facade");
        assert_eq!(
            component("threeport-opera", "x\0--role=controllers\0", true),
            "controllers"
        );
        assert_eq!(
            component("threeport-api", "", false),
            "other",
            "another control plane's"
        );
    }

    #[test]
    fn time_between_two_samples_is_of_the_named_components() {
        let at = |api: u64, etcd: u64| {
            let usage = |seconds| Usage {
                cpu: Duration::from_secs(seconds),
                ..Usage::default()
            };
            Sample::from([("api".to_owned(), usage(api)), ("etcd".to_owned(), usage(etcd))])
        };
        assert_eq!(cpu(&at(1, 5), &at(4, 9), &CONTROL_PLANE), Duration::from_secs(3));
    }
}
