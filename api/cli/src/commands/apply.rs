//! `tptctl apply`.

use std::time::Duration;

use clap::Args;
use threeport_client::ApplyBody;
use threeport_model::protocol::apply::Outcome;

use super::{Session, print_outcomes, wait_ready};
use crate::{
    arguments::{Files, duration},
    exit::Exit,
    input,
    output::{self, Format},
};

/// Create or change objects, all in one transaction; never deletes
#[derive(Args, Debug)]
pub struct Apply {
    #[command(flatten)]
    files: Files,
    /// Say what would happen and store nothing; exit code 2 if something would change
    #[arg(long)]
    dry_run: bool,
    /// Wait until what was applied is Ready, in the generation that was applied
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// The longest to wait
    #[arg(long, value_parser = duration, default_value = "5m")]
    timeout: Duration,
    /// Print the objects instead of what became of them
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

impl Apply {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let input = input::joined(&input::read(&self.files.files, self.files.recursive, false)?)?;
        let api = session.connect().await?;
        let answer = api
            .client
            .apply(ApplyBody::Yaml(input.text.clone()), self.dry_run)
            .await;
        let response = answer.map_err(|error| input.explain(error))?;
        let printed = match self.output {
            None => print_outcomes(&response),
            Some(format) => {
                let single = response.results.len() == 1;
                let mut groups = Vec::new();
                for applied in &response.results {
                    let kind = crate::selection::find(&applied.object.kind)?;
                    groups.push((kind, vec![applied.object.clone()]));
                }
                output::objects(&groups, single, format)
            }
        };
        output::even_if_closed(printed)?;
        if self.dry_run {
            let changes = response
                .results
                .iter()
                .any(|applied| applied.outcome != Outcome::Unchanged);
            return Ok(if changes { Exit::Differences } else { Exit::Ok });
        }
        if !self.wait {
            return Ok(Exit::Ok);
        }
        wait_ready(session, &api.client, &response, self.timeout).await
    }
}
