//! Two API replicas on one PostgreSQL, as `DATABASE=postgresql` installs them: one of them goes while many write.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use threeport_client::{ApplyBody, Client, Options, Token};
use threeport_e2e::workload;
use threeport_model::find_kind;
use threeport_testbed::{Cluster, wait};
use tokio::time::sleep;

use crate::testbed::kubectl;

/// Each has a connection of its own, and each connection goes to either replica.
const WRITERS: usize = 16;
/// What is written before a replica goes, by all together.
const BEFORE: usize = 100;
/// The most that one of them writes.
const WRITES: usize = 2_000;
/// How often a write is tried: longer than a pod that has gone is still its Service's.
const TRIES: usize = 60;
const PAUSE: Duration = Duration::from_millis(250);
/// The longest that the control plane may take to converge.
const CONVERGED: Duration = Duration::from_secs(90);
const NAMESPACE: &str = "threeport-system";
const MIRRORS: [&str; 4] = ["workloadinstance", "--selector=test=replicas", "-n", NAMESPACE];
const REPLICAS: &str = "--selector=app.kubernetes.io/name=threeport,app.kubernetes.io/component=api";

/// What the writers and the one who takes a replica away know of each other.
#[derive(Default)]
struct Progress {
    written: AtomicUsize,
    tries: AtomicUsize,
    is_over: AtomicBool,
}

pub(crate) fn lose_one_under_load(cluster: &Cluster) -> Result<()> {
    let replicas = ready_replicas(cluster)?;
    ensure!(replicas.len() == 2, "these replicas are Ready: {replicas:?}");
    let options = options(cluster)?;
    let progress = Progress::default();
    let runtime = tokio::runtime::Runtime::new()?;
    let (lost, written) = thread::scope(|scope| {
        let writers = (0..WRITERS).map(|writer| write(&options, writer, &progress));
        let writers = scope.spawn(|| runtime.block_on(try_join_all(writers)));
        let lost = lose(cluster, &replicas, &progress);
        progress.is_over.store(true, Ordering::SeqCst);
        (lost, writers.join())
    });
    lost?;
    let written = written.map_err(|_| anyhow!("a writer panicked"))??;
    let written: BTreeSet<_> = written.into_iter().flatten().collect();
    println!("{} writes, {} tries", written.len(), progress.tries.into_inner());

    let kind = find_kind("WorkloadDefinition").context("WorkloadDefinition is no kind")?;
    let client = Client::new(options)?;
    let (stored, _) = runtime.block_on(client.object_list_all(kind, Some("test=replicas")))?;
    let stored: Vec<_> = stored.into_iter().map(|object| object.metadata.name).collect();
    ensure!(
        stored.len() == written.len(),
        "{} are stored of {} written",
        stored.len(),
        written.len()
    );
    ensure!(
        stored.into_iter().collect::<BTreeSet<_>>() == written,
        "others are stored than were written"
    );
    // `kubectl wait` waits for what there is when it begins, and mirrors come a moment after their objects.
    wait::until("all instances have a mirror", CONVERGED, || {
        let listed = kubectl(cluster, &[&["get"], MIRRORS.as_slice(), &["-o", "name"]].concat())?;
        let found = listed.lines().count();
        ensure!(found == WRITERS, "{found} have");
        Ok(())
    })?;
    let timeout = format!("--timeout={}s", CONVERGED.as_secs());
    let ready = kubectl(
        cluster,
        &[&["wait", "--for=condition=Ready", &timeout], MIRRORS.as_slice()].concat(),
    )?;
    ensure!(
        ready.lines().count() == WRITERS,
        "of {WRITERS} instances these are Ready:\n{ready}"
    );
    for writer in 0..WRITERS {
        kubectl(cluster, &["get", "configmap", "value", "-n", &name(writer, 0)])?;
    }
    Ok(())
}

