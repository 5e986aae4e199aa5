//! The programs of the source tree, as the test run has built them beside the test's own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The path of a program.
pub fn path(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own
        .parent()
        .and_then(Path::parent)
        .context("the test's program has no target folder")?;
    let program = target.join(name);
    ensure!(
        program.exists(),
        "{} is missing: build the workspace first",
        program.display()
    );
    Ok(program)
}

/// The failpoints of a program. One that was built without them has no such command.
pub fn failpoints(name: &str) -> Result<Vec<String>> {
    let output = Command::new(path(name)?)
        .arg("failpoints")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run {name}"))?;
    ensure!(
        output.status.success(),
        "{name} was built without failpoints; build it with: cargo build --workspace --bins \
         --features threeport-failpoint/failpoints"
    );
    let text = String::from_utf8(output.stdout).with_context(|| format!("{name} printed no text"))?;
    Ok(text.lines().map(str::to_owned).collect())
}
