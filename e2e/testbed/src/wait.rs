//! Waits on conditions with a deadline. An error says what was waited for and what was last seen.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::process::Process;

const INTERVAL: Duration = Duration::from_millis(50);

/// Probes until `probe` gives a value; its last error becomes the cause of the time-out.
pub fn until<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() >= deadline => {
                return Err(error.context(format!("{what}: not within {} s", deadline.as_secs())));
            }
            Err(_) => thread::sleep(INTERVAL),
        }
    }
}

/// Like [`until`] for something that `process` serves: ends at once when the process has ended, and shows the
/// tail of its log.
pub fn served<T>(
    process: &mut Process,
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        let error = match probe() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if let Some(status) = process.exit_status()? {
            let tail = process.log_tail();
            return Err(anyhow!("{what}: {} ended with {status}\n{tail}", process.name()));
        }
        if started.elapsed() >= deadline {
            let tail = process.log_tail();
            return Err(error.context(format!(
                "{what}: not within {} s; the end of {}'s log:\n{tail}",
                deadline.as_secs(),
                process.name()
            )));
        }
        thread::sleep(INTERVAL);
    }
}
