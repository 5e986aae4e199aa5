//! Processes that a testbed starts, and how they are found again.
//!
//! Each carries a mark in its environment ([`MARK`]): a later run, after this one was killed, recognises its
//! leftovers by that mark rather than by a process id in a file, which the kernel may have given to somebody else.
//! A library user's processes die with it, even by SIGKILL (`setpriv --pdeathsig`); those of `testbed up` stay.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{paths, wait};

/// The environment variable that marks a process as a testbed's; its value is [`mark`].
pub const MARK: &str = "THREEPORT_TESTBED_OWNER";

/// The value of [`MARK`] for the testbed called `name`.
#[must_use]
pub fn mark(name: &str) -> String {
    format!("threeport-testbed/{name}")
}

/// When a process ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// With the process that started it, however that ends.
    Tied,
    /// When `testbed down` stops it.
    Detached,
}

/// Where and how programs run.
#[derive(Clone, Debug)]
pub struct Host {
    /// The value of [`MARK`].
    pub mark: String,
    /// Where logs go, one file per program.
    pub logs: PathBuf,
    /// The network namespace; the machine's own if none.
    pub network: Option<PathBuf>,
    /// When programs end by themselves.
    pub lifetime: Lifetime,
}

/// A program to start.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Names the log file and the program in messages.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// Its arguments: never credentials, everybody can read them.
    pub args: Vec<OsString>,
    /// Additional environment.
    pub env: Vec<(String, OsString)>,
    /// The user to run as, if another.
    pub user: Option<String>,
    /// The signal that ends it with the process that started it, if that is its lifetime; SIGKILL if none.
    pub death_signal: Option<&'static str>,
}

impl Program {
    /// A program without arguments.
    pub fn new(name: &str, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            path: path.into(),
            ..Self::default()
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds `flag=value`.
    #[must_use]
    pub fn flag(self, flag: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        let mut arg = OsString::from(flag);
        arg.push("=");
        arg.push(value);
        self.arg(arg)
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }
}

impl Host {
    /// Starts a program; its log is truncated.
    pub fn start(&self, program: Program) -> Result<Process> {
        paths::create_folder(&self.logs)?;
        let log = self.logs.join(format!("{}.log", program.name));
        let output =
            File::create(&log).with_context(|| format!("failed to create the log {}", log.display()))?;
        let mut command = self.command(&program);
        command
            .env(MARK, &self.mark)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("failed to duplicate a log's handle")?)
            .stderr(output)
            // Ctrl-C in the terminal goes to its foreground group: this one is stopped by what started it.
            .process_group(0);
        let child = spawn(command).with_context(|| format!("failed to start {}", program.path.display()))?;
        Ok(Process {
            name: program.name,
            child,
            log,
            lifetime: self.lifetime,
        })
    }

    fn command(&self, program: &Program) -> Command {
        let mut line: Vec<OsString> = Vec::new();
        if let Some(network) = &self.network {
            line.push("nsenter".into());
            line.push(format!("--net={}", network.display()).into());
        }
        if self.lifetime == Lifetime::Tied || program.user.is_some() {
            line.push("setpriv".into());
            if let Some(user) = &program.user {
                line.extend([format!("--reuid={user}"), format!("--regid={user}")].map(OsString::from));
                line.push("--init-groups".into());
            }
            if self.lifetime == Lifetime::Tied {
                line.push(format!("--pdeathsig={}", program.death_signal.unwrap_or("KILL")).into());
            }
        }
        line.push(program.path.clone().into());
        line.extend(program.args.iter().cloned());
        let mut line = line.into_iter();
        let mut command = Command::new(line.next().unwrap_or_default());
        command.args(line).envs(program.env.iter().cloned());
        command
    }
}

/// Starts a command from a thread that lives as long as this process: the kernel sends the parent-death signal
/// when the *thread* that started the child ends.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, queue) = sync_channel::<Order>(16);
        thread::spawn(move || {
            for (mut command, answer) in queue {
                // A closed answer channel: the caller is gone, and the child is killed when its handle is tied.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let gone = || io::Error::other("the thread that starts processes has ended");
    let (answer, result) = channel();
    spawner.send((command, answer)).map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}

/// A started program. Dropping a tied one stops it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    lifetime: Lifetime,
}

impl Process {
    /// The name given by [`Program::name`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it did.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("failed to look after {}", self.name))
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    /// Sends a signal; a process that has ended is no error.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exit_status()?.is_some() {
            return Ok(());
        }
        // Not reaped yet (just asked), so the id is still this child's.
        let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        kill_process(id, signal).with_context(|| format!("failed to signal {}", self.name))
    }

    /// SIGTERM, then SIGKILL after `grace`; returns when the process is gone.
    pub fn stop(&mut self, grace: Duration) -> Result<()> {
        self.signal(Signal::TERM)?;
        let stopped = wait::until(&format!("stop {}", self.name), grace, || {
            self.exit_status()?.context("still running")
        });
        if stopped.is_err() {
            self.kill()?;
        }
        Ok(())
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child
            .wait()
            .with_context(|| format!("failed to wait for {}", self.name))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Tied
            && let Err(error) = self.stop(Duration::from_secs(5))
        {
            eprintln!("testbed: {error:#}");
        }
    }
}

/// The last 4 KiB of a log, from a line's beginning.
#[must_use]
pub fn log_tail(log: &Path) -> String {
    const LENGTH: u64 = 4096;
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LENGTH)))?;
        let mut bytes = Vec::new();
        file.take(LENGTH).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match text.split_once('\n') {
            Some((_, rest)) if length > LENGTH => rest.to_owned(),
            _ => text,
        })
    };
    read().unwrap_or_else(|error| format!("(no log at {}: {error})", log.display()))
}

/// The whole lines of a log: whoever writes it may be in the middle of the last.
pub fn whole_lines(log: &Path) -> Result<String> {
    let mut bytes = fs::read(log).with_context(|| format!("failed to read {}", log.display()))?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    bytes.truncate(end.map_or(0, |end| end + 1));
    String::from_utf8(bytes).with_context(|| format!("{} is no text", log.display()))
}

/// Runs a command to its end and gives its standard output; the error carries what it wrote to standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run {line}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{line} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The environment of a process, if it may be read.
pub(crate) fn environment_has(process: u32, variable: &str, value: &str) -> bool {
    let wanted = format!("{variable}={value}");
    fs::read(format!("/proc/{process}/environ")).is_ok_and(|bytes| {
        bytes
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted.as_bytes())
    })
}
