//! Progress on standard error: on a terminal one line that changes, elsewhere a line per change.

use std::{
    collections::HashMap,
    io::{IsTerminal, Stderr, Write},
};

use crate::output;

/// Tells what is waited for. Says nothing twice.
#[derive(Debug)]
pub struct Progress<W: Write = Stderr> {
    output: W,
    /// How wide the terminal is, where there is one.
    width: Option<usize>,
    quiet: bool,
    said: HashMap<String, String>,
    open: bool,
}

impl Progress {
    /// To standard error; nothing at all where `quiet`.
    pub fn new(quiet: bool) -> Self {
        let stderr = std::io::stderr();
        let width = stderr.is_terminal().then(terminal_width);
        Self::of(stderr, width, quiet)
    }
}

impl<W: Write> Progress<W> {
    /// To `output`, a terminal where it has a `width`.
    fn of(output: W, width: Option<usize>, quiet: bool) -> Self {
        Self {
            output,
            width,
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
        let line = format!("{subject}: {}", output::line(state));
        if let Some(width) = self.width {
            let short: String = line.chars().take(width).collect();
            self.write(&format!("\r\x1b[2K{short}"));
            self.open = true;
        } else {
            self.write(&format!("{line}\n"));
        }
    }

    /// Ends the line that changes.
    pub fn finish(&mut self) {
        if std::mem::take(&mut self.open) {
            self.write("\r\x1b[2K");
        }
    }

    /// Who has closed standard error wants no progress.
    fn write(&mut self, text: &str) {
        let _ = self.output.write_all(text.as_bytes());
    }
}

impl<W: Write> Drop for Progress<W> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(width: Option<usize>, quiet: bool) -> String {
        let mut output = Vec::new();
        let mut progress = Progress::of(&mut output, width, quiet);
        for (subject, state) in [
            ("web", "waits"),
            ("web", "waits"),
            ("shop", "waits"),
            ("web", "fails:\nno such image"),
            ("shop", "waits"),
            ("web", "waits"),
        ] {
            progress.update(subject, state);
        }
        drop(progress);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn without_a_terminal_each_change_is_a_line_and_nothing_is_said_twice() {
        assert_eq!(
            written(None, false),
            "web: waits\nshop: waits\nweb: fails: no such image\nweb: waits\n"
        );
    }

    #[test]
    fn on_a_terminal_one_line_changes_and_goes() {
        assert_eq!(
            written(Some(20), false),
            "\r\x1b[2Kweb: waits\r\x1b[2Kshop: waits\r\x1b[2Kweb: fails: no such \
             \r\x1b[2Kweb: waits\r\x1b[2K"
        );
    }

    #[test]
    fn who_wants_quiet_is_told_nothing() {
        assert_eq!(written(None, true), "");
        assert_eq!(written(Some(20), true), "");
    }
}
