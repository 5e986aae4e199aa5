//! `up` on the testbed's own cluster: where it is interrupted, what it starts over, what it shows at its end.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use serde_json::Value;
use threeport_testbed::paths::{Site, project};
use threeport_testbed::process::output;
use threeport_testbed::traces::{COMMON, MACHINE_NETWORK, Traces};
use threeport_testbed::{Cluster, ClusterOptions, binaries, cleanup};

use crate::program::{ESTIMATE, Interruption, Run, ThreeportUp};
use crate::shell;

/// What every run of `up` is given.
pub(crate) const OPTIONS: [&str; 4] = ["--profile", "dev", "--database", "postgresql"];

/// What somebody sets: it restarts no pod, and the chart has another one.
const SCHEDULE: &str = "18 4 * * *";

/// Before it builds or starts anything: a port that somebody else has.
pub(crate) fn refuses_what_is_in_the_way(up: &ThreeportUp) -> Result<()> {
    let somebody = TcpListener::bind("0.0.0.0:6443").context("failed to listen on port 6443")?;
    let run = up.run_in_vain(&OPTIONS)?;
    drop(somebody);
    ensure!(
        run.stderr.contains("6443") && run.stderr.contains("kube-apiserver"),
        "it does not say that port 6443 is in use:\n{}",
        run.stderr
    );
    for step in ["Build the programs", "Start Kubernetes"] {
        ensure!(
            !run.stderr.contains(step),
            "it began all the same: {step}\n{}",
            run.stderr
        );
    }
    Ok(())
}

pub(crate) fn interrupt_the_start_of_kubernetes(up: &ThreeportUp, site: &Site) -> Result<()> {
    let apiserver_runs = || {
        let running = cleanup::marked_processes(site)?;
        let found = running.iter().any(|(_, command)| command == "kube-apiserver");
        ensure!(found, "no kube-apiserver runs");
        Ok(())
    };
    up.interrupt(&OPTIONS, "Start Kubernetes", apiserver_runs, Interruption::Kill)
}

pub(crate) fn interrupt_the_loading_of_images(up: &ThreeportUp) -> Result<()> {
    up.interrupt(
        &OPTIONS,
        "Pack and load the images",
        || Ok(()),
        Interruption::CtrlC,
    )
}

/// What a reboot leaves of the programs, and what a crash leaves of everything else: mounts, links, tables of the packet
/// filter, sockets.
pub(crate) fn kill_the_cluster(site: &Site) -> Result<()> {
    let cluster = Cluster::attach(site).context("the interrupted run had started Kubernetes")?;
    for program in [
        "kubelet",
        "kube-proxy",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-apiserver",
        "containerd",
        "etcd",
    ] {
        cluster.signal(program, Signal::KILL)?;
    }
    ensure!(cluster.check().is_err(), "it answers still");
    let left = Traces::of(site)?.sorts();
    for sort in COMMON.iter().chain(&MACHINE_NETWORK) {
        ensure!(left.contains(sort), "the killed cluster left no {sort}");
    }
    Ok(())
}

/// Wherever it happens to be after a while that is drawn, three times.
pub(crate) fn interrupt_anywhere(up: &ThreeportUp, seed: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    for how in [Interruption::Kill, Interruption::CtrlC, Interruption::Kill] {
        let after = Duration::from_millis(random.random_range(100..15_000));
        up.interrupt_after(&OPTIONS, after, how)?;
    }
    Ok(())
}

/// What `make test` runs on is another cluster beside this one, which does not notice.
pub(crate) fn another_cluster_runs_beside_it(running: &Cluster) -> Result<()> {
    let before = pods(running)?;
    let beside = Cluster::start(&ClusterOptions::for_tests("up-beside"))?;
    beside.check().context("the cluster beside it")?;
    let names = |cluster: &Cluster| kubectl(cluster, &["get", "namespaces", "-o", "name"]);
    ensure!(
        names(running)?.contains("threeport-system") && !names(&beside)?.contains("threeport-system"),
        "both kubeconfigs lead to one cluster"
    );
    let site = beside.site().clone();
    drop(beside);
    let left = Traces::of(&site)?.sorts();
    ensure!(left.is_empty(), "the cluster beside it left {left:?}");
    running.check().context("the cluster that was there before")?;
    ensure!(pods(running)? == before, "it restarted pods: {before:?}");
    Ok(())
}

