//! `tptctl history`.

use clap::Args;

use super::Session;
use crate::{
    exit::Exit,
    output::{self, Format, age, table},
    selection,
};

/// Show the desired states that an object had, newest first; -o yaml shows them in full
#[derive(Args, Debug)]
pub struct History {
    /// KIND NAME or KIND/NAME
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// How to show them
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl History {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let (kind, name) = selection::single(&self.what)?;
        let api = session.connect().await?;
        let revisions = api.client.object_history(kind, &name).await?;
        match self.output {
            Format::Json | Format::Yaml => output::structured(&revisions, self.output)?,
            Format::Name => {
                let names = revisions
                    .iter()
                    .map(|it| format!("{}/{name}@{}\n", kind.singular, it.generation));
                output::print(&names.collect::<String>())?;
            }
            Format::Table | Format::Wide => {
                let now = jiff::Timestamp::now();
                let header = ["GENERATION", "AGE", "ACTOR", "OPERATION"]
                    .map(str::to_owned)
                    .to_vec();
                let rows = revisions.iter().map(|it| {
                    vec![
                        it.generation.to_string(),
                        age(it.at, now),
                        it.actor.clone(),
                        it.operation_id.to_string(),
                    ]
                });
                output::print(&table(header, rows))?;
            }
        }
        Ok(Exit::Ok)
    }
}
