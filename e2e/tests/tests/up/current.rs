//! `CLUSTER=current` with the testbed's cluster as the one of the current context, on a machine without kubectl, helm,
//! kind and k3s: what `up` needs of them it builds.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tempfile::TempDir;
use threeport_e2e::leftovers::{Identity, everything};
use threeport_testbed::process::output;
use threeport_testbed::{Cluster, Registry, wait};

use crate::program::{self, Run};
use crate::shell;
use crate::testbed::kubectl;

/// What the machine is not to have.
const ABSENT: [&str; 4] = ["kubectl", "helm", "kind", "k3s"];

/// What was there before, and is no business of ours.
const SOMEBODY_S: &str = "somebody-s";

/// A shell's environment with a kubeconfig of the cluster, and none of the tools in its PATH.
struct Elsewhere<'a> {
    cluster: &'a Cluster,
    path: OsString,
    _folder: TempDir,
}

impl<'a> Elsewhere<'a> {
    fn new(cluster: &'a Cluster) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut folders = vec![program::folder()?];
        let path = std::env::var_os("PATH").unwrap_or_default();
        for (index, from) in std::env::split_paths(&path).enumerate() {
            if ABSENT.iter().any(|name| from.join(name).exists()) {
                let to = folder.path().join(index.to_string());
                link_others(&from, &to)?;
                folders.push(to);
            } else {
                folders.push(from);
            }
        }
        Ok(Self {
            cluster,
            path: std::env::join_paths(folders)?,
            _folder: folder,
        })
    }

    fn set(&self, command: &mut Command) {
        command
            .env("PATH", &self.path)
            .env("KUBECONFIG", self.cluster.kubeconfig());
    }

    fn up(&self, options: &[&str]) -> Result<Run> {
        let mut command = Command::new("threeport-up");
        command
            .args(["up", "--cluster", "current", "--profile", "dev"])
            .args(options);
        self.set(&mut command);
        program::run(&mut command, program::SILENCE)
    }
}

