//! What the chart refuses for what is in the cluster already. The API server is a real one, and nothing runs in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::Result;
use threeport_chart::{chart, helm_in, template};
use threeport_testbed::{ControlPlane, ControlPlaneFiles, ControlPlaneOptions};

/// The one that the test run shares, else one of this process, which ends with it.
fn cluster() -> ControlPlaneFiles {
    static OWN: OnceLock<ControlPlane> = OnceLock::new();
    let own = || ControlPlane::start(&ControlPlaneOptions::default()).unwrap();
    ControlPlaneFiles::shared().unwrap_or_else(|| OWN.get_or_init(own).files().clone())
}

/// Leaves the Deployments of a release in a namespace, as helm does; the cluster's kubeconfig.
fn installed(release: &str, namespace: &str, more: &[&str]) -> PathBuf {
    let cluster = cluster();
    let kubectl = cluster.kubectl().unwrap();
    let shown = ["api", "facade"].map(|component| format!("templates/{component}/deployment.yaml"));
    let show = ["--show-only", shown[0].as_str(), "--show-only", shown[1].as_str()];
    let deployments = template(release, namespace, &[show.as_slice(), more].concat()).unwrap();
    kubectl
        .apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"
        ))
        .unwrap();
    kubectl.apply(&deployments).unwrap();
    let owner = [
        format!("meta.helm.sh/release-name={release}"),
        format!("meta.helm.sh/release-namespace={namespace}"),
    ];
    let annotate = [
        "annotate",
        "deployments",
        "--all",
        "--namespace",
        namespace,
        owner[0].as_str(),
        owner[1].as_str(),
    ];
    kubectl.run(&annotate).unwrap();
    cluster.kubeconfig()
}

/// What would be installed in the cluster, or upgraded there with `--is-upgrade`.
fn rendered(kubeconfig: &Path, release: &str, namespace: &str, more: &[&str]) -> Result<String> {
    let chart = chart();
    let common = [
        "template",
        release,
        chart.to_str().unwrap(),
        "--namespace",
        namespace,
        "--dry-run=server",
    ];
    helm_in(kubeconfig, &[common.as_slice(), more].concat())
}

fn refusal(rendered: Result<String>) -> String {
    match rendered {
        Ok(_) => panic!("was not refused"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn a_namespace_has_one_control_plane() {
    let cluster = installed("first", "chart-first", &[]);
    let said = refusal(rendered(&cluster, "second", "chart-first", &[]));
    assert!(
        said.contains("\"first\" is the control plane of namespace chart-first"),
        "{said}"
    );
    // Itself, in a namespace of its own, and two that are there already.
    let taken: [(&str, &str, &[&str]); 3] = [
        ("first", "chart-first", &[]),
        ("second", "chart-second", &[]),
        ("second", "chart-first", &["--is-upgrade"]),
    ];
    for (release, namespace, more) in taken {
        rendered(&cluster, release, namespace, more).unwrap();
    }
}

#[test]
fn a_control_plane_keeps_its_database() {
    const SQLITE: &[&str] = &["--is-upgrade"];
    const EXTERNAL: &[&str] = &[
        "--is-upgrade",
        "--set",
        "database.mode=external,database.external.secretName=other",
    ];
    for (release, kept, other, named) in [
        ("embedded", SQLITE, EXTERNAL, "an SQLite database"),
        ("outside", EXTERNAL, SQLITE, "an external database"),
    ] {
        let namespace = format!("chart-{release}");
        let cluster = installed(release, &namespace, kept);
        rendered(&cluster, release, &namespace, kept).unwrap();
        let said = refusal(rendered(&cluster, release, &namespace, other));
        assert!(said.contains(&format!("keeps its data in {named}")), "{said}");
    }
}
