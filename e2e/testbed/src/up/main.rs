//! `threeport-up`: a control plane of this source tree, and what is behind `make up`, `make down` and `make dev`.
//!
//! `up` looks at the machine and says how long it will take ([`estimate`]), then goes a line of steps, each of which finds
//! out what is there already: [`target`] starts the cluster, [`programs`] builds, [`images`] packs and loads, [`release`]
//! installs the chart, [`environment`] writes what a shell needs, [`sample`] delivers a workload, [`screen`] shows it all.
//! It can be interrupted anywhere and run again. [`dev`] runs the same programs as processes of this machine.

mod database;
mod dev;
mod environment;
mod estimate;
#[cfg(test)]
mod fixture;
mod images;
mod programs;
mod release;
mod sample;
mod screen;
mod search_path;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::search_path::SearchPath;
use crate::target::Target;

/// Bring up a control plane of this source tree.
#[derive(Parser)]
#[command(name = "threeport-up", version)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Install the control plane into a cluster, and deliver the sample.
    Up(UpOptions),
    /// Remove what `up` started.
    Down(Selection),
    /// Run the control plane as processes of this machine, until Ctrl-C.
    Dev(Selection),
}

#[derive(Args, Clone)]
struct Selection {
    /// Which cluster.
    #[arg(long, value_enum, default_value_t = Where::Testbed)]
    cluster: Where,
    #[command(flatten)]
    testbed: threeport_testbed::Selection,
    /// A folder of built programs to use instead of building them.
    #[arg(long)]
    programs: Option<PathBuf>,
}

#[derive(Args, Clone)]
struct UpOptions {
    #[command(flatten)]
    selection: Selection,
    /// The control plane's database; PostgreSQL is the testbed's.
    #[arg(long, value_enum, default_value_t = Database::Sqlite)]
    database: Database,
    /// How many replicas of the API run on PostgreSQL: 2 at first, then as many as were set.
    #[arg(long)]
    api_replicas: Option<u32>,
    /// How the programs are built.
    #[arg(long, value_enum, default_value_t = programs::Profile::Image)]
    profile: programs::Profile,
    /// With `--cluster current`: where the cluster pulls images from, e.g. registry.example.com/threeport.
    #[arg(long)]
    registry: Option<String>,
    /// Leave the sample out.
    #[arg(long)]
    no_sample: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    /// One of its own on this machine.
    Testbed,
    /// The one of the current kubeconfig context.
    Current,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    /// Embedded, one API replica.
    Sqlite,
    /// As many API replicas as wanted.
    Postgresql,
}

fn main() -> ExitCode {
    let path = SearchPath::of_environment();
    let result = match Arguments::parse().command {
        Action::Up(options) => up(&options, &path),
        Action::Down(selection) => target::down(&selection, &path),
        Action::Dev(selection) => dev::run(&selection),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("threeport-up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn up(options: &UpOptions, path: &SearchPath) -> Result<()> {
    let started = Instant::now();
    let target = Target::open(options, path)?;
    let registry = options.registry.as_deref();
    // Before minutes of building: without a way for the images all of it would be for nothing.
    let way = images::Way::find(&target, registry, path)?;
    let programs = programs::provide(options.profile, options.selection.programs.as_deref())?;
    let tag = images::provide(&target, &programs, &way)?;
    release::install(&target, options, &tag)?;
    release::wait_for_own_records(&target)?;
    environment::write(&target, &programs)?;
    let url = if options.no_sample {
        None
    } else {
        sample::deliver(&target, registry)?
    };
    screen::show(&target, &options.selection, url.as_deref(), started.elapsed())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
