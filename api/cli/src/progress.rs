//! Progress on standard error: on a terminal one line that changes, elsewhere a line per change. A terminal that is `dumb`
//! (an editor's shell, say) shows what moves the cursor as text, and is no terminal here.

use std::{
    collections::HashMap,
    io::{IsTerminal, Stderr, Write},
};

use unicode_width::UnicodeWidthChar;

use crate::{output, style};

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
        let width = (stderr.is_terminal() && !style::is_dumb()).then(terminal_width);
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
            self.write(&format!("\r\x1b[2K{}", within(&line, width)));
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

/// What of a line has place in so many columns: one that goes on below could not be taken back.
fn within(line: &str, columns: usize) -> &str {
    let mut left = columns;
    for (at, character) in line.char_indices() {
        match left.checked_sub(character.width().unwrap_or_default()) {
            Some(rest) => left = rest,
            None => return &line[..at],
        }
    }
    line
}

fn terminal_width() -> usize {
    let told = terminal_size::terminal_size_of(std::io::stderr());
    told.map_or(80, |(terminal_size::Width(columns), _)| columns.into())
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
    fn a_line_has_place_in_the_columns_of_a_terminal_whoever_wrote_it() {
        for (columns, shown) in [
            (0, ""),
            (3, "web"),
            (6, "web: \u{e9}"),
            (7, "web: \u{e9}"),
            (8, "web: \u{e9}\u{6f22}"),
        ] {
            // A letter with its accent apart, and one that is two columns wide.
            let line = "web: e\u{301}\u{6f22}\u{5b57}";
            let shown = shown.replace('\u{e9}', "e\u{301}");
            assert_eq!(within(line, columns), shown, "{columns}");
        }
    }

    #[test]
    fn who_wants_quiet_is_told_nothing() {
        assert_eq!(written(None, true), "");
        assert_eq!(written(Some(20), true), "");
    }
}
