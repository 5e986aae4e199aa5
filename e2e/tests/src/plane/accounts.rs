//! The chart's accounts and rights, by the chart's own templates, and what proves a process to be one of them.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use threeport_testbed::{
    ControlPlane, binaries,
    paths::{project, write_file},
    process::output,
};

use super::{NAMESPACE, RELEASE};

const TEMPLATES: [&str; 6] = [
    "service-accounts",
    "api/rbac",
    "facade/rbac",
    "controllers/rbac",
    "agent/rbac",
    "workloads/rbac",
];

pub(super) fn apply(kubernetes: &ControlPlane) -> Result<()> {
    let mut helm = Command::new(binaries::path("helm")?);
    helm.env("KUBECONFIG", "/dev/null");
    helm.args(["template", RELEASE, "--namespace", NAMESPACE]);
    for template in TEMPLATES {
        helm.args(["--show-only", &format!("templates/{template}.yaml")]);
    }
    let rendered = output(helm.arg(project().join("helm/threeport")))?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    kubernetes
        .kubectl()?
        .apply(&format!("{namespace}\n---\n{rendered}"))
}

/// Tokens for the API and for Kubernetes, and a kubeconfig with the latter.
pub(super) fn write_credentials(kubernetes: &ControlPlane, folder: &Path) -> Result<()> {
    let kubectl = kubernetes.kubectl()?;
    let authority = kubectl.run(&[
        "config",
        "view",
        "--raw",
        "--output=jsonpath={.clusters[0].cluster.certificate-authority-data}",
    ])?;
    for account in ["api", "facade", "controllers", "agent"] {
        let name = format!("{RELEASE}-{account}");
        let create = |audience: &[&str]| {
            let common = [
                "create",
                "token",
                &name,
                "--namespace",
                NAMESPACE,
                "--duration=24h",
            ];
            kubectl.run(&[&common, audience].concat())
        };
        write_file(
            &folder.join(format!("{account}.token")),
            create(&["--audience=threeport"])?.trim(),
        )?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "plane",
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": account, "namespace": NAMESPACE}}],
            "clusters": [{"name": "plane", "cluster": {
                "server": kubernetes.url(), "certificate-authority-data": authority,
            }}],
            "users": [{"name": account, "user": {"token": create(&[])?.trim()}}],
        });
        write_file(&folder.join(format!("{account}.kubeconfig")), config.to_string())?;
    }
    Ok(())
}

/// Changes where a kubeconfig leads.
pub(super) fn lead(kubeconfig: &Path, url: &str, authority: &str) -> Result<()> {
    let text = std::fs::read_to_string(kubeconfig)
        .with_context(|| format!("failed to read {}", kubeconfig.display()))?;
    let mut config: Value = serde_json::from_str(&text)?;
    let cluster = &mut config["clusters"][0]["cluster"];
    cluster["server"] = json!(url);
    cluster["certificate-authority-data"] = json!(STANDARD.encode(authority));
    write_file(kubeconfig, config.to_string())
}
