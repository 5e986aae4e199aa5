//! `tptctl whoami`.

use clap::Args;

use super::Session;
use crate::{
    exit::Exit,
    output::{self, Format},
};

/// Show who the API takes you for, and which control plane answers
#[derive(Args, Debug)]
pub struct Whoami {
    /// How to show it
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Whoami {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let api = session.connect().await?;
        let me = api.client.whoami().await?;
        match self.output {
            Format::Json | Format::Yaml => output::structured(&me, self.output)?,
            Format::Name => output::print(&me.actor)?,
            Format::Table | Format::Wide => output::print(&format!(
                "Actor:          {}\nRole:           {}\nControl plane:  {} ({})\nNamespace:      {}\nReached by:     {}\n",
                me.actor,
                format!("{:?}", me.role).to_ascii_lowercase(),
                me.control_plane,
                me.control_plane_id,
                me.namespace,
                api.way
            ))?,
        }
        Ok(Exit::Ok)
    }
}
