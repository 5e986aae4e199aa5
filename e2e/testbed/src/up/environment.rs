//! What a shell needs to work with the control plane: `env` to be sourced, `threeport.env` as plain KEY=VALUE lines for
//! `testbed exec`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use threeport_testbed::paths::{create_folder, project, write_file};

use crate::programs::Programs;
use crate::release::{API_NODE_PORT, NAMESPACE, RELEASE};
use crate::target::Target;

/// Writes both files, the CA and the admin token, and links tptctl and the tools that the machine lacks.
pub(crate) fn write(target: &Target, programs: &Programs) -> Result<()> {
    let tools = target.path("bin");
    link_cli(&tools, programs.path("tptctl")?)?;
    for (name, program) in target.own_tools() {
        link(&tools.join(name), program)?;
    }
    let folder = target.path("threeport");
    create_folder(&folder)?;
    let (authority, token) = (folder.join("ca.crt"), folder.join("admin-token"));
    write_file(
        &authority,
        read(target, "configmap", &format!("{RELEASE}-ca"), "{.data.ca\\.crt}")?,
    )?;
    let encoded = read(
        target,
        "secret",
        &format!("{RELEASE}-admin-token"),
        "{.data.token}",
    )?;
    write_secret(
        &token,
        &STANDARD
            .decode(encoded.trim())
            .context("failed to decode the admin token")?,
    )?;

    let mut variables = vec![
        ("THREEPORT_NAMESPACE", NAMESPACE.to_owned()),
        ("THREEPORT_CA_FILE", authority.display().to_string()),
        ("THREEPORT_TOKEN_FILE", token.display().to_string()),
        (
            "THREEPORT_HELM_CHART",
            project().join("helm/threeport").display().to_string(),
        ),
        ("THREEPORT_SAMPLE", crate::sample::file().display().to_string()),
        ("THREEPORT_TESTBED_STATE", target.state().display().to_string()),
    ];
    if let Some(cluster) = target.cluster() {
        // Elsewhere tptctl goes by the Kubernetes API's port-forward.
        variables.push((
            "THREEPORT_SERVER",
            format!("https://{}:{API_NODE_PORT}", cluster.node_address()),
        ));
        variables.push(("THREEPORT_AUDIT_LOG", cluster.audit_log().display().to_string()));
    }
    let plain = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect::<String>();
    write_file(&target.path("threeport.env"), plain)?;
    let mut lines = vec![format!("export PATH=\"{}:$PATH\"", target.path("bin").display())];
    if let Some(cluster) = target.cluster() {
        lines.push(format!(
            "export KUBECONFIG=\"{}\"",
            cluster.kubeconfig().display()
        ));
    }
    lines.extend(
        variables
            .iter()
            .map(|(name, value)| format!("export {name}=\"{value}\"")),
    );
    write_file(&target.path("env"), lines.join("\n") + "\n")
}

fn read(target: &Target, kind: &str, name: &str, path: &str) -> Result<String> {
    target.run_kubectl(&[
        "get",
        kind,
        name,
        "--namespace",
        NAMESPACE,
        &format!("--output=jsonpath={path}"),
    ])
}

/// tptctl, also under the name by which kubectl finds it as a plugin.
pub(crate) fn link_cli(folder: &Path, program: &Path) -> Result<()> {
    create_folder(folder)?;
    for name in ["tptctl", "kubectl-threeport"] {
        link(&folder.join(name), program)?;
    }
    Ok(())
}

fn link(link: &Path, program: &Path) -> Result<()> {
    // What is there may be of an earlier build; that nothing is there is no error.
    let _ = fs::remove_file(link);
    symlink(program, link).with_context(|| format!("failed to link {}", link.display()))
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, content: &[u8]) -> Result<()> {
    let context = || format!("failed to write {}", path.display());
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(context)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .with_context(context)?;
    file.write_all(content).with_context(context)
}
