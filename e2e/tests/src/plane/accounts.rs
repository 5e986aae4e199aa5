//! The accounts that parts are, and where their kubeconfigs lead.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use threeport_testbed::{ControlPlane, accounts::Accounts, binaries, paths::write_file};

use super::{NAMESPACE, RELEASE};

/// The chart's, in the tests' namespace.
pub(super) const ACCOUNTS: Accounts<'_> = Accounts {
    release: RELEASE,
    namespace: NAMESPACE,
    lifetime: "24h",
};

/// Makes the accounts with their rights, and writes their credentials.
pub(super) fn make(kubernetes: &ControlPlane, folder: &Path) -> Result<()> {
    let mut helm = Command::new(binaries::path("helm")?);
    helm.env("KUBECONFIG", "/dev/null");
    let kubectl = kubernetes.kubectl()?;
    kubectl.apply(&ACCOUNTS.manifests(helm)?)?;
    ACCOUNTS.write_credentials(folder, |arguments| kubectl.run(arguments))
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
