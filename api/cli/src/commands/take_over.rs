//! `tptctl take-over`.

use clap::Args;

use super::Session;
use crate::{exit::Exit, output, selection};

/// Make the API the owner of objects that Kubernetes manages; their custom resources become mirrors
#[derive(Args, Debug)]
pub struct TakeOver {
    /// KIND NAME... or KIND/NAME...
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
}

impl TakeOver {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let objects = selection::objects(&self.what)?;
        let api = session.connect().await?;
        for (kind, name) in objects {
            api.client.object_take_over(kind, &name).await?;
            let text = format!("{}/{name} taken over", kind.singular);
            output::even_if_closed(output::print(&text))?;
        }
        Ok(Exit::Ok)
    }
}
