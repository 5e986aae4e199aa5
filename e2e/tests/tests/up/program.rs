//! `threeport-up`, run to its end or interrupted, with what it printed and when.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use threeport_testbed::{Selection, wait};

/// The longest that `up` may print nothing.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);
/// The longest that a run may take with everything built.
pub(crate) const LIMIT: Duration = Duration::from_secs(400);

/// How the line begins that says how long all of it will take.
pub(crate) const ESTIMATE: &str = "All of it takes about ";

/// The program with the options that select the testbed.
pub(crate) struct ThreeportUp {
    selection: Vec<String>,
    /// Where its own folder is first: printed commands call it by name.
    pub(crate) path: OsString,
}

/// A run to its end.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) succeeded: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// How a run is interrupted.
#[derive(Clone, Copy)]
pub(crate) enum Interruption {
    /// Ctrl-C: SIGINT to all programs of the terminal's foreground.
    CtrlC,
    /// SIGKILL to the program alone: those that it had started go on for a while.
    Kill,
}

enum Line {
    Stdout(String),
    Stderr(String),
}

impl Line {
    fn stdout(&self) -> Option<&str> {
        match self {
            Self::Stdout(text) => Some(text),
            Self::Stderr(_) => None,
        }
    }

    fn stderr(&self) -> Option<&str> {
        match self {
            Self::Stderr(text) => Some(text),
            Self::Stdout(_) => None,
        }
    }
}

impl ThreeportUp {
    pub(crate) fn new(selection: &Selection) -> Result<Self> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let folders = [folder()?].into_iter().chain(std::env::split_paths(&folders));
        let mut arguments = selection.arguments();
        arguments.extend(["--network".to_owned(), "machine".to_owned()]);
        Ok(Self {
            path: std::env::join_paths(folders)?,
            selection: arguments,
        })
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = self.action("up");
        command.args(options);
        command
    }

    fn action(&self, action: &str) -> Command {
        let mut command = Command::new("threeport-up");
        command.arg(action).args(&self.selection).env("PATH", &self.path);
        command
    }

    /// Runs `up` to its end, which must be a good one.
    pub(crate) fn run(&self, options: &[&str]) -> Result<Run> {
        let run = run(&mut self.command(options), SILENCE)?;
        ensure!(run.succeeded, "`up` failed:\n{}{}", run.stdout, run.stderr);
        Ok(run)
    }

    /// Runs `up` to its end, which must be a bad one.
    pub(crate) fn run_in_vain(&self, options: &[&str]) -> Result<Run> {
        let run = run(&mut self.command(options), SILENCE)?;
        ensure!(!run.succeeded, "`up` succeeded:\n{}{}", run.stdout, run.stderr);
        Ok(run)
    }

    /// Runs `up` until it has printed a line that begins so and then `is_reached` holds, and interrupts it there. By then it
    /// must have said how long it will take.
    pub(crate) fn interrupt(
        &self,
        options: &[&str],
        line: &str,
        is_reached: impl FnMut() -> Result<()>,
        how: Interruption,
    ) -> Result<()> {
        println!("up, until: {line}");
        let mut started = Started::new(&mut self.command(options), SILENCE)?;
        let mut is_told = false;
        let found = started.until(|found| {
            let text = found.stderr().unwrap_or_default();
            is_told |= text.starts_with(ESTIMATE);
            text.starts_with(line)
        });
        let reached = found.and_then(|_| wait::until(line, Duration::from_secs(60), is_reached));
        let status = started.interrupt(how)?;
        reached?;
        ensure!(
            !status.success(),
            "it had ended before it was interrupted: {line}"
        );
        ensure!(
            is_told,
            "it did not say how long it takes before it began: {line}"
        );
        Ok(())
    }

    /// Runs `up` for so long, and interrupts it wherever it is then. It may have ended well before.
    pub(crate) fn interrupt_after(&self, options: &[&str], after: Duration, how: Interruption) -> Result<()> {
        println!("up, until {} ms are over", after.as_millis());
        let mut started = Started::new(&mut self.command(options), SILENCE)?;
        let begin = Instant::now();
        let mut ended = false;
        while let Some(left) = after.checked_sub(begin.elapsed()).filter(|_| !ended) {
            ended = matches!(
                started.lines.recv_timeout(left),
                Err(RecvTimeoutError::Disconnected)
            );
        }
        if !ended {
            return started.interrupt(how).map(drop);
        }
        let status = started.child.wait().context("failed to wait")?;
        ensure!(status.success(), "it failed before it was interrupted");
        Ok(())
    }

    /// Runs `dev`, does something with what it has printed once it is up, and interrupts it; how long it took to end.
    pub(crate) fn dev(&self, meanwhile: impl FnOnce(&str) -> Result<()>) -> Result<Duration> {
        let mut started = Started::new(&mut self.action("dev"), SILENCE)?;
        let said = started.until(|found| found.stdout().is_some_and(|text| text == "  tptctl get all"));
        let done = said.and_then(|said| meanwhile(&said));
        let begin = Instant::now();
        kill_process_group(Pid::from_child(&started.child), Signal::INT).context("failed to interrupt")?;
        started.child.wait().context("failed to wait")?;
        done.map(|()| begin.elapsed())
    }
}

