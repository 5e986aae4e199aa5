//! A whole cluster: two at once, over leftovers, and nothing of it is left after.

#![allow(clippy::unwrap_used, reason = "helpers of tests are no tests to clippy")]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use threeport_testbed::paths::Site;
use threeport_testbed::process::{Lifetime, MARK, mark, output};
use threeport_testbed::traces::{self, Traces};
use threeport_testbed::{
    Cluster, ClusterOptions, Postgres, PostgresOptions, cleanup, cluster, ports, postgres, wait,
};

const POD: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim, namespace: default}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: probe, namespace: default}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 65532, runAsNonRoot: true}
  containers:
    - name: probe
      image: localhost/threeport-pause:1
      imagePullPolicy: IfNotPresent
      command: [/busybox, sh, -ec]
      args:
        - |
          /busybox touch /data/written
          /busybox nslookup kubernetes.default.svc.cluster.local
          echo probed
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: claim}}]
"#;

fn run_probe(cluster: &Cluster) {
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(POD).unwrap();
    let phase = "--for=jsonpath={.status.phase}=Succeeded";
    let waited = kubectl.run(&["wait", "pod/probe", phase, "--timeout=60s"]);
    let logs = kubectl.run(&["logs", "probe"]);
    assert!(waited.is_ok(), "{waited:?}\n{logs:?}");
    assert!(logs.unwrap().contains("probed"));
}

