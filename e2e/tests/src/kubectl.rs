//! `kubectl`, as a person runs it.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// Longer than any time-out that a program is given: what it says of its own is worth more than that it was ended.
const LIMIT: Duration = Duration::from_secs(330);

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// As typed.
    pub command: String,
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Fails with all that was printed unless the command succeeded.
    pub fn success(self) -> Result<Self> {
        ensure!(
            self.code == 0,
            "{} ended with {}\n{}\n{}",
            self.command,
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("{} printed no JSON", self.command))
    }
}

/// Runs `kubectl` with `arguments` (split at white space) and `input`.
pub async fn kubectl(arguments: &str, input: Option<&str>) -> Result<Output> {
    run(
        "kubectl",
        &arguments.split_whitespace().collect::<Vec<_>>(),
        input,
    )
    .await
}

/// Runs any program of the testbed's PATH, for a limited time.
pub async fn run(program: &str, arguments: &[&str], input: Option<&str>) -> Result<Output> {
    let command = format!("{program} {}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("failed to start {command}"))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that refuses its input early closes the pipe; what it printed says why.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = timeout(LIMIT, child.wait_with_output())
        .await
        .with_context(|| format!("{command} did not end within {} s", LIMIT.as_secs()))??;
    Ok(Output {
        command,
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
