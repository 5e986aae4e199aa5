//! The programs of the source tree, built by cargo.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Deserialize;
use threeport_testbed::paths::{cache, create_folder, project};
use threeport_testbed::process::log_tail;
use threeport_testbed::progress;

/// How they are built.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Quick enough to run.
    Image,
    /// Quick to build.
    Dev,
}

/// The crates whose programs a control plane is made of.
const CRATES: [&str; 5] = [
    "threeport-server",
    "threeport-operator",
    "threeport-agent",
    "tptctl",
    "threeport-sample",
];

/// Paths by the program's name.
pub(crate) struct Programs(BTreeMap<String, PathBuf>);

const NAMES: [&str; 5] = [
    "threeport-api",
    "threeport-operator",
    "threeport-agent",
    "tptctl",
    "threeport-sample",
];

impl Programs {
    /// The path of a program.
    pub(crate) fn path(&self, name: &str) -> Result<&Path> {
        let path = self
            .0
            .get(name)
            .with_context(|| format!("cargo built no program called {name}"))?;
        Ok(path)
    }
}

/// What cargo says about one artifact, of the messages that it documents under "external tools".
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
}

/// The programs of a folder, or those of the source tree, built where they are not up to date.
pub(crate) fn provide(profile: Profile, folder: Option<&Path>) -> Result<Programs> {
    let Some(folder) = folder else {
        return build(profile);
    };
    let folder = folder
        .canonicalize()
        .with_context(|| format!("failed to find {}", folder.display()))?;
    let found = NAMES.map(|name| (name.to_owned(), folder.join(name)));
    for (_, path) in &found {
        ensure!(path.is_file(), "there is no {}", path.display());
    }
    Ok(Programs(BTreeMap::from(found)))
}

fn build(profile: Profile) -> Result<Programs> {
    let (name, cold) = match profile {
        Profile::Image => ("image", Duration::from_mins(9)),
        Profile::Dev => ("dev", Duration::from_mins(4)),
    };
    let logs = cache()?.join("logs");
    create_folder(&logs)?;
    let what = format!("Build the programs (profile {name}; with a warm cache far less)");
    progress::step(&what, cold, || run(name, &logs.join(format!("cargo-{name}.log"))))
}

fn run(profile: &str, log: &Path) -> Result<Programs> {
    let errors = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
    let mut command = Command::new("cargo");
    command
        .current_dir(project())
        .args([
            "build",
            "--locked",
            "--bins",
            "--message-format=json-render-diagnostics",
            "--profile",
            profile,
        ])
        .args(CRATES.iter().flat_map(|name| ["--package", name]))
        .stdin(Stdio::null())
        .stderr(errors);
    let output = command
        .output()
        .context("failed to run cargo: install Rust, see rust-toolchain.toml")?;
    ensure!(
        output.status.success(),
        "failed to build the programs; the end of {}:\n{}",
        log.display(),
        log_tail(log)
    );
    Ok(Programs(executables(&String::from_utf8_lossy(&output.stdout))))
}

/// The programs that cargo's messages, one JSON object per line, tell of.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(|message| message.executable)
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_other_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\nnot json\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/x/image/threeport-api\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        let programs = Programs(executables(messages));
        assert_eq!(
            programs.path("threeport-api").unwrap(),
            Path::new("/x/image/threeport-api")
        );
        assert!(programs.path("tptctl").is_err());
    }
}
