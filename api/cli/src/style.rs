//! Colours, where somebody sees them: on a terminal, unless `NO_COLOR` is set (no-color.org) or `TERM` is `dumb`.

use std::io::IsTerminal;

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
        Self::of(std::io::stdout().is_terminal())
    }

    /// For standard error.
    pub fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_some_and(|term| term == "dumb");
        Self {
            painted: terminal && set("NO_COLOR").is_none() && !dumb,
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
