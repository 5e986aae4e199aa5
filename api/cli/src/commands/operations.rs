//! `tptctl operations`.

use clap::Args;

use super::Session;
use crate::{
    exit::Exit,
    output::{self, Format, age, table},
};

/// Show who changed what, newest first
#[derive(Args, Debug)]
pub struct Operations {
    /// How many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// How to show them
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Operations {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let api = session.connect().await?;
        let operations = api.client.operations(Some(self.limit)).await?;
        match self.output {
            Format::Json | Format::Yaml => output::structured(&operations, self.output)?,
            Format::Name => {
                output::print(
                    &operations
                        .iter()
                        .map(|it| format!("operation/{}\n", it.id))
                        .collect::<String>(),
                )?;
            }
            Format::Table | Format::Wide => {
                let now = jiff::Timestamp::now();
                let header = ["OPERATION", "AGE", "ACTOR", "ROUTE", "CHANGES"]
                    .map(str::to_owned)
                    .to_vec();
                let rows = operations.iter().map(|it| {
                    let actor = match &it.on_behalf_of {
                        Some(person) => format!("{} for {person}", it.actor),
                        None => it.actor.clone(),
                    };
                    let changes = it.objects.iter().map(|object| {
                        format!(
                            "{}/{} {}",
                            object.kind.to_ascii_lowercase(),
                            object.name,
                            object.change.as_str()
                        )
                    });
                    let changes: Vec<_> = changes.collect();
                    vec![
                        it.id.to_string(),
                        age(it.at, now),
                        actor,
                        it.route.clone(),
                        changes.join(", "),
                    ]
                });
                output::print(&table(header, rows))?;
            }
        }
        Ok(Exit::Ok)
    }
}