/// Links to everything in a folder of programs but those that are to be absent.
fn link_others(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("failed to list {}", from.display()))? {
        let name = entry?.file_name();
        if !ABSENT.iter().any(|absent| name == *absent) {
            symlink(from.join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

pub(crate) fn without_a_way_for_images(cluster: &Cluster) -> Result<()> {
    let elsewhere = Elsewhere::new(cluster)?;
    let refused = elsewhere.up(&["--database", "postgresql"])?;
    ensure!(
        !refused.succeeded && refused.stderr.contains("DATABASE=postgresql is the testbed's"),
        "another cluster is to have the testbed's database:\n{}",
        refused.stderr
    );
    let run = elsewhere.up(&[])?;
    ensure!(!run.succeeded, "it found a way without REGISTRY, kind and k3s");
    for way in ["REGISTRY=host/path", "a kind cluster", "k3s on this machine"] {
        ensure!(
            run.stderr.contains(way),
            "it does not name {way:?}:\n{}",
            run.stderr
        );
    }
    ensure!(
        !run.stderr.contains("Build the programs"),
        "it builds before it says that there is no way:\n{}",
        run.stderr
    );
    Ok(())
}

pub(crate) fn up_and_down_by_a_registry(cluster: &Cluster) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let elsewhere = Elsewhere::new(cluster)?;
    kubectl(cluster, &["create", "namespace", SOMEBODY_S])?;
    kubectl(cluster, &["create", "configmap", SOMEBODY_S, "-n", SOMEBODY_S])?;
    let before = runtime.block_on(identities(cluster))?;
    let registry = Registry::start(Ipv4Addr::LOCALHOST)?;
    let prefix = format!("{}/x", registry.address());

    let run = elsewhere.up(&["--registry", &prefix])?;
    ensure!(run.succeeded, "`up` failed:\n{}{}", run.stdout, run.stderr);
    images_came_from(cluster, &prefix)?;
    let commands = shell::next_commands(&run.stdout)?;
    let (down, others) = commands.split_last().context("no commands are printed")?;
    // That one is run where the testbed's own control plane is.
    let mut others = others.to_owned();
    others.retain(|command| !command.starts_with("helm test"));
    others.push("helm version".to_owned());
    shell::type_all(&others, |shell| elsewhere.set(shell))?;

    ensure!(down == "make down CLUSTER=current", "printed: {down:?}");
    let said = shell::type_all(std::slice::from_ref(down), |shell| elsewhere.set(shell))?;
    let left: BTreeSet<_> = runtime
        .block_on(identities(cluster))?
        .difference(&before)
        .cloned()
        .collect();
    ensure!(!left.is_empty(), "`down` removed what control planes share");
    for (kind, namespace, name, _) in &left {
        let is_shared = name.ends_with(".threeport.io") && namespace.is_empty();
        ensure!(is_shared, "`down` left {kind} {namespace}/{name}");
        let is_said = said.stdout.contains(name.as_str()) || kind.starts_with("APIService.");
        ensure!(
            is_said,
            "`down` does not say that {kind} {name} stays:\n{}",
            said.stdout
        );
    }
    // What it says to do about them does it.
    let removal = said.stdout.lines().filter_map(|line| line.strip_prefix("  "));
    let removal = removal.map(str::to_owned).collect::<Vec<_>>();
    ensure!(removal.len() == 2, "these commands are said: {removal:#?}");
    shell::type_all(&removal, |shell| {
        shell.env("KUBECONFIG", cluster.kubeconfig());
    })?;
    wait::until("nothing is left in the cluster", Duration::from_secs(20), || {
        let now = runtime.block_on(identities(cluster))?;
        let left: Vec<_> = now.difference(&before).collect();
        ensure!(left.is_empty(), "there is still {left:#?}");
        Ok(())
    })?;
    let now = runtime.block_on(identities(cluster))?;
    let is_somebody_s = |(_, namespace, name, _): &&Identity| namespace == SOMEBODY_S || name == SOMEBODY_S;
    let (had, gone): (Vec<_>, Vec<_>) = (
        before.iter().filter(is_somebody_s).collect(),
        before.difference(&now).filter(is_somebody_s).collect(),
    );
    ensure!(
        had.len() >= 2 && gone.is_empty(),
        "of {had:?} `down` took {gone:?}"
    );
    kubectl(cluster, &["delete", "namespace", SOMEBODY_S]).map(drop)
}

/// Every container's image is the registry's, and was pulled from there.
fn images_came_from(cluster: &Cluster, prefix: &str) -> Result<()> {
    let catalog = output(Command::new("curl").args([
        "--fail",
        "--silent",
        &format!("http://{}/v2/_catalog", prefix.trim_end_matches("/x")),
    ]))?;
    let catalog: Value = serde_json::from_str(&catalog).context("the registry's catalog is no JSON")?;
    ensure!(
        catalog["repositories"]
            .as_array()
            .is_some_and(|all| all.len() == 6),
        "the registry has {catalog}"
    );
    for namespace in ["threeport-system", "sample"] {
        let images = "jsonpath={range .items[*].spec.containers[*]}{.image}{\"\\n\"}{end}";
        let images = kubectl(cluster, &["get", "pods", "-n", namespace, "-o", images])?;
        ensure!(!images.is_empty(), "no pod runs in {namespace}");
        let foreign: Vec<_> = images
            .lines()
            .filter(|image| !image.starts_with(prefix))
            .collect();
        ensure!(foreign.is_empty(), "{namespace} runs {foreign:?}");
        let messages = "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
        let events = kubectl(cluster, &["get", "events", "-n", namespace, "-o", messages])?;
        let pulled = format!("Successfully pulled image \"{prefix}/");
        ensure!(
            events.contains(&pulled),
            "nothing was pulled from {prefix}:\n{events}"
        );
    }
    Ok(())
}

async fn identities(cluster: &Cluster) -> Result<BTreeSet<Identity>> {
    threeport_telemetry::init();
    let config = Kubeconfig::read_from(cluster.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    everything(&kube::Client::try_from(config)?).await
}
