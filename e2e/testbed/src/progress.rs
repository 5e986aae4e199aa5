//! What a person sees while something takes long: what is done, how long it should take, a sign of life every ten
//! seconds.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Less than ten seconds: on busy processors a sign of life comes late.
const HEARTBEAT: Duration = Duration::from_secs(8);

/// Runs `work`, announcing it on stderr; `estimate` is how long it takes on two cores.
pub fn step<T>(what: &str, estimate: Duration, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let say = |line: String| eprintln!("{line}");
    told(what, estimate, HEARTBEAT, &say, work)
}

/// The same, said to `say`, with a sign of life every `heartbeat`.
fn told<T>(
    what: &str,
    estimate: Duration,
    heartbeat: Duration,
    say: &(dyn Fn(String) + Sync),
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    if estimate >= Duration::from_secs(3) {
        say(format!("{what} (about {})", human(estimate)));
    } else {
        say(what.to_owned());
    }
    let (done, finished) = mpsc::channel::<()>();
    let result = thread::scope(|scope| {
        scope.spawn(move || {
            while finished.recv_timeout(heartbeat) == Err(RecvTimeoutError::Timeout) {
                say(format!(
                    "  still at it: {what}: {} so far",
                    human(started.elapsed())
                ));
            }
        });
        let result = work();
        drop(done);
        result
    });
    if result.is_ok() && started.elapsed() >= Duration::from_secs(3) {
        say(format!("  done in {}", human(started.elapsed())));
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
    use std::sync::mpsc::channel;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[test]
    fn a_step_says_what_it_does_and_gives_signs_of_life_until_it_ends() {
        assert!(HEARTBEAT < Duration::from_secs(10));
        let (said, lines) = channel();
        let say = move |line| said.send(line).unwrap();
        let result = told("Build it", Duration::from_secs(60), SOON, &say, || {
            let heard: Vec<String> = lines.iter().take(4).collect();
            assert_eq!(heard[0], "Build it (about 60 s)");
            assert!(
                heard[1..]
                    .iter()
                    .all(|line| line == "  still at it: Build it: 0 s so far"),
                "{heard:?}"
            );
            Ok(7)
        });
        assert_eq!(result.unwrap(), 7);
        drop(say);
        // Nothing comes after the end.
        let after: Vec<String> = lines.iter().filter(|line| !line.starts_with("  still")).collect();
        assert_eq!(after, Vec::<String>::new());
    }

    #[test]
    fn a_step_that_fails_is_not_called_done() {
        let (said, lines) = channel();
        let say = move |line| said.send(line).unwrap();
        let result = told("Try it", Duration::ZERO, HEARTBEAT, &say, || {
            anyhow::bail!("no") as Result<()>
        });
        assert!(result.is_err());
        drop(say);
        assert_eq!(lines.iter().collect::<Vec<String>>(), ["Try it"]);
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(human(Duration::from_secs(42)), "42 s");
        assert_eq!(human(Duration::from_secs(240)), "4 min");
        assert_eq!(human(Duration::from_secs(200)), "3 min 20 s");
    }
}
