//! What to measure.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measure a control plane against a bare loop that applies the same objects.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "threeport-bench",
    version,
    after_help = "Exit codes: 0 all required figures are met; 1 one is missed, or the run failed; 2 wrong arguments; 3 none is \
                  missed, but one was not shown: the loop that it is compared with was too slow (make says \"Error 3\")"
)]
pub(crate) struct Arguments {
    /// The parts to measure, separated by commas; all of them unless given
    #[arg(long = "part", value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// The databases, separated by commas; the required figures are PostgreSQL's
    #[arg(
        long = "database",
        value_enum,
        value_delimiter = ',',
        default_value = "postgresql,sqlite"
    )]
    databases: Vec<Database>,
    /// Runs of what is compared with the loop, alternating with it
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: usize,
    /// Instances of a burst
    #[arg(long, default_value_t = 500)]
    pub(crate) instances: usize,
    /// Instances of the definition that is edited
    #[arg(long, default_value_t = 300)]
    pub(crate) edited: usize,
    /// Instances at which memory is looked at
    #[arg(long, default_value_t = 1000)]
    pub(crate) resident: usize,
    /// One run of everything, a fifth of the sizes: for a look while working, never for a figure to be quoted
    #[arg(long, conflicts_with_all = ["runs", "instances", "edited", "resident"])]
    pub(crate) quick: bool,
    /// The client limit of each of the controller manager's controllers, in requests per second, and twenty times that of
    /// the one that deletes namespaces: more than they reach here, and no more, since what they do of the loop's objects
    /// takes the time away from the loop
    #[arg(long, default_value_t = 50)]
    pub(crate) controller_requests_per_second: u32,
    /// Replicas of the API on PostgreSQL; 1 is the chart's default
    #[arg(long, default_value_t = 1)]
    pub(crate) api_replicas: u32,
    /// The testbed's name
    #[arg(long, default_value = "bench")]
    pub(crate) name: String,
    /// The folder of its data [default: in the cache]
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
    /// Leave the testbed up, and use the one that is: for many looks in a row, at one database
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A part that can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Part {
    /// Instances created at once and deleted at once, against the loop; CPU per instance
    Burst,
    /// A definition with many instances is edited, against the loop
    Edit,
    /// Created to applied, one at a time and ten per second; commit to custom resource status
    Latency,
    /// POST and GET with 1 and 16 clients
    Requests,
    /// Memory with many instances
    Memory,
}

/// What a control plane keeps its truth in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Database {
    /// The testbed's, at SERIALIZABLE, with fsync
    Postgresql,
    /// Embedded
    Sqlite,
}

impl Database {
    /// As options and tables call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Sqlite => "sqlite",
        }
    }
}

/// How much smaller a quick look is.
const QUICK: usize = 5;

impl Arguments {
    /// The databases, each once.
    pub(crate) fn databases(&self) -> Vec<Database> {
        let mut databases = self.databases.clone();
        databases.dedup();
        databases
    }

    /// Whether a part is to be measured.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    /// How many runs there are; fewer of the database that is only reported.
    pub(crate) fn runs(&self, database: Database) -> usize {
        match database {
            _ if self.quick => 1,
            Database::Postgresql => self.runs,
            Database::Sqlite => self.runs.min(2),
        }
    }

    /// A size, or a part of it for a quick look.
    pub(crate) fn size(&self, size: usize) -> usize {
        if self.quick { size / QUICK } else { size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_look_is_one_run_of_a_fifth() {
        let parse =
            |arguments: &[&str]| Arguments::try_parse_from([&["threeport-bench"], arguments].concat());
        let all = parse(&[]).unwrap();
        assert_eq!(all.databases(), [Database::Postgresql, Database::Sqlite]);
        assert_eq!(
            (all.runs(Database::Postgresql), all.size(all.instances)),
            (5, 500)
        );
        assert_eq!(all.runs(Database::Sqlite), 2);
        let quick = parse(&["--quick", "--part", "burst,edit", "--database", "sqlite"]).unwrap();
        assert_eq!(
            (quick.runs(Database::Sqlite), quick.size(quick.instances)),
            (1, 100)
        );
        assert!(quick.wants(Part::Edit) && !quick.wants(Part::Memory));
        assert!(parse(&["--quick", "--runs", "3"]).is_err());
    }
}
