//! `tptctl delete`.

use std::time::Duration;

use clap::Args;
use threeport_client::{Client, Propagation};
use threeport_model::{Code, KindDescriptor, Object};
use tokio::time::Instant;

use super::Session;
use crate::{
    arguments::{Files, duration},
    exit::{self, Exit},
    output,
    progress::Progress,
    selection::{self, Named},
    wait::{Goal, Target, wait},
};

/// How often an object that others still refer to is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Delete objects; in files, in whatever order they are
#[derive(Args, Debug)]
pub struct Delete {
    /// KIND NAME... or KIND/NAME...
    #[arg(
        value_name = "WHAT",
        required_unless_present = "files",
        conflicts_with = "files"
    )]
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    how: How,
}

/// How objects are deleted, whichever they are
#[derive(Args, Debug)]
pub(super) struct How {
    /// Delete what refers to them, too
    #[arg(long)]
    cascade: bool,
    /// Wait until they are gone, and what they made is
    #[arg(long)]
    wait: bool,
    /// The longest to wait
    #[arg(long, value_parser = duration, default_value = "5m")]
    timeout: Duration,
    /// Objects that are not there are no error
    #[arg(long)]
    ignore_not_found: bool,
}

impl Delete {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let meant = selection::objects_or_files(&self.what, &self.files)?;
        let api = session.connect().await?;
        let mut objects = meant.objects_of(&api.client).await?;
        if self.what.is_empty() {
            // What refers goes before what is referred to, which files have first.
            objects.reverse();
            objects.sort_by_key(|(kind, _)| kind.kind.ends_with("Definition"));
        }
        self.how.delete_and_wait(session, &api.client, objects).await
    }
}

impl How {
    /// Deletes what is there, and waits until it is gone.
    pub(super) fn removal(timeout: Duration) -> Self {
        Self {
            cascade: false,
            wait: true,
            timeout,
            ignore_not_found: true,
        }
    }

    pub(super) async fn delete_and_wait(
        &self,
        session: &Session,
        client: &Client,
        objects: Vec<Named>,
    ) -> anyhow::Result<Exit> {
        let mut progress = Progress::new(session.quiet);
        let deadline = Instant::now() + self.timeout;
        let (targets, asked) = self.delete_all(client, objects, deadline, &mut progress).await?;
        if !self.wait || asked == Exit::TimedOut {
            return Ok(asked);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let gone = wait(client, targets, &Goal::Gone, left, &mut progress).await?;
        Ok(asked.worse(gone))
    }

    /// Asks for every deletion. What others of the same command still refer to is tried again until those are gone. A
    /// failure is told and keeps none of the others from going.
    async fn delete_all(
        &self,
        client: &Client,
        objects: Vec<Named>,
        deadline: Instant,
        progress: &mut Progress,
    ) -> anyhow::Result<(Vec<Target>, Exit)> {
        let mut going: Vec<String> = objects
            .iter()
            .map(|(kind, name)| format!("{}/{name}", kind.kind))
            .collect();
        let mut targets = Vec::new();
        let mut left = objects;
        let mut exit = Exit::Ok;
        loop {
            let mut refused = Vec::new();
            for (kind, name) in left {
                match self.delete(client, kind, &name).await {
                    Ok(Some(object)) => {
                        progress.finish();
                        let text = format!("{}/{name} deletion requested", kind.singular);
                        output::even_if_closed(output::print(&text))?;
                        targets.push(Target::of(kind, &object));
                    }
                    Ok(None) => {}
                    Err(error) => match ends_by_itself(&error, &going) {
                        Some(waits) => {
                            progress.update(&format!("{}/{name}", kind.singular), &waits);
                            refused.push((kind, name));
                        }
                        None => {
                            progress.finish();
                            exit = exit.worse(exit::report(&error.into()));
                            // Who stays is not worth waiting for.
                            let stays = format!("{}/{name}", kind.kind);
                            going.retain(|one| *one != stays);
                        }
                    },
                }
            }
            if refused.is_empty() {
                return Ok((targets, exit));
            }
            if Instant::now() >= deadline {
                progress.finish();
                let names: Vec<_> = refused
                    .iter()
                    .map(|(kind, name)| format!("{}/{name}", kind.singular))
                    .collect();
                output::say(&format!("timed out; still referred to: {}", names.join(", ")));
                return Ok((targets, exit.worse(Exit::TimedOut)));
            }
            left = refused;
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn delete(
        &self,
        client: &Client,
        kind: &'static KindDescriptor,
        name: &str,
    ) -> Result<Option<Object>, threeport_client::Error> {
        let propagation = if self.cascade {
            Propagation::Cascade
        } else {
            Propagation::Refuse
        };
        match client.object_delete(kind, name, propagation).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.code() == Some(Code::NotFound) && self.ignore_not_found => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What a refused deletion waits for, where all of that is going with the same command.
fn ends_by_itself(error: &threeport_client::Error, going: &[String]) -> Option<String> {
    let problem = error
        .problem()
        .filter(|problem| problem.code == Code::Referenced)?;
    let all = problem.referrers.iter().all(|referrer| going.contains(referrer));
    all.then(|| format!("waits for {}", problem.referrers.join(", ")))
}
