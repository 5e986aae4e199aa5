//! `tptctl doctor`: looks at every part that stands between a person and a workload that is Ready, and says what to do
//! about what is wrong.

mod api;
mod cluster;
mod place;

use clap::Args;
use serde::Serialize;

use super::Session;
use crate::{
    connect,
    exit::Exit,
    output::{self, Format},
    style::{Color, Style},
};

/// Check the way to the API, the control plane and its cluster; each failed line comes with its remedy
#[derive(Args, Debug)]
pub struct Doctor {
    /// How to show it
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    name: &'static str,
    result: Finding,
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Finding {
    Ok,
    Warning,
    Failed,
    Skipped,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            result: Finding::Ok,
            detail: detail.into(),
            remedy: String::new(),
        }
    }

    fn skipped(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            result: Finding::Skipped,
            detail: detail.into(),
            remedy: String::new(),
        }
    }

    fn warning(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            result: Finding::Warning,
            detail: detail.into(),
            remedy: remedy.into(),
        }
    }

    fn failed(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            result: Finding::Failed,
            detail: detail.into(),
            remedy: remedy.into(),
        }
    }
}

impl Doctor {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let connection = connect::resolve(&session.connection)?;
        let is_table = matches!(self.output, Format::Table | Format::Wide);
        let mut checks = api::checks(&connection).await;
        if is_table {
            // What is known is not kept back for a cluster that may take its time.
            output::print(&render(&checks, Style::of_stdout()))?;
        }
        let of_cluster = cluster::checks(&connection).await;
        if is_table {
            output::print(&render(&of_cluster, Style::of_stdout()))?;
        }
        checks.extend(of_cluster);
        let failed = checks.iter().any(|check| check.result == Finding::Failed);
        match self.output {
            Format::Json | Format::Yaml => output::structured(&checks, self.output)?,
            Format::Name => {
                let failed = checks.iter().filter(|check| check.result == Finding::Failed);
                output::print(
                    &failed
                        .map(|check| format!("{}\n", check.name))
                        .collect::<String>(),
                )?;
            }
            Format::Table | Format::Wide => {}
        }
        Ok(if failed { Exit::Error } else { Exit::Ok })
    }
}

fn render(checks: &[Check], style: Style) -> String {
    let mut text = String::new();
    for check in checks {
        let (word, color) = match check.result {
            Finding::Ok => ("ok     ", Color::Green),
            Finding::Warning => ("warning", Color::Yellow),
            Finding::Failed => ("FAILED ", Color::Red),
            Finding::Skipped => ("skipped", Color::Yellow),
        };
        let detail = output::shown(&check.detail).replace('\n', "\n         ");
        text.push_str(&format!(
            "{}  {}: {detail}\n",
            style.paint(color, word),
            check.name
        ));
        if !check.remedy.is_empty() {
            text.push_str(&format!(
                "         -> {}\n",
                output::shown(&check.remedy).replace('\n', "\n            ")
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_line_is_followed_by_its_remedy() {
        let checks = [
            Check::ok("API", "answers"),
            Check::failed("token", "is refused", "use another"),
        ];
        assert_eq!(
            render(&checks, Style::of(false, |_| None)),
            "ok       API: answers\nFAILED   token: is refused\n         -> use another\n"
        );
        let coloured = render(&checks, Style::of(true, |_| None));
        assert!(
            coloured.contains("\x1b[31mFAILED \x1b[0m  token: is refused"),
            "{coloured}"
        );
    }
}
