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
    figures::{ALL_REQUIRED, LOOP_FLOOR, Limit, Required, Wanted},
    statistics::Spread,
};

/// A required figure is missed, or the run ended before its end.
const FAILED: u8 = 1;
/// A required figure is neither met nor missed. 2 is that of wrong arguments.
const NOT_SHOWN: u8 = 3;

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
    values: BTreeMap<&'static str, Spread>,
    /// What the loop reached that the value that counts is a part of.
    loop_per_second: Option<f64>,
    /// Whether it is missed where it was not measured.
    #[serde(skip)]
    demanded: bool,
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
            figures: demanded(arguments),
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

    /// What the program ends with. That a figure is missed comes before that one was not shown.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.failed || self.misses_required() {
            FAILED
        } else if self.not_shown().is_empty() {
            0
        } else {
            NOT_SHOWN
        }
    }

    /// Whether a required figure is missed.
    fn misses_required(&self) -> bool {
        self.figures.iter().any(Figure::is_missed)
    }

    /// The required figures beside a loop that was too slow for them to say anything.
    pub(crate) fn not_shown(&self) -> Vec<&str> {
        let slow = self.figures.iter().filter(|figure| figure.is_not_shown());
        slow.map(|figure| figure.name.as_str()).collect()
    }

    /// The table, on standard output.
    pub(crate) fn print(&self) {
        println!(
            "{} cores; controller manager's client limit {} requests/s; {} API replica(s) on PostgreSQL; of several runs \
             the median (the least to the most){}",
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
                    .map(|value| spread(*value))
                    .unwrap_or_default()
            };
            table.add_row([
                figure.name.clone(),
                figure.unit.clone(),
                value(Database::Postgresql),
                limit(figure.wanted.required),
                limit(figure.wanted.aim),
                figure.verdict(),
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
    pub(crate) fn add(&mut self, name: &str, unit: &str, wanted: Wanted, value: Option<impl Into<Spread>>) {
        if let Some(value) = value {
            let database = self.database;
            self.figure(name, unit, wanted)
                .values
                .insert(database, value.into());
        }
    }

    /// A required figure.
    pub(crate) fn add_required(&mut self, required: &Required, value: Option<impl Into<Spread>>) {
        self.add(required.name, required.unit, required.wanted, value);
    }

    /// A required figure that is a part of what the loop reached.
    pub(crate) fn add_compared(
        &mut self,
        required: &Required,
        value: Option<Spread>,
        loop_per_second: Option<Spread>,
    ) {
        self.add_required(required, value);
        if self.database == REQUIRED.as_str() {
            let figure = self.figure(required.name, required.unit, required.wanted);
            figure.loop_per_second = loop_per_second.map(|reached| reached.median);
        }
    }

    fn figure(&mut self, name: &str, unit: &str, wanted: Wanted) -> &mut Figure {
        let figures = &mut self.report.figures;
        let known = figures
            .iter()
            .position(|figure| figure.name == name && figure.unit == unit);
        let index = known.unwrap_or_else(|| {
            figures.push(Figure::new(name, unit, wanted));
            figures.len() - 1
        });
        &mut figures[index]
    }

    /// What figures were made of.
    pub(crate) fn detail(&mut self, part: &str, detail: &impl Serialize) -> Result<()> {
        let details = self.report.details.entry(self.database).or_default();
        details.insert(part.to_owned(), serde_json::to_value(detail)?);
        Ok(())
    }
}

/// The required figures that must be there in the end: of the wanted parts, if the database that counts is measured.
fn demanded(arguments: &Arguments) -> Vec<Figure> {
    let counts = arguments.databases().contains(&REQUIRED);
    ALL_REQUIRED
        .iter()
        .filter(|required| counts && arguments.wants(required.part))
        .map(|required| Figure {
            demanded: true,
            ..Figure::new(required.name, required.unit, required.wanted)
        })
        .collect()
}

impl Figure {
    fn new(name: &str, unit: &str, wanted: Wanted) -> Self {
        Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            wanted,
            values: BTreeMap::new(),
            loop_per_second: None,
            demanded: false,
        }
    }

    /// The value that counts.
    fn value(&self) -> Option<f64> {
        self.values.get(REQUIRED.as_str()).map(|value| value.median)
    }

    /// What the loop reached, where that is so little that the figure says nothing.
    fn slow_loop(&self) -> Option<f64> {
        self.loop_per_second.filter(|reached| *reached < LOOP_FLOOR)
    }

    fn is_missed(&self) -> bool {
        match (self.value(), self.wanted.required) {
            (None, _) => self.demanded,
            (Some(value), Some(limit)) => self.slow_loop().is_none() && !limit.is_kept(value),
            (Some(_), None) => false,
        }
    }

    fn is_not_shown(&self) -> bool {
        self.wanted.required.is_some() && self.value().is_some() && self.slow_loop().is_some()
    }

    fn verdict(&self) -> String {
        let Some(value) = self.value() else {
            return if self.demanded { "MISSED: not measured" } else { "" }.to_owned();
        };
        if let Some(reached) = self.slow_loop() {
            return format!("NOT SHOWN: the loop reached only {reached:.0}/s");
        }
        let keeps = |limit: Option<Limit>| limit.map(|limit| limit.is_kept(value));
        let verdict = match (keeps(self.wanted.required), keeps(self.wanted.aim)) {
            (Some(false), _) => "MISSED",
            (_, Some(false)) => "aim missed",
            (_, Some(true)) => "aim met",
            (Some(true), None) => "met",
            (None, None) => "",
        };
        verdict.to_owned()
    }
}

fn limit(limit: Option<Limit>) -> String {
    match limit {
        None => String::new(),
        Some(Limit::AtLeast(value)) => format!(">= {value}"),
        Some(Limit::AtMost(value)) => format!("<= {value}"),
    }
}

fn spread(value: Spread) -> String {
    let median = number(value.median);
    if value.least == value.most {
        median
    } else {
        format!("{median} ({} to {})", number(value.least), number(value.most))
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
    use crate::figures::{BURST, DELETE, MEMORY, POST_P99, REPORTED};

    fn report(arguments: &[&str]) -> Report {
        Report::new(&Arguments::parse_from([&["threeport-bench"], arguments].concat()))
    }

    /// One that demands nothing but what is added.
    fn of(database: Database, wanted: Wanted, value: f64) -> Report {
        let mut report = report(&["--database", "sqlite"]);
        report.of(database).add("x", "", wanted, Some(value));
        report
    }

    #[test]
    fn only_a_missed_required_figure_of_postgresql_fails() {
        let (burst, post) = (BURST.wanted, POST_P99.wanted);
        for (database, wanted, value, verdict, misses) in [
            (Database::Postgresql, burst, 0.24, "MISSED", true),
            (Database::Postgresql, burst, 0.3, "aim missed", false),
            (Database::Postgresql, burst, 0.5, "aim met", false),
            (Database::Postgresql, post, 50.0, "met", false),
            (Database::Postgresql, MEMORY, 151.0, "aim missed", false),
            (Database::Postgresql, REPORTED, 1.0, "", false),
            (Database::Sqlite, burst, 0.1, "", false),
        ] {
            let report = of(database, wanted, value);
            assert_eq!(report.figures[0].verdict(), verdict);
            assert_eq!(report.misses_required(), misses, "{verdict}");
        }
    }

    #[test]
    fn beside_a_slow_loop_a_figure_is_neither_met_nor_missed() {
        for (ratio, reached, verdict, misses) in [
            (0.24, 80.0, "MISSED", true),
            (0.24, 79.4, "NOT SHOWN: the loop reached only 79/s", false),
            (0.6, 79.4, "NOT SHOWN: the loop reached only 79/s", false),
            (0.6, 80.0, "aim met", false),
        ] {
            let mut report = report(&["--database", "sqlite"]);
            // The loop beside SQLite says nothing of PostgreSQL's figure.
            for (database, reached) in [(Database::Postgresql, reached), (Database::Sqlite, 1.0)] {
                let (value, reached) = (Spread::of([ratio]), Spread::of([reached]));
                report.of(database).add_compared(&BURST, value, reached);
            }
            assert_eq!(report.figures[0].verdict(), verdict);
            assert_eq!(report.misses_required(), misses, "{verdict}");
        }
    }

    #[test]
    fn what_a_slow_loop_lets_nobody_show_has_an_exit_code_of_its_own() {
        let (slow, fast) = (Spread::of([79.0]), Spread::of([81.0]));
        let mut report = report(&["--database", "sqlite"]);
        let mut figures = report.of(Database::Postgresql);
        figures.add_compared(&BURST, Spread::of([0.6]), fast);
        figures.add_required(&POST_P99, Some(49.0));
        assert!(report.not_shown().is_empty());
        assert_eq!(report.exit_code(), 0);

        let mut figures = report.of(Database::Postgresql);
        figures.add_compared(&BURST, Spread::of([0.6]), slow);
        figures.add_compared(&DELETE, Spread::of([0.4]), slow);
        assert_eq!(report.not_shown(), [BURST.name, DELETE.name]);
        assert_eq!(report.exit_code(), 3);

        report
            .of(Database::Postgresql)
            .add_required(&POST_P99, Some(51.0));
        assert_eq!(report.not_shown().len(), 2);
        assert_eq!(report.exit_code(), 1, "what is missed is said first");
    }

    #[test]
    fn a_required_figure_of_a_wanted_part_is_missed_where_it_was_not_measured() {
        let all = report(&[]);
        assert_eq!(all.figures.len(), ALL_REQUIRED.len());
        assert!(all.misses_required());
        let text = all.table().to_string();
        assert_eq!(text.matches("MISSED: not measured").count(), 5, "{text}");

        let mut requests = report(&["--part", "requests,memory"]);
        assert!(requests.misses_required());
        let nothing = None::<f64>;
        let mut figures = requests.of(Database::Postgresql);
        figures.add_required(&POST_P99, nothing);
        assert!(requests.misses_required(), "it could not be had");
        requests
            .of(Database::Postgresql)
            .add_required(&POST_P99, Some(49.0));
        assert_eq!(requests.figures.len(), 1, "it is no other figure");
        assert!(!requests.misses_required(), "the other parts were not wanted");

        assert!(!report(&["--database", "sqlite"]).misses_required());
    }

    #[test]
    fn databases_stand_beside_each_other_with_the_least_and_the_most_of_their_runs() {
        let mut report = of(Database::Sqlite, BURST.wanted, 0.1);
        let runs = Spread::of([0.52, 0.31, 0.4]);
        report.of(Database::Postgresql).add("x", "", BURST.wanted, runs);
        assert_eq!(report.figures.len(), 1);
        let text = report.table().to_string();
        for said in ["0.40 (0.31 to 0.52)", "| 0.10", ">= 0.25"] {
            assert!(text.contains(said), "{said:?} is not in {text}");
        }
    }
}