/// The folder of the programs that were built beside this test's own.
pub(crate) fn folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("failed to find this test's program")?;
    let folder = own
        .ancestors()
        .nth(2)
        .context("this test's program has no target folder")?;
    ensure!(
        folder.join("threeport-up").exists(),
        "there is no threeport-up in {}: cargo build -p threeport-testbed",
        folder.display()
    );
    Ok(folder.to_owned())
}

/// Runs a command to its end, which may be a bad one, in a process group of its own. It must not print nothing for longer
/// than `silence`.
pub(crate) fn run(command: &mut Command, silence: Duration) -> Result<Run> {
    let begin = Instant::now();
    let mut started = Started::new(command, silence)?;
    let (mut stdout, mut stderr) = (String::new(), String::new());
    while let Some(line) = started.next(begin)? {
        match line {
            Line::Stdout(text) => stdout += &(text + "\n"),
            Line::Stderr(text) => stderr += &(text + "\n"),
        }
    }
    let status = started.child.wait().context("failed to wait")?;
    Ok(Run {
        succeeded: status.success(),
        stdout,
        stderr,
        took: begin.elapsed(),
    })
}

/// A program that runs, and its lines as they come.
struct Started {
    child: Child,
    lines: Receiver<Line>,
    silence: Duration,
}

impl Started {
    fn new(command: &mut Command, silence: Duration) -> Result<Self> {
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("failed to start {what}"))?;
        let (sender, lines) = channel();
        read(child.stdout.take(), sender.clone(), Line::Stdout);
        read(child.stderr.take(), sender, Line::Stderr);
        Ok(Self {
            child,
            lines,
            silence,
        })
    }

    fn interrupt(&mut self, how: Interruption) -> Result<ExitStatus> {
        let id = Pid::from_child(&self.child);
        match how {
            Interruption::CtrlC => kill_process_group(id, Signal::INT),
            Interruption::Kill => kill_process(id, Signal::KILL),
        }
        .context("failed to interrupt")?;
        self.child.wait().context("failed to wait")
    }

    /// The next line; none when both streams have ended.
    fn next(&mut self, begin: Instant) -> Result<Option<Line>> {
        let next = self.lines.recv_timeout(self.silence);
        if begin.elapsed() > LIMIT || matches!(next, Err(RecvTimeoutError::Timeout)) {
            self.child.kill().context("failed to kill")?;
            bail!(
                "nothing was printed for {} s, or it ran for {} s",
                self.silence.as_secs(),
                LIMIT.as_secs()
            );
        }
        Ok(next.ok())
    }

    /// Reads until the wanted line; what there was on standard output by then.
    fn until(&mut self, mut is_wanted: impl FnMut(&Line) -> bool) -> Result<String> {
        let begin = Instant::now();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        while let Some(line) = self.next(begin)? {
            let found = is_wanted(&line);
            match line {
                Line::Stdout(text) => stdout += &(text + "\n"),
                Line::Stderr(text) => stderr += &(text + "\n"),
            }
            if found {
                return Ok(stdout);
            }
        }
        bail!("it ended before what was waited for:\n{stdout}{stderr}")
    }
}

fn read(stream: Option<impl Read + Send + 'static>, lines: Sender<Line>, kind: fn(String) -> Line) {
    let Some(stream) = stream else { return };
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            println!("  {line}");
            if lines.send(kind(line)).is_err() {
                return;
            }
        }
    });
}
