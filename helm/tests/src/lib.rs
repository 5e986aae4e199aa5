//! The chart as the real helm renders it, for tests: [`render`] gives its objects, [`pods`] what would run.
//!
//! `tests/` holds what is asserted: `snapshots` (the bytes, by case), `values` (what the schema refuses), `security`
//! (pods and rights), `releases` (several of them side by side), `live` (what it refuses for what is in the cluster),
//! `reference` (what docs/ say of the values).

pub mod reference;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use threeport_testbed::binaries;
use threeport_testbed::paths::project;
use threeport_testbed::process::output;

/// The cases whose rendering is kept, each a file of values in `cases/`.
pub const CASES: [&str; 3] = ["default", "external-two-replicas", "ingress"];

/// The chart's folder.
#[must_use]
pub fn chart() -> PathBuf {
    project().join("helm/threeport")
}

/// The file of a case's values.
#[must_use]
pub fn case(name: &str) -> PathBuf {
    project().join("helm/tests/cases").join(format!("{name}.yaml"))
}

/// helm with arguments before which nothing is set: no repositories, no plugins, no cluster.
pub fn helm(arguments: &[&str]) -> Result<String> {
    helm_in(Path::new("/dev/null"), arguments)
}

/// The same, for the cluster of a kubeconfig.
pub fn helm_in(kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(binaries::path("helm")?);
    output(command.args(arguments).env("KUBECONFIG", kubeconfig))
}

/// What `helm template` prints for a release of this name and namespace.
pub fn template(release: &str, namespace: &str, arguments: &[&str]) -> Result<String> {
    let chart = chart();
    let chart = chart.to_str().context("the chart's path is not UTF-8")?;
    helm(&[&["template", release, chart, "--namespace", namespace], arguments].concat())
}

/// The objects of a case, hooks included.
pub fn render(case_name: &str) -> Result<Vec<Value>> {
    let case = case(case_name);
    let case = case.to_str().context("the case's path is not UTF-8")?;
    objects(&template("threeport", "threeport-system", &["--values", case])?)
}

/// The objects of a multi-document YAML text.
pub fn objects(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Option<Value>> =
        serde_saphyr::from_multiple(text).context("failed to parse the rendered chart")?;
    Ok(documents.into_iter().flatten().collect())
}

/// `Kind/name` of an object.
#[must_use]
pub fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// The pod templates in these objects, with the name of the object that each is part of.
#[must_use]
pub fn pods(objects: &[Value]) -> Vec<(String, &Value)> {
    let paths = ["/spec/template", "/spec/jobTemplate/spec/template"];
    objects
        .iter()
        .filter_map(|object| {
            let template = paths.iter().find_map(|path| object.pointer(path))?;
            Some((name(object), template))
        })
        .collect()
}

/// All containers of a pod template, those that run first included.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|field| pod["spec"][field].as_array().into_iter().flatten())
}

/// Whether the object belongs to no namespace.
#[must_use]
pub fn is_cluster_scoped(object: &Value) -> bool {
    object["metadata"]["namespace"].is_null()
}