/// As soon as helm has written down that it is about to install.
pub(crate) fn interrupt_the_installation(up: &ThreeportUp, cluster: &Cluster) -> Result<()> {
    let selector = "--selector=owner=helm,status=pending-install";
    let is_pending = || {
        let found = kubectl(
            cluster,
            &["get", "secret", "-n", "threeport-system", "-o", "name", selector],
        )?;
        ensure!(!found.is_empty(), "helm has no pending installation");
        Ok(())
    };
    up.interrupt(
        &OPTIONS,
        "Install the control plane",
        is_pending,
        Interruption::CtrlC,
    )
}

pub(crate) fn interrupt_the_delivery(up: &ThreeportUp, cluster: &Cluster) -> Result<()> {
    let is_there = || {
        kubectl(
            cluster,
            &["get", "workloadinstance", "sample", "-n", "threeport-system"],
        )
        .map(drop)
    };
    up.interrupt(&OPTIONS, "Deliver the sample", is_there, Interruption::Kill)
}

/// How long it will take, before anything is begun; the nodes, the objects, a URL.
pub(crate) fn shows_what_a_person_wants_to_see(run: &Run) -> Result<()> {
    let place = |begin: &str| {
        let mut lines = run.stderr.lines();
        let found = lines.position(|line| line.starts_with(begin));
        found.with_context(|| format!("{begin:?} is not said:\n{}", run.stderr))
    };
    ensure!(
        place(ESTIMATE)? < place("Build the programs")?,
        "how long it takes is said too late:\n{}",
        run.stderr
    );
    let line = |begin: &str| {
        let found = run.stdout.lines().find(|line| line.contains(begin));
        found.with_context(|| format!("{begin:?} is not shown:\n{}", run.stdout))
    };
    let node = line("node1 ")?;
    ensure!(node.contains(" Ready "), "{node}");
    let instance = line("workloadinstance.threeport.io/sample ")?;
    ensure!(instance.contains("True"), "{instance}");
    line("The sample answers at http://")?;
    Ok(())
}

/// In one shell, as they are printed: each depends on the first, which sets the shell up.
pub(crate) fn printed_commands_work(up: &ThreeportUp, commands: &[String]) -> Result<()> {
    let is_printed = |begin: &str| commands.iter().any(|command| command.starts_with(begin));
    for begin in [". ", "tptctl doctor", "kubectl ", "helm test ", "curl http://"] {
        ensure!(
            is_printed(begin),
            "no command begins with {begin:?}: {commands:#?}"
        );
    }
    let run = shell::type_all(commands, |shell| {
        shell.env("PATH", &up.path);
    })?;
    ensure!(
        run.stdout.contains("name=web "),
        "the sample's URL answered:\n{}",
        run.stdout
    );
    Ok(())
}

/// As docs/how-to/upgrade-and-uninstall.md has it.
pub(crate) fn somebody_sets_a_value(cluster: &Cluster) -> Result<()> {
    let mut helm = Command::new(binaries::path("helm")?);
    helm.args(["upgrade", "threeport"])
        .arg(project().join("helm/threeport"))
        .args(["--namespace", "threeport-system", "--reset-then-reuse-values"])
        .args(["--wait", "--timeout", "120s", "--set"])
        .arg(format!("certificates.renewalSchedule={SCHEDULE}"))
        .env("KUBECONFIG", cluster.kubeconfig());
    output(&mut helm).map(drop)?;
    keeps_what_somebody_has_set(cluster).context("`helm upgrade`")
}

pub(crate) fn keeps_what_somebody_has_set(cluster: &Cluster) -> Result<()> {
    let schedule = "jsonpath={.spec.schedule}";
    let schedule = kubectl(
        cluster,
        &[
            "get",
            "cronjob",
            "threeport-renewal",
            "-n",
            "threeport-system",
            "-o",
            schedule,
        ],
    )?;
    ensure!(
        schedule == SCHEDULE,
        "the schedule was set to {SCHEDULE:?} and is {schedule:?}"
    );
    Ok(())
}

/// The control plane's and the sample's pods, by uid, with their restarts; those of Jobs aside.
pub(crate) fn pods(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let list: Value = serde_json::from_str(&kubectl(cluster, &["get", "pods", "-A", "-o", "json"])?)?;
    let pods = list["items"].as_array().context("no pods are listed")?;
    let is_kept = |pod: &&Value| pod["metadata"]["ownerReferences"][0]["kind"] != "Job";
    let pods = pods.iter().filter(is_kept).map(|pod| {
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        (
            pod["metadata"]["uid"].to_string(),
            format!("{} {restarts}", pod["metadata"]["name"]),
        )
    });
    Ok(pods.collect())
}

pub(crate) fn kubectl(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    cluster.kubectl()?.run(arguments)
}
