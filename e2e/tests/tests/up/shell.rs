//! The commands that `up` prints at its end, typed into a shell.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use threeport_testbed::paths::project;

use crate::program::{self, Run, ThreeportUp};

/// The indented lines after `Next:`.
pub(crate) fn next_commands(stdout: &str) -> Result<Vec<String>> {
    let (_, after) = stdout.split_once("Next:").context("it prints no next commands")?;
    let lines = after.lines().filter_map(|line| line.strip_prefix("  "));
    Ok(lines.map(str::to_owned).collect())
}

/// Types a command.
pub(crate) fn run(up: &ThreeportUp, command: &str) -> Result<Run> {
    type_all(std::slice::from_ref(&command.to_owned()), |shell| {
        shell.env("PATH", &up.path);
    })
}

/// Types commands into one shell in the project's folder, each of which must succeed.
pub(crate) fn type_all(commands: &[String], prepare: impl FnOnce(&mut Command)) -> Result<Run> {
    let mut shell = Command::new("bash");
    shell
        .current_dir(project())
        .args(["-euo", "pipefail", "-c", &commands.join("\n")]);
    // What a test run sets is not in a person's shell.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("THREEPORT_")) {
            shell.env_remove(name);
        }
    }
    prepare(&mut shell);
    let run = program::run(&mut shell, program::LIMIT)?;
    ensure!(
        run.succeeded,
        "{commands:#?} failed:\n{}{}",
        run.stdout,
        run.stderr
    );
    Ok(run)
}
