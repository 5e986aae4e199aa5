//! `make bench`: how fast a control plane is that the chart installed, against a bare loop that server-side-applies the
//! very same objects to the same cluster.
//!
//! **The limit.** [`bare`] is the loop: 16 instances at once, four applies each, as system:masters. What a control plane
//! reaches is said as a part of what the loop reached in the same run, right before or after it: absolute rates tell
//! more of the machine. The loop's own rate is printed, also alone (with the controller manager paused); where that is far
//! below what such a machine does, what is compared with it says nothing: it is neither met nor missed, and its verdict is
//! that it was not shown.
//!
//! **The witness** is the API server's audit log ([`accepted`]), which no part of ours can influence: a burst ends when
//! the last apply was accepted. What processes used is read from /proc ([`processes`]).
//!
//! **The figures** that are required and aimed at are constants in [`figures`]. A missed required one is exit code 1,
//! and one that a wanted part did not measure is missed. Where none is missed, but one was not shown, that is exit code 3,
//! and the last line names it. (make itself ends with 2 whatever its program ends with, and says which: `Error 3`.)
//!
//! Each part of [`parts`] is a function of a [`world::World`] that gives measurements; [`report`] makes the table and
//! `results/latest.json` of them. Nothing here is a test of meaning: that is what the stories are for.

mod accepted;
mod arguments;
mod bare;
mod database;
mod disk;
mod driver;
mod figures;
mod objects;
mod parts;
mod processes;
mod report;
mod statistics;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::{
    arguments::{Arguments, Database},
    report::Report,
    world::World,
};

fn main() -> ExitCode {
    threeport_telemetry::init();
    let arguments = Arguments::parse();
    let mut report = Report::new(&arguments);
    let measured = measure(&arguments, &mut report);
    report.print();
    let written = report.write();
    for error in [measured.err(), written.err()].into_iter().flatten() {
        eprintln!("bench: {error:#}");
        report.failed = true;
    }
    let not_shown = report.not_shown();
    if !not_shown.is_empty() {
        eprintln!(
            "bench: required, and not shown beside a loop this slow: {}",
            not_shown.join("; ")
        );
    }
    ExitCode::from(report.exit_code())
}

fn measure(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    for database in arguments.databases() {
        let place = world::Place::new(arguments, database)?;
        place.bring_up()?;
        let measured = runtime.block_on(async {
            let world = World::connect(&place).await?;
            place.ensure_as_told()?;
            parts::measure(&world, arguments, database, report).await
        });
        if !arguments.keep {
            place.take_down()?;
        }
        measured?;
    }
    Ok(())
}

/// The database whose figures count.
const REQUIRED: Database = Database::Postgresql;
