//! Exit codes, and how an error is told.

use std::process::ExitCode;

use threeport_client::Error;

use crate::{
    output::{self, Closed},
    style::{Color, Style},
};

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

impl Exit {
    /// Of two parts of one command: a failure before anything else, and anything before success.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if self == Self::Ok || other == Self::Error {
            other
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// For `--help`.
pub const HELP: &str = "Exit codes: 0 done, 1 error, 2 differences (diff, apply --dry-run), 3 time-out, \
                        4 superseded (what was waited for was changed meanwhile)";

/// Prints an error with everything behind it. Whoever closed the pipe that we write to has read enough; a pipe that broke
/// on the way to the API is an error like any other.
pub fn report(error: &anyhow::Error) -> Exit {
    if error.is::<Closed>() {
        return Exit::Ok;
    }
    let style = Style::of_stderr();
    let text = output::shown(&explain(error));
    output::say(&format!("{}: {text}", style.paint(Color::Red, "error")));
    if let Some(next) = next(error) {
        output::say(&format!("  next: {next}"));
    }
    Exit::Error
}

/// An error and its causes, each once.
pub fn explain(error: &anyhow::Error) -> String {
    threeport_model::explain(error.as_ref())
}

/// What to do about a call that did not reach the API; refusals carry their own advice.
fn next(error: &anyhow::Error) -> Option<String> {
    match error.downcast_ref::<Error>()? {
        Error::Reach { .. } | Error::UnexpectedAnswer { .. } | Error::Decode { .. } => Some(format!(
            "`{} doctor` checks the way to the API, part by part",
            crate::name()
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    /// A pipe whose reader is gone.
    struct Unread;

    impl io::Write for Unread {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_broken_pipe_is_no_error_only_where_we_print() {
        let printed = output::write(&mut Unread, "web").context("failed to print");
        assert_eq!(report(&printed.unwrap_err()), Exit::Ok);
        let sent =
            Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe)).context("failed to reach the API");
        assert_eq!(report(&sent.unwrap_err()), Exit::Error);
    }

    #[test]
    fn a_failure_is_told_before_a_time_out_and_both_before_success() {
        assert_eq!(Exit::Ok.worse(Exit::TimedOut), Exit::TimedOut);
        assert_eq!(Exit::TimedOut.worse(Exit::Ok), Exit::TimedOut);
        assert_eq!(Exit::TimedOut.worse(Exit::Error), Exit::Error);
        assert_eq!(Exit::Error.worse(Exit::TimedOut), Exit::Error);
    }

    #[test]
    fn causes_are_told_once() {
        let cause = io::Error::other("no such file");
        let error = Err::<(), _>(cause).context("failed to read a.yaml").unwrap_err();
        assert_eq!(explain(&error), "failed to read a.yaml: no such file");
        let again = anyhow::anyhow!("x: y").context("failed: x: y");
        assert_eq!(explain(&again), "failed: x: y");
    }
}
