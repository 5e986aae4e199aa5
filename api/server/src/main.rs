//! `threeport-api`: `bootstrap` makes keys and certificates, `migrate` brings the database's schema up, `serve` serves.

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use threeport_server::{
    bootstrap,
    configuration::{Configuration, Database},
    migrate, openapi, serve, writes,
};

/// A request is hundreds of small allocations on one thread that end on another: with the C library's allocator they took
/// a seventh of the time of a flood of creates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests wait for the database and the network far more than for a processor.
const WORKERS: usize = 4;

/// The REST API of a Threeport control plane
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make, once, the CA, certificates, keys, tokens and passwords of an installation; renew certificates
    Bootstrap(bootstrap::Arguments),
    /// Bring the database's schema up, and wait for a database that is not there yet; any number at once are safe
    Migrate(Database),
    /// Serve the API
    Serve(Box<Configuration>),
    /// Print what is generated from the sources
    Generate {
        /// What
        what: Generated,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Generated {
    /// The OpenAPI 3.1 document
    Openapi,
}

fn main() -> anyhow::Result<()> {
    if threeport_failpoint::begin(&[writes::ALL, threeport_store::writes::ALL])? {
        return Ok(());
    }
    match Arguments::parse().command {
        Command::Bootstrap(arguments) => threeport_telemetry::run(1, async move {
            bootstrap::run(&arguments, jiff::Timestamp::now())
                .await
                .context("failed to bootstrap")
        }),
        Command::Migrate(database) => threeport_telemetry::run(1, async move {
            migrate::run(&database)
                .await
                .context("failed to migrate the database")
        }),
        Command::Serve(configuration) => threeport_telemetry::run(WORKERS, async move {
            serve::run(*configuration, threeport_telemetry::shutdown_token()?).await
        }),
        Command::Generate {
            what: Generated::Openapi,
        } => {
            use std::io::Write;
            let text = serde_json::to_string_pretty(&openapi::document())
                .context("failed to encode the document")?;
            writeln!(std::io::stdout(), "{text}").context("failed to print the document")
        }
    }
}
