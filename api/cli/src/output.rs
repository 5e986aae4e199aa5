//! How data is printed: tables from a kind's columns, JSON, YAML, names.

pub mod json_path;

use std::{
    fmt,
    io::{self, Write},
};

use anyhow::Context;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use threeport_model::{GROUP, KindDescriptor, Object};

/// The forms of `-o`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns
    #[default]
    Table,
    /// More columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// kind/name, a line each
    Name,
}

/// Prints `value` as JSON or YAML.
pub fn structured(value: &impl Serialize, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Yaml => threeport_model::yaml::to_string(value).context("failed to write YAML")?,
        _ => serde_json::to_string_pretty(value).context("failed to write JSON")?,
    };
    print(&text)
}

/// Whoever reads standard output has closed it.
#[derive(Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("standard output is closed")
    }
}

impl std::error::Error for Closed {}

/// Prints text, with a line end if it has none.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(&mut io::stdout().lock(), text)
}

/// The same to any output; [`Closed`] where nobody reads it any more.
pub(crate) fn write(output: &mut impl Write, text: &str) -> anyhow::Result<()> {
    let end: &[u8] = if text.is_empty() || text.ends_with('\n') {
        b""
    } else {
        b"\n"
    };
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.write_all(end))
        .and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        written => written.context("failed to write to standard output"),
    }
}

/// What came of printing in a command that changes or waits: who reads no further has not called that off.
pub fn even_if_closed(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    match printed {
        Err(error) if error.is::<Closed>() => Ok(()),
        printed => printed,
    }
}

/// Says a line on standard error. Who has closed that wants to know nothing: that is no reason to end.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints objects. One that was named alone is printed as itself, several as a `List`.
pub fn objects(
    groups: &[(&'static KindDescriptor, Vec<Object>)],
    single: bool,
    format: Format,
) -> anyhow::Result<()> {
    let all = || groups.iter().flat_map(|(_, objects)| objects);
    match format {
        Format::Json | Format::Yaml => match (single, all().next()) {
            (true, Some(object)) => structured(object, format),
            _ => {
                let items: Vec<&Object> = all().collect();
                structured(
                    &json!({"apiVersion": "v1", "kind": "List", "items": items}),
                    format,
                )
            }
        },
        Format::Name => {
            let mut text = String::new();
            for (kind, objects) in groups {
                for object in objects {
                    text.push_str(&format!("{}.{GROUP}/{}\n", kind.singular, object.metadata.name));
                }
            }
            print(&text)
        }
        Format::Table | Format::Wide => {
            let filled: Vec<_> = groups.iter().filter(|(_, objects)| !objects.is_empty()).collect();
            let tables = filled.iter().map(|(kind, objects)| {
                // Several kinds at once are told apart by the names, as kubectl does.
                let prefix = if groups.len() > 1 {
                    format!("{}/", kind.singular)
                } else {
                    String::new()
                };
                object_table(kind, objects, format == Format::Wide, &prefix, Timestamp::now())
            });
            print(&tables.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// A table of objects of one kind.
pub fn object_table(
    kind: &KindDescriptor,
    objects: &[Object],
    wide: bool,
    prefix: &str,
    now: Timestamp,
) -> String {
    let columns: Vec<_> = kind
        .columns
        .iter()
        .filter(|column| wide || column.priority == 0)
        .collect();
    let mut header = vec!["NAME".to_owned()];
    header.extend(columns.iter().map(|column| column.name.to_owned()));
    header.push("AGE".to_owned());
    let rows = objects.iter().map(|object| {
        let value = serde_json::to_value(object).unwrap_or(Value::Null);
        let mut row = vec![format!("{prefix}{}", object.metadata.name)];
        row.extend(columns.iter().map(|column| json_path::text(&value, column.path)));
        row.push(
            object
                .metadata
                .created_at
                .map(|at| age(at, now))
                .unwrap_or_default(),
        );
        row
    });
    table(header, rows)
}

/// A table as kubectl prints one: columns by spaces, no lines.
pub fn table(header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        let one_line = row.into_iter().map(|cell| line(&cell));
        table.add_row(one_line.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// Text for people in which control characters are shown, and no terminal obeys them: workloads, clusters and proxies write
/// some of what is told. Line ends and tabs stay.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The same in one line.
pub fn line(text: &str) -> String {
    shown(&text.replace('\n', " "))
}

/// How long ago, as kubectl says it: two units at most.
pub fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(at.as_second()).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => format!("{minutes}m{}s", seconds % 60),
        () if minutes < 120 => format!("{minutes}m"),
        () if hours < 10 => format!("{hours}h{}m", minutes % 60),
        () if hours < 48 => format!("{hours}h"),
        () => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use threeport_model::find_kind;

    use super::*;

    #[test]
    fn ages_are_kubectl_s() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (seconds, text) in [
            (5, "5s"),
            (119, "119s"),
            (125, "2m5s"),
            (3000, "50m"),
            (7500, "2h5m"),
            (40000, "11h"),
            (400_000, "4d"),
        ] {
            let now = Timestamp::from_second(at.as_second() + seconds).unwrap();
            assert_eq!(age(at, now), text);
        }
    }

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        let plain = "a\tb\n\u{e9}";
        assert_eq!(shown(plain), plain);
        // U+009B begins a command as ESC and [ do.
        let text = "\u{1b}]0;title\u{7}\r\u{8}\u{7f}\u{9b}2J\na";
        let escaped = "\\u{1b}]0;title\\u{7}\\r\\u{8}\\u{7f}\\u{9b}2J";
        assert_eq!(shown(text), format!("{escaped}\na"));
        assert_eq!(line(text), format!("{escaped} a"));
        let rows = [vec![text.to_owned()]];
        let printed = table(vec!["MESSAGE".to_owned()], rows.into_iter());
        assert_eq!(printed, format!("MESSAGE\n{escaped} a\n"));
    }

    #[test]
    fn a_table_has_the_columns_of_its_kind() {
        let kind = find_kind("tpwi").unwrap();
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut web = Object::new(kind.kind, "web", json!({"definition": "web"}));
        web.metadata.created_at = Some(at);
        web.status = json!({
            "conditions": [{"type": "Stalled", "status": "True"},
                           {"type": "Ready", "status": "False", "reason": "Failed", "message": "a\nb"}],
            "resources": {"summary": "1/2"}, "revision": {"definition": 3}, "runtime": "local",
        });
        let empty = Object::new(kind.kind, "new", Value::Null);
        let text = object_table(kind, &[web.clone(), empty], false, "", at);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[0],
            [
                "NAME",
                "READY",
                "REASON",
                "RESOURCES",
                "REVISION",
                "RUNTIME",
                "AGE"
            ]
        );
        assert_eq!(lines[1], ["web", "False", "Failed", "1/2", "3", "local", "0s"]);
        assert_eq!(lines[2], ["new", "-", "-", "-", "-", "-", "-"]);
        assert!(object_table(kind, &[web], true, "", at).contains("a b"));
    }
}
