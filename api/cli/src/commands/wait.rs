//! `tptctl wait`.

use std::time::Duration;

use clap::Args;

use super::Session;
use crate::{
    arguments::{Files, duration},
    exit::Exit,
    progress::Progress,
    selection,
    wait::{Goal, Target, wait},
};

/// Wait until a condition holds for what is wanted of the objects now, or until they are gone
///
/// A change of an object while it is waited for ends the wait with exit code 4: what was waited for is not wanted any
/// more.
#[derive(Args, Debug)]
pub struct Wait {
    /// KIND NAME... or KIND/NAME...
    #[arg(
        value_name = "WHAT",
        required_unless_present = "files",
        conflicts_with = "files"
    )]
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// condition=TYPE[=STATUS] or delete
    #[arg(long = "for", value_parser = Goal::parse, default_value = "condition=Ready")]
    goal: Goal,
    /// The longest to wait
    #[arg(long, value_parser = duration, default_value = "5m")]
    timeout: Duration,
}

impl Wait {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let meant = selection::objects_or_files(&self.what, &self.files)?;
        let api = session.connect().await?;
        let objects = meant.objects_of(&api.client).await?;
        let targets = objects.into_iter().map(|(kind, name)| Target {
            kind,
            name,
            id: None,
            generation: None,
        });
        let mut progress = Progress::new(session.quiet);
        wait(
            &api.client,
            targets.collect(),
            &self.goal,
            self.timeout,
            &mut progress,
        )
        .await
    }
}
