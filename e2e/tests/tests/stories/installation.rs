//! The control plane as its chart has it, other values of the chart, and further control planes.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use threeport_e2e::{World, kubectl, kubectl::run, world::variable};

/// The name of every release.
pub(crate) const RELEASE: &str = "threeport";
/// The chart's `controllers.sweepInterval`.
const INSTALLED_SWEEP: &str = "15s";
/// The chart's `controllers.logLevel`.
const INSTALLED_LOG: &str = "info";
/// The same, and every run is told of. helm would take a comma for the end of a value.
const LOG_OF_RUNS: &str = r"info\,threeport_engine::run=debug";
/// The parts of a control plane, as the chart installs them.
pub(crate) const PARTS: [&str; 5] = [
    "statefulset threeport-nats",
    "deployment threeport-agent",
    "deployment threeport-api",
    "deployment threeport-controllers",
    "deployment threeport-facade",
];

/// `helm`, which waits for at most five minutes itself.
pub(crate) async fn helm(arguments: &[&str], namespace: &str) -> Result<String> {
    helm_with(arguments, namespace, None).await
}

async fn helm_with(arguments: &[&str], namespace: &str, input: Option<&str>) -> Result<String> {
    let arguments = [arguments, &["--namespace", namespace]].concat();
    Ok(run("helm", &arguments, input).await?.success()?.stdout)
}

/// Everything that stories change is as it was installed: also what one left that was killed. Most leave nothing, so it
/// is looked at first: an upgrade takes helm several seconds.
pub(crate) async fn as_installed(namespace: &str) -> Result<()> {
    if is_as_installed(namespace).await? {
        return Ok(());
    }
    with_sweep(namespace, INSTALLED_SWEEP).await
}

/// Whether each part has its one replica, Ready and of the newest template, and the controllers the chart's sweep.
async fn is_as_installed(namespace: &str) -> Result<bool> {
    let parts = PARTS.map(|part| part.replace(' ', "/")).join(" ");
    let listed = kubectl(&format!("-n {namespace} get {parts} -o json"), None)
        .await?
        .success()?
        .json()?;
    let parts = listed["items"].as_array().context("no parts are listed")?;
    let is_whole = |part: &Value| {
        let (wanted, status) = (&part["spec"]["replicas"], &part["status"]);
        let all = [
            &status["replicas"],
            &status["readyReplicas"],
            &status["updatedReplicas"],
        ];
        *wanted == 1
            && all.into_iter().all(|count| count == wanted)
            && status["observedGeneration"] == part["metadata"]["generation"]
    };
    let sweep = format!("--sweep-interval={INSTALLED_SWEEP}");
    let sweeps = parts.iter().any(|part| {
        let arguments = part["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
        arguments.is_some_and(|all| all.iter().any(|argument| *argument == sweep))
    });
    Ok(parts.len() == PARTS.len() && sweeps && parts.iter().all(is_whole))
}

/// As installed, but for how often work is looked for without a signal.
pub(crate) async fn with_sweep(namespace: &str, interval: &str) -> Result<()> {
    with_controllers(namespace, interval, INSTALLED_LOG).await
}

/// The same, and the controllers' log tells of every run ([`threeport_e2e::logs::RUN_ENDED`]).
pub(crate) async fn with_sweep_and_runs_told(namespace: &str, interval: &str) -> Result<()> {
    with_controllers(namespace, interval, LOG_OF_RUNS).await
}

async fn with_controllers(namespace: &str, sweep: &str, log: &str) -> Result<()> {
    for part in PARTS {
        scale(namespace, part, 1).await?;
    }
    let chart = variable("THREEPORT_HELM_CHART")?;
    let set = format!("controllers.sweepInterval={sweep},controllers.logLevel={log}");
    let upgrade = [
        "upgrade",
        RELEASE,
        &chart,
        "--reset-then-reuse-values",
        "--set",
        &set,
        "--wait",
        "--timeout",
        "120s",
    ];
    helm(&upgrade, namespace).await.map(drop)
}

/// Scales a part (`deployment threeport-agent`), without waiting for its pods.
pub(crate) async fn scale(namespace: &str, part: &str, replicas: u32) -> Result<()> {
    kubectl(
        &format!("-n {namespace} scale {part} --replicas={replicas}"),
        None,
    )
    .await?
    .success()
    .map(drop)
}

/// Waits until a part's pods are what it asks for.
pub(crate) async fn rolled_out(namespace: &str, part: &str) -> Result<()> {
    kubectl(
        &format!("-n {namespace} rollout status {part} --timeout=90s"),
        None,
    )
    .await?
    .success()
    .map(drop)
}

/// The values of a further control plane: those of the first, its images among them.
pub(crate) async fn values_of_another(world: &World) -> Result<Value> {
    let values = helm(&["get", "values", RELEASE, "--output", "json"], &world.namespace).await?;
    let mut values: Value = serde_json::from_str(&values).context("failed to read the release's values")?;
    // The first one's fixed node port can't be had twice.
    values["api"]["service"] = json!({"type": "ClusterIP"});
    Ok(values)
}

/// Installs a further control plane with the images of the first, in a namespace of its own; what helm said.
pub(crate) async fn install(world: &World, namespace: &str) -> Result<String> {
    let values = values_of_another(world).await?;
    let chart = variable("THREEPORT_HELM_CHART")?;
    let arguments = [
        "install",
        RELEASE,
        &chart,
        "--create-namespace",
        "--values",
        "-",
        "--wait",
    ];
    helm_with(&arguments, namespace, Some(&values.to_string())).await
}

/// Removes a further control plane, if it is there; what helm said. What is in no namespace may be left: of one whose
/// namespace was deleted, with all that helm knew of it, and what an administrator applied without helm.
pub(crate) async fn uninstall(namespace: &str) -> Result<String> {
    let arguments = [
        "uninstall",
        RELEASE,
        "--ignore-not-found",
        "--wait",
        "--timeout",
        "120s",
    ];
    let said = helm(&arguments, namespace).await?;
    let left = kubectl("get clusterroles,clusterrolebindings -o json", None)
        .await?
        .success()?
        .json()?;
    let own = format!("{namespace}.{RELEASE}-");
    for object in left["items"].as_array().into_iter().flatten() {
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        let (kind, name) = kind.as_str().zip(name.as_str()).context("it has no name")?;
        if !name.starts_with(&own) {
            continue;
        }
        kubectl(&format!("delete {kind} {name}"), None).await?.success()?;
    }
    Ok(said)
}
