//! A command is a file: its flags, and what it does.

pub mod apply;
pub mod completion;
pub mod delete;
pub mod describe;
pub mod diff;
pub mod doctor;
pub mod events;
pub mod get;
pub mod history;
pub mod operations;
pub mod resources;
pub mod run;
pub mod take_over;
pub mod wait;
pub mod whoami;

use std::time::Duration;

use threeport_client::Client;
use threeport_model::protocol::apply::{Applied, ApplyResponse, Outcome};

use crate::{
    arguments::{Arguments, Command},
    connect,
    exit::Exit,
    output,
    progress::Progress,
    selection,
    wait::{Goal, Target},
};

/// What every command may need.
pub struct Session {
    /// What was said about the connection.
    pub connection: crate::arguments::Connection,
    /// No progress.
    pub quiet: bool,
    /// The name that the program was called by.
    pub name: &'static str,
}

impl Session {
    /// Makes a way to the API.
    pub async fn connect(&self) -> anyhow::Result<connect::Api> {
        connect::connect(&self.connection).await
    }
}

/// Does what was asked for.
pub async fn run(arguments: Arguments, name: &'static str) -> anyhow::Result<Exit> {
    let session = Session {
        connection: arguments.connection,
        quiet: arguments.quiet,
        name,
    };
    match arguments.command {
        Command::Get(command) => command.run(&session).await,
        Command::Describe(command) => command.run(&session).await,
        Command::Apply(command) => command.run(&session).await,
        Command::Diff(command) => command.run(&session).await,
        Command::Delete(command) => command.run(&session).await,
        Command::Run(command) => command.run(&session).await,
        Command::Wait(command) => command.run(&session).await,
        Command::TakeOver(command) => command.run(&session).await,
        Command::Events(command) => command.run(&session).await,
        Command::History(command) => command.run(&session).await,
        Command::Resources(command) => command.run(&session).await,
        Command::Operations(command) => command.run(&session).await,
        Command::Whoami(command) => command.run(&session).await,
        Command::Doctor(command) => command.run(&session).await,
        Command::Completion(command) => command.run(&session),
    }
}

/// All objects of a kind.
async fn list(
    client: &Client,
    kind: &'static threeport_model::KindDescriptor,
    selector: Option<&str>,
) -> anyhow::Result<Vec<threeport_model::Object>> {
    Ok(client.object_list_all(kind, selector).await?.0)
}

/// `workloadinstance/web created`, a line per object.
fn print_outcomes(response: &ApplyResponse) -> anyhow::Result<()> {
    let suffix = if response.dry_run { " (dry run)" } else { "" };
    let lines = response.results.iter().map(|Applied { outcome, object }| {
        let outcome = match outcome {
            Outcome::Created => "created",
            Outcome::Configured => "configured",
            Outcome::Unchanged => "unchanged",
        };
        format!(
            "{}/{} {outcome}{suffix}\n",
            object.kind.to_ascii_lowercase(),
            object.metadata.name
        )
    });
    output::print(&lines.collect::<String>())
}

/// Waits until what was applied is Ready, in the generations that it has now.
async fn wait_ready(
    session: &Session,
    client: &Client,
    response: &ApplyResponse,
    limit: Duration,
) -> anyhow::Result<Exit> {
    let mut progress = Progress::new(session.quiet);
    crate::wait::wait(client, targets(response)?, &Goal::ready(), limit, &mut progress).await
}

/// What was applied, in the generations that it has now.
fn targets(response: &ApplyResponse) -> anyhow::Result<Vec<Target>> {
    response
        .results
        .iter()
        .map(|applied| {
            Ok(Target::of(
                selection::find(&applied.object.kind)?,
                &applied.object,
            ))
        })
        .collect()
}
