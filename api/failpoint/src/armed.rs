//! What a test build does at a failpoint.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Signal, getpid, kill_process};

use super::{ArmError, Side, Write, failpoints};

/// Who stops a process leaves it stopped for longer.
const MISSED: Duration = Duration::from_secs(1);

static ARMED: OnceLock<Armed> = OnceLock::new();

struct Armed {
    failpoint: Option<Failpoint>,
    log: Option<File>,
    hits: AtomicU64,
}

#[derive(Debug, PartialEq, Eq)]
struct Failpoint {
    name: String,
    action: Action,
    nth: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
}

/// The first call in a process counts.
pub(crate) fn arm(parts: &[&[Write]], variable: impl Fn(&str) -> Option<String>) -> Result<(), ArmError> {
    let failpoint = variable("THREEPORT_FAILPOINT").map(|text| parse(&text, &failpoints(parts)));
    let log = variable("THREEPORT_FAILPOINT_LOG").map(|path| open(&path));
    let armed = Armed {
        failpoint: failpoint.transpose()?,
        log: log.transpose()?,
        hits: AtomicU64::new(0),
    };
    if armed.failpoint.is_some() || armed.log.is_some() {
        ARMED.get_or_init(|| armed);
    }
    Ok(())
}

fn parse(text: &str, known: &[String]) -> Result<Failpoint, ArmError> {
    let form = || ArmError::Form(text.to_owned());
    let (name, rest) = text.split_once('=').ok_or_else(form)?;
    let (action, nth) = rest.split_once('@').ok_or_else(form)?;
    let action = match action {
        "kill" => Action::Kill,
        "stop" => Action::Stop,
        _ => return Err(form()),
    };
    let nth = nth.parse().ok().filter(|nth| *nth > 0).ok_or_else(form)?;
    if !known.iter().any(|known| known == name) {
        return Err(ArmError::Unknown(name.to_owned()));
    }
    let name = name.to_owned();
    Ok(Failpoint { name, action, nth })
}

fn open(path: &str) -> Result<File, ArmError> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|source| ArmError::Log {
        path: path.to_owned(),
        source,
    })
}

/// Notes the hit, and does what is to be done at it.
pub(crate) fn hit(write: Write, side: Side) {
    let Some(armed) = ARMED.get() else { return };
    let name = write.failpoint(side);
    let wanted = armed.failpoint.as_ref().filter(|wanted| wanted.name == name);
    let action = wanted
        .filter(|wanted| armed.hits.fetch_add(1, Ordering::Relaxed) + 1 == wanted.nth)
        .map(|wanted| wanted.action);
    let word = match action {
        None => "",
        Some(Action::Kill) => " kill",
        Some(Action::Stop) => " stop",
    };
    if let Some(mut log) = armed.log.as_ref() {
        // A hit that can't be noted makes the test fail that counts them, which is all that this is for.
        let _ = log.write_all(format!("{name}{word}\n").as_bytes());
        if action.is_some() {
            let _ = log.sync_data();
        }
    }
    match action {
        None => {}
        Some(Action::Kill) => {
            // A process may always signal itself.
            let _ = kill_process(getpid(), Signal::KILL);
        }
        Some(Action::Stop) => stop(),
    }
}

/// A stop may reach this thread a moment after the others, in which it must not go on. That it was stopped it knows from
/// the time that it missed.
fn stop() {
    let mut last = Instant::now();
    // A process may always signal itself.
    let _ = kill_process(getpid(), Signal::STOP);
    while last.elapsed() < MISSED {
        last = Instant::now();
        sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        vec!["a.b.before".to_owned()]
    }

    #[test]
    fn a_failpoint_is_named_with_what_to_do_and_when() {
        let expected = Failpoint {
            name: "a.b.before".to_owned(),
            action: Action::Stop,
            nth: 3,
        };
        assert_eq!(parse("a.b.before=stop@3", &known()).unwrap(), expected);
    }

    #[test]
    fn what_would_never_be_hit_is_refused() {
        for text in [
            "",
            "a.b.before",
            "a.b.before=kill",
            "a.b.before=kill@0",
            "a.b.before=die@1",
        ] {
            assert!(matches!(parse(text, &known()), Err(ArmError::Form(_))), "{text}");
        }
        let unknown = parse("a.b.after=kill@1", &known());
        assert!(matches!(unknown, Err(ArmError::Unknown(_))), "{unknown:?}");
    }

    #[test]
    fn without_a_word_in_the_environment_nothing_is_set() {
        arm(&[], |_| None).unwrap();
        assert!(ARMED.get().is_none());
    }
}
