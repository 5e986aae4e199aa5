//! What a person sees while something takes long: what is done, how long it should take, a sign of life every ten
//! seconds.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

const HEARTBEAT: Duration = Duration::from_secs(10);

/// Runs `work`, announcing it on stderr; `estimate` is how long it takes on two cores.
pub fn step<T>(what: &str, estimate: Duration, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    if estimate >= Duration::from_secs(3) {
        eprintln!("{what} (about {})", human(estimate));
    } else {
        eprintln!("{what}");
    }
    let (done, finished) = mpsc::channel::<()>();
    let label = what.to_owned();
    let heartbeat = thread::spawn(move || {
        while finished.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("  still at it: {label}: {} so far", human(started.elapsed()));
        }
    });
    let result = work();
    drop(done);
    // The thread ends by the closed channel; it cannot panic, and there is nothing to do if it did.
    let _ = heartbeat.join();
    if result.is_ok() && started.elapsed() >= Duration::from_secs(3) {
        eprintln!("  done in {}", human(started.elapsed()));
    }
    result
}

/// A duration as people say it: `42 s`, `3 min 20 s`.
#[must_use]
pub fn human(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=89 => format!("{seconds} s"),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(human(Duration::from_secs(42)), "42 s");
        assert_eq!(human(Duration::from_secs(240)), "4 min");
        assert_eq!(human(Duration::from_secs(200)), "3 min 20 s");
    }
}
