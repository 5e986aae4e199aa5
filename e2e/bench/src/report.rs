//! The table and `results/latest.json`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::{
    REQUIRED,
    arguments::{Arguments, Database},
    figures::{Limit, Wanted},
};

/// All that was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    measured_at: jiff::Timestamp,
    cores: usize,
    quick: bool,
    controller_manager_requests_per_second: u32,
    api_replicas: u32,
    figures: Vec<Figure>,
    /// What the figures were made of, by database and part.
    details: BTreeMap<&'static str, BTreeMap<String, Value>>,
    /// Whether it ended before its end.
    pub(crate) failed: bool,
}

/// One figure, by database.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figure {
    name: String,
    unit: String,
    #[serde(flatten)]
    wanted: Wanted,
    values: BTreeMap<&'static str, f64>,
}

/// Where a database's figures go.
pub(crate) struct Figures<'a> {
    report: &'a mut Report,
    database: &'static str,
}

impl Report {
    pub(crate) fn new(arguments: &Arguments) -> Self {
        Self {
            measured_at: jiff::Timestamp::now(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            quick: arguments.quick,
            controller_manager_requests_per_second: arguments.controller_requests_per_second,
            api_replicas: arguments.api_replicas,
            figures: Vec::new(),
            details: BTreeMap::new(),
            failed: false,
        }
    }

    /// Where the figures of a database go.
    pub(crate) fn of(&mut self, database: Database) -> Figures<'_> {
        Figures {
            report: self,
            database: database.as_str(),
        }
    }

    /// Whether a required figure is missed.
    pub(crate) fn misses_required(&self) -> bool {
        self.figures.iter().any(|figure| {
            let required = figure.wanted.required;
            required
                .zip(figure.value())
                .is_some_and(|(limit, value)| !limit.is_kept(value))
        })
    }

    /// The table, on standard output.
    pub(crate) fn print(&self) {
        println!(
            "{} cores; controller manager's client limit {} requests/s; {} API replica(s) on PostgreSQL{}",
            self.cores,
            self.controller_manager_requests_per_second,
            self.api_replicas,
            if self.quick {
                "; a quick look, not to be quoted"
            } else {
                ""
            }
        );
        println!("{}", self.table());
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "figure",
            "unit",
            "PostgreSQL",
            "required",
            "aim",
            "verdict",
            "SQLite",
        ]);
        for figure in &self.figures {
            let value = |database: Database| {
                figure
                    .values
                    .get(database.as_str())
                    .map(|value| number(*value))
                    .unwrap_or_default()
            };
            table.add_row([
                figure.name.clone(),
                figure.unit.clone(),
                value(Database::Postgresql),
                limit(figure.wanted.required),
                limit(figure.wanted.aim),
                figure.verdict().to_owned(),
                value(Database::Sqlite),
            ]);
        }
        table
    }

    /// Writes `results/latest.json`.
    pub(crate) fn write(&self) -> Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        let path: PathBuf = folder.join("latest.json");
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("failed to write {}", path.display()))
    }
}

impl Figures<'_> {
    /// A figure; nothing where it could not be had.
    pub(crate) fn add(&mut self, name: &str, unit: &str, wanted: Wanted, value: Option<f64>) {
        let Some(value) = value else { return };
        let figures = &mut self.report.figures;
        match figures
            .iter_mut()
            .find(|figure| figure.name == name && figure.unit == unit)
        {
            Some(figure) => drop(figure.values.insert(self.database, value)),
            None => figures.push(Figure {
                name: name.to_owned(),
                unit: unit.to_owned(),
                wanted,
                values: BTreeMap::from([(self.database, value)]),
            }),
        }
    }

    /// What figures were made of.
    pub(crate) fn detail(&mut self, part: &str, detail: &impl Serialize) -> Result<()> {
        let details = self.report.details.entry(self.database).or_default();
        details.insert(part.to_owned(), serde_json::to_value(detail)?);
        Ok(())
    }
}

impl Figure {
    /// The value that counts.
    fn value(&self) -> Option<f64> {
        self.values.get(REQUIRED.as_str()).copied()
    }

    fn verdict(&self) -> &'static str {
        let Some(value) = self.value() else { return "" };
        let keeps = |limit: Option<Limit>| limit.map(|limit| limit.is_kept(value));
        match (keeps(self.wanted.required), keeps(self.wanted.aim)) {
            (Some(false), _) => "MISSED",
            (_, Some(false)) => "aim missed",
            (_, Some(true)) => "aim met",
            (Some(true), None) => "met",
            (None, None) => "",
        }
    }
}

fn limit(limit: Option<Limit>) -> String {
    match limit {
        None => String::new(),
        Some(Limit::AtLeast(value)) => format!(">= {value}"),
        Some(Limit::AtMost(value)) => format!("<= {value}"),
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::figures::{BURST, MEMORY, POST_P99, REPORTED};

    fn report(database: Database, wanted: Wanted, value: f64) -> Report {
        let mut report = Report::new(&Arguments::parse_from(["threeport-bench"]));
        report.of(database).add("x", "", wanted, Some(value));
        report
    }

    #[test]
    fn only_a_missed_required_figure_of_postgresql_fails() {
        for (database, wanted, value, verdict, misses) in [
            (Database::Postgresql, BURST, 0.24, "MISSED", true),
            (Database::Postgresql, BURST, 0.3, "aim missed", false),
            (Database::Postgresql, BURST, 0.5, "aim met", false),
            (Database::Postgresql, POST_P99, 50.0, "met", false),
            (Database::Postgresql, MEMORY, 151.0, "aim missed", false),
            (Database::Postgresql, REPORTED, 1.0, "", false),
            (Database::Sqlite, BURST, 0.1, "", false),
        ] {
            let report = report(database, wanted, value);
            assert_eq!(report.figures[0].verdict(), verdict);
            assert_eq!(report.misses_required(), misses, "{verdict}");
        }
    }

    #[test]
    fn databases_stand_beside_each_other() {
        let mut report = report(Database::Postgresql, BURST, 0.4);
        report.of(Database::Sqlite).add("x", "", BURST, Some(0.1));
        assert_eq!(report.figures.len(), 1);
        let text = report.table().to_string();
        assert!(
            text.contains("0.40") && text.contains("0.10") && text.contains(">= 0.25"),
            "{text}"
        );
    }
}
