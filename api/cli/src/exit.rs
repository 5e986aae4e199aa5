//! Exit codes, and how an error is told.

use std::{io, process::ExitCode};

use threeport_client::Error;

use crate::style::{Color, Style};

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed; standard error says why.
    Error = 1,
    /// `diff` and `apply --dry-run`: something would change.
    Differences = 2,
    /// What was waited for did not come in time.
    TimedOut = 3,
    /// What was waited for was changed meanwhile.
    Superseded = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// For `--help`.
pub const HELP: &str = "Exit codes: 0 done, 1 error, 2 differences (diff, apply --dry-run), 3 time-out, \
                        4 superseded (what was waited for was changed meanwhile)";

/// Prints an error with everything behind it. Whoever closed the pipe that we write to has read enough.
pub fn report(error: &anyhow::Error) -> Exit {
    let broken_pipe = error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    });
    if broken_pipe {
        return Exit::Ok;
    }
    let style = Style::of_stderr();
    eprintln!("{}: {}", style.paint(Color::Red, "error"), explain(error));
    if let Some(next) = next(error) {
        eprintln!("  next: {next}");
    }
    Exit::Error
}

/// An error and its causes, each once.
pub fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// What to do about a call that did not reach the API; refusals carry their own advice.
fn next(error: &anyhow::Error) -> Option<&'static str> {
    match error.downcast_ref::<Error>()? {
        Error::Reach { .. } | Error::UnexpectedAnswer { .. } | Error::Decode { .. } => {
            Some("`tptctl doctor` checks the way to the API, part by part")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_told_once() {
        let cause = io::Error::other("no such file");
        let error = Err::<(), _>(cause).context("failed to read a.yaml").unwrap_err();
        assert_eq!(explain(&error), "failed to read a.yaml: no such file");
        let again = anyhow::anyhow!("x: y").context("failed: x: y");
        assert_eq!(explain(&again), "failed: x: y");
    }
}
