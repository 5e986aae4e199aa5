//! kubectl of the testbed's own version, for one cluster.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::binaries;
use crate::process::output;

/// kubectl with a kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    binary: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl that uses this kubeconfig.
    pub fn new(kubeconfig: &Path) -> Result<Self> {
        Ok(Self {
            binary: binaries::path("kubectl")?,
            kubeconfig: kubeconfig.to_owned(),
        })
    }

    /// A command to add arguments to.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs it and gives its standard output.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        output(self.command().args(arguments))
    }

    /// Applies manifests by server-side apply.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        let mut child = self
            .command()
            .args([
                "apply",
                "--server-side",
                "--force-conflicts",
                "--field-manager=testbed",
                "-f",
                "-",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to run kubectl apply")?;
        let mut input = child.stdin.take().context("kubectl has no standard input")?;
        input
            .write_all(manifests.as_bytes())
            .context("failed to write to kubectl apply")?;
        drop(input);
        let output = child
            .wait_with_output()
            .context("failed to wait for kubectl apply")?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "kubectl apply ended with {}: {}",
            output.status,
            message.trim()
        );
        Ok(())
    }
}
