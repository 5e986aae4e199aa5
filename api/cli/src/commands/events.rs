//! `tptctl events`.

use clap::Args;

use super::Session;
use crate::{
    describe,
    exit::Exit,
    output::{self, Format},
    selection,
};

/// Show what happened to an object, newest first
#[derive(Args, Debug)]
pub struct Events {
    /// KIND NAME or KIND/NAME
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// How to show them
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Events {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let (kind, name) = selection::single(&self.what)?;
        let api = session.connect().await?;
        let events = api.client.object_events(kind, &name).await?;
        match self.output {
            Format::Json | Format::Yaml => output::structured(&events, self.output)?,
            Format::Name => output::print(
                &events
                    .iter()
                    .map(|it| format!("event/{}\n", it.id))
                    .collect::<String>(),
            )?,
            Format::Table | Format::Wide => {
                output::print(&describe::events(&events, jiff::Timestamp::now()))?;
            }
        }
        Ok(Exit::Ok)
    }
}
