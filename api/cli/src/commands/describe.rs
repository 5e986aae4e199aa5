//! `tptctl describe`.

use clap::Args;
use threeport_model::Code;

use super::Session;
use crate::{
    describe::Description,
    exit::{self, Exit},
    output, selection,
};

/// Show objects in full: conditions, live resources, events
#[derive(Args, Debug)]
pub struct Describe {
    /// KIND NAME... or KIND/NAME...
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
}

impl Describe {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let objects = selection::objects(&self.what)?;
        let api = session.connect().await?;
        let mut texts = Vec::new();
        let mut exit = Exit::Ok;
        let several = objects.len() > 1;
        for (kind, name) in objects {
            let object = match api.client.object_get(kind, &name).await {
                // It hides no other.
                Err(error) if error.code() == Some(Code::NotFound) && several => {
                    exit = exit.worse(exit::report(&error.into()));
                    continue;
                }
                answer => answer?,
            };
            let resources = match api.client.object_resources(kind, &name).await {
                // Not every kind makes something in a cluster.
                Err(error) if matches!(error.code(), Some(Code::NotFound | Code::NotSupported)) => Vec::new(),
                answer => answer?,
            };
            let events = api.client.object_events(kind, &name).await?;
            let now = jiff::Timestamp::now();
            let description = Description {
                kind,
                object: &object,
                resources: &resources,
                events: &events,
                now,
            };
            texts.push(description.render()?);
        }
        output::print(&texts.join("\n"))?;
        Ok(exit)
    }
}