/// What a cluster has on the machine. The positive control of every check of emptiness: what is looked for after the
/// end is there before it.
fn traces_of_each_sort(site: &Site) -> Traces {
    let traces = Traces::of(site).unwrap();
    let wanted = traces::COMMON.into_iter().chain(traces::OWN_NETWORK);
    assert_eq!(traces.sorts(), wanted.collect(), "{traces:#?}");
    traces
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn testbed_two_clusters_at_once_leave_nothing() {
    let first = Cluster::start(&ClusterOptions::for_tests("unit-a")).unwrap();
    let second = Cluster::start(&ClusterOptions::for_tests("unit-b")).unwrap();
    assert_ne!(first.node_address(), second.node_address());
    run_probe(&first);
    run_probe(&second);
    let answer = output(first.command("kubectl").args(["get", "nodes", "-o", "name"])).unwrap();
    assert_eq!(answer.trim(), "node/node1");

    let sites = [first.site().clone(), second.site().clone()];
    let before = sites.clone().map(|site| traces_of_each_sort(&site));
    drop((first, second));
    for (site, before) in sites.iter().zip(before) {
        assert_eq!(before.left(site).unwrap(), nothing());
        assert!(!site.state.exists());
    }
}

/// Leftovers that no running part of the cluster makes; gives their paths.
fn plant_leftovers(site: &Site) -> Vec<PathBuf> {
    let name = site.kernel_name();
    let socket = site.run().join("left.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let log = Path::new("/var/log/containers").join(format!("{name}-left.log"));
    symlink(site.path("pod-logs/left/0.log"), &log).unwrap();
    let result = Path::new("/var/lib/cni/results").join(format!("{name}-left-eth0"));
    let namespace = site.run().join("netns/left");
    let text = format!(
        "{{\"networkName\":\"{name}\",\"netns\":\"{}\"}}",
        namespace.display()
    );
    fs::write(&result, text).unwrap();
    vec![socket, log, result]
}

#[test]
fn testbed_starts_over_what_a_killed_run_left() {
    let options = ClusterOptions::for_tests("unit-c");
    let mut first = Cluster::start(&options).unwrap();
    run_probe(&first);
    let site = first.site().clone();
    // As SIGKILL to the test leaves it: its programs are gone, containers, mounts and the network are there.
    for name in ["kubelet", "kube-proxy", "kube-apiserver", "etcd", "containerd"] {
        first.process(name).unwrap().kill().unwrap();
    }
    first.abandon();
    let before = traces_of_each_sort(&site);
    // And what an earlier life left: a dead socket, CNI's record of an interface and the link to the log of pods that
    // nobody remembers. (Tables of nftables: where a test has a machine of its own, in e2e/tests/tests/up.)
    let planted = plant_leftovers(&site);
    // And a stray that a crash between start and record would leave.
    let mut stray = Command::new("sleep")
        .arg("600")
        .env(MARK, mark(&site.name))
        .spawn()
        .unwrap();
    let mut foreign = Command::new("sleep")
        .arg("600")
        .env(MARK, mark("other"))
        .spawn()
        .unwrap();

    let second = Cluster::start(&options).unwrap();
    run_probe(&second);
    let ended = wait::until("see the stray end", Duration::from_secs(5), || {
        stray.try_wait()?.ok_or_else(|| anyhow::anyhow!("still running"))
    });
    assert!(ended.is_ok(), "{ended:?}");
    assert!(
        foreign.try_wait().unwrap().is_none(),
        "what is not ours is not touched"
    );
    foreign.kill().unwrap();
    foreign.wait().unwrap();
    for path in &planted {
        assert!(fs::symlink_metadata(path).is_err(), "{} was left", path.display());
    }
    drop(second);
    assert_eq!(before.left(&site).unwrap(), nothing());
}

/// What a reboot or a crash does to `make up`'s cluster: its programs are gone, its data are not.
#[test]
fn testbed_continues_with_its_data() {
    let options = ClusterOptions {
        lifetime: Lifetime::Detached,
        ..ClusterOptions::for_tests("unit-f")
    };
    let site = options.site().unwrap();
    // Of an earlier run of this test that was killed.
    cluster::down(&site).unwrap();
    let first = Cluster::start(&options).unwrap();
    first.check().unwrap();
    first
        .kubectl()
        .unwrap()
        .run(&["create", "configmap", "kept", "-n", "default"])
        .unwrap();
    for program in [
        "kubelet",
        "kube-controller-manager",
        "kube-apiserver",
        "containerd",
        "etcd",
    ] {
        first.signal(program, Signal::KILL).unwrap();
    }
    assert!(first.check().is_err());

    let second = Cluster::start(&options).unwrap();
    second.check().unwrap();
    second
        .kubectl()
        .unwrap()
        .run(&["get", "configmap", "kept", "-n", "default"])
        .unwrap();
    run_probe(&second);
    let before = traces_of_each_sort(&site);
    cluster::down(&site).unwrap();
    assert_eq!(before.left(&site).unwrap(), nothing());
    assert!(!site.state.exists());
    cluster::down(&site).unwrap();
}

/// The database of `make up DATABASE=postgresql`: reached from pods, kept over a restart, gone after `down`.
#[test]
fn testbed_database_belongs_to_the_testbed() {
    let cluster = Cluster::start(&ClusterOptions::for_tests("unit-e")).unwrap();
    let site = cluster.site().clone();
    let options = PostgresOptions {
        address: cluster.machine_address(),
        ..Default::default()
    };
    let port = ports::free().unwrap();
    let database = Postgres::start_detached(&options, &site, port).unwrap();
    let url = database.ensure_database("threeport").unwrap();
    assert_eq!(database.ensure_database("threeport").unwrap(), url);
    let inside = output(
        cluster
            .command("psql")
            .args([&url, "-Atc", "SELECT current_database()"]),
    )
    .unwrap();
    assert_eq!(inside.trim(), "threeport");
    drop(database);
    let told = "SELECT current_setting('port'), current_setting('fsync')";
    let told = postgres::ask(&site, told).unwrap();
    assert_eq!(
        told.trim(),
        format!("{port}|off"),
        "whoever has not started it asks"
    );
    assert!(
        cleanup::marked_processes(&site)
            .unwrap()
            .iter()
            .any(|(_, command)| command == "postgres")
    );
    drop(cluster);
    assert_eq!(Traces::of(&site).unwrap().left(&site).unwrap(), nothing());
}

#[test]
fn testbed_down_refuses_a_folder_that_is_no_testbeds() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious"), "x").unwrap();
    let site = Site::new("unit-d", folder.path()).unwrap();
    assert!(
        cluster::down(&site)
            .unwrap_err()
            .to_string()
            .contains("no testbed's state folder")
    );
    let options = ClusterOptions {
        state: Some(folder.path().to_owned()),
        ..ClusterOptions::for_tests("unit-d")
    };
    assert!(
        Cluster::start(&options)
            .unwrap_err()
            .to_string()
            .contains("not empty")
    );
    assert!(folder.path().join("precious").exists());
}
