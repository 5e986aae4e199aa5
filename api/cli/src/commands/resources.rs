//! `tptctl resources`.

use clap::Args;

use super::Session;
use crate::{
    describe,
    exit::Exit,
    output::{self, Format},
    selection,
};

/// Show what an instance has in its cluster, and how that is
#[derive(Args, Debug)]
pub struct Resources {
    /// KIND NAME or KIND/NAME
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// How to show them
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Resources {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let (kind, name) = selection::single(&self.what)?;
        let api = session.connect().await?;
        let rows = api.client.object_resources(kind, &name).await?;
        match self.output {
            Format::Json | Format::Yaml => output::structured(&rows, self.output)?,
            Format::Name => {
                let names = rows.iter().map(|row| {
                    let group = if row.group.is_empty() {
                        String::new()
                    } else {
                        format!(".{}", row.group)
                    };
                    format!("{}{group}/{}\n", row.kind.to_ascii_lowercase(), row.name)
                });
                output::print(&output::shown(&names.collect::<String>()))?;
            }
            Format::Table | Format::Wide => output::print(&describe::resources(&rows))?,
        }
        Ok(Exit::Ok)
    }
}
