//! Progress on standard error: on a terminal one line that changes, elsewhere a line per change.

use std::{collections::HashMap, io::IsTerminal};

/// Tells what is waited for. Says nothing twice.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    quiet: bool,
    said: HashMap<String, String>,
    open: bool,
}

impl Progress {
    /// To standard error; nothing at all where `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            quiet,
            said: HashMap::new(),
            open: false,
        }
    }

    /// How it stands with `subject` now.
    pub fn update(&mut self, subject: &str, state: &str) {
        if self.quiet || self.said.get(subject).is_some_and(|said| said == state) {
            return;
        }
        self.said.insert(subject.to_owned(), state.to_owned());
        let line = format!("{subject}: {}", state.replace('\n', " "));
        if self.terminal {
            let short: String = line.chars().take(terminal_width()).collect();
            eprint!("\r\x1b[2K{short}");
            self.open = true;
        } else {
            eprintln!("{line}");
        }
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        self.finish();
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Ends the line that changes.
    pub fn finish(&mut self) {
        if std::mem::take(&mut self.open) {
            eprint!("\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn terminal_width() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .unwrap_or(80_usize)
        .max(20)
}
