//! Colours, where somebody sees them: on a terminal, unless `NO_COLOR` is set (no-color.org) or `TERM` is `dumb`.

use std::{env, ffi::OsString, io::IsTerminal};

/// The terminal that can do nothing but show text.
const DUMB: &str = "dumb";

/// Whether to paint.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    painted: bool,
}

/// By meaning: red is wrong, yellow is doubtful, green is well.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Color {
    Red,
    Yellow,
    Green,
}

impl Style {
    /// For standard output.
    pub fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal(), variable)
    }

    /// For standard error.
    pub fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal(), variable)
    }

    /// For an output that is a terminal or not, in an environment.
    pub fn of(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let colorless = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = variable("TERM").is_some_and(|term| term == DUMB);
        Self {
            painted: terminal && !colorless && !dumb,
        }
    }

    /// `text` in a colour, where there are colours.
    pub fn paint(self, color: Color, text: &str) -> String {
        if !self.painted {
            return text.to_owned();
        }
        let code = match color {
            Color::Red => 31,
            Color::Yellow => 33,
            Color::Green => 32,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether the terminal, if there is one, can do nothing but show text.
pub fn is_dumb() -> bool {
    variable("TERM").is_some_and(|term| term == DUMB)
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        for (terminal, name, value, painted) in [
            (true, "NO_COLOR", None, true),
            (true, "NO_COLOR", Some(""), true),
            (true, "NO_COLOR", Some("1"), false),
            // Whatever its value.
            (true, "NO_COLOR", Some("0"), false),
            (true, "NO_COLOR", Some("false"), false),
            (false, "NO_COLOR", None, false),
            (false, "NO_COLOR", Some(""), false),
            (false, "NO_COLOR", Some("1"), false),
            (true, "TERM", Some("dumb"), false),
            (true, "TERM", Some("xterm-256color"), true),
            (false, "TERM", Some("xterm-256color"), false),
        ] {
            let style = Style::of(terminal, |asked| {
                value.filter(|_| asked == name).map(OsString::from)
            });
            let expected = if painted { "\x1b[31mtext\x1b[0m" } else { "text" };
            assert_eq!(
                style.paint(Color::Red, "text"),
                expected,
                "terminal {terminal}, {name} {value:?}"
            );
        }
    }
}