/// Waits until both replicas serve writers, deletes one, and waits until there are two again.
fn lose(cluster: &Cluster, replicas: &BTreeSet<String>, progress: &Progress) -> Result<()> {
    wait::until("writes are acknowledged", Duration::from_secs(30), || {
        let written = progress.written.load(Ordering::SeqCst);
        ensure!(written >= BEFORE, "{written} were written");
        Ok(())
    })?;
    for replica in replicas {
        let applied = applied_by(cluster, replica)?;
        ensure!(applied > 0, "{replica} served nobody");
    }
    let one = replicas.first().context("no replica is Ready")?;
    kubectl(cluster, &["delete", "pod", one, "-n", NAMESPACE])?;
    wait::until("two replicas are Ready again", CONVERGED, || {
        let now = ready_replicas(cluster)?;
        ensure!(now.len() == 2 && !now.contains(one), "{now:?}");
        Ok(())
    })
}

/// Places a workload, then writes definitions until it is over; gives the names of what was acknowledged.
async fn write(options: &Options, writer: usize, progress: &Progress) -> Result<Vec<String>> {
    let client = Client::new(options.clone())?;
    let mut written = Vec::new();
    for index in 0..WRITES {
        if index > 0 && progress.is_over.load(Ordering::SeqCst) {
            break;
        }
        let name = name(writer, index);
        let mut objects = vec![workload::definition(&name, &[config_map()])];
        if index == 0 {
            objects.push(workload::instance(&name, &name, &json!({})));
        }
        for object in &mut objects {
            object["metadata"]["labels"] = json!({"test": "replicas"});
        }
        acknowledged(&client, &objects, progress).await?;
        progress.written.fetch_add(1, Ordering::SeqCst);
        written.push(name);
    }
    Ok(written)
}

/// Writes, again and again where that can help, as every client of the API has to.
async fn acknowledged(client: &Client, objects: &[Value], progress: &Progress) -> Result<()> {
    let mut last = None;
    for _ in 0..TRIES {
        progress.tries.fetch_add(1, Ordering::SeqCst);
        match client.apply(ApplyBody::Objects(objects.to_vec()), false).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_transient() => last = Some(error),
            Err(error) => return Err(error).context("the write was refused"),
        }
        sleep(PAUSE).await;
    }
    Err(last.context("nothing was tried")?).context("the write never came through")
}

fn name(writer: usize, index: usize) -> String {
    format!("load-{writer}-{index}")
}

fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "value"}, "data": {"key": "value"}})
}

/// The API as its administrator, by the Service's port of the node.
fn options(cluster: &Cluster) -> Result<Options> {
    let path = cluster.site().path("threeport.env");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let variable = |name: &str| {
        let mut found = text.lines().filter_map(|line| line.split_once('='));
        let found = found
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned());
        found.with_context(|| format!("{} has no {name}", path.display()))
    };
    let mut options = Options::new(variable("THREEPORT_SERVER")?, "threeport-e2e");
    options.ca_file = Some(variable("THREEPORT_CA_FILE")?.into());
    options.token = Some(Token::file(variable("THREEPORT_TOKEN_FILE")?));
    Ok(options)
}

/// The names of the API's pods that are Ready and not about to go.
fn ready_replicas(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let list: Value = serde_json::from_str(&kubectl(
        cluster,
        &["get", "pods", "-n", NAMESPACE, REPLICAS, "-o", "json"],
    )?)?;
    let pods = list["items"].as_array().context("no pods are listed")?.iter();
    let pods = pods.filter(|pod| {
        pod["metadata"]["deletionTimestamp"].is_null()
            && pod["status"]["containerStatuses"][0]["ready"] == true
    });
    Ok(pods
        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        .collect())
}

/// How many applies a replica has answered.
fn applied_by(cluster: &Cluster, replica: &str) -> Result<u64> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{replica}:8080/proxy/metrics");
    let metrics = kubectl(cluster, &["get", "--raw", &path])?;
    let samples = metrics.lines().filter(|line| {
        line.starts_with("threeport_http_request_duration_seconds_count{")
            && line.contains("/v1alpha1/apply\"")
    });
    Ok(samples
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum())
}
