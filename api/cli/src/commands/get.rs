//! `tptctl get`.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use futures::StreamExt;
use threeport_client::{Client, WatchStream};
use threeport_model::{Code, KindDescriptor, Object, protocol::watch::WatchEvent};
use uuid::Uuid;

use super::{Session, list};
use crate::{
    exit::{self, Exit},
    output::{self, Format},
    selection::{self, Selected},
};

/// How long to wait before a watch that ended is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Show objects
#[derive(Args, Debug)]
pub struct Get {
    /// KIND, KIND NAME..., KIND/NAME..., KIND,KIND, workloads or all
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// How to show them
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    /// Only objects with these labels, as in app=web,tier!=test
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<String>,
    /// Go on showing what changes
    #[arg(long, short)]
    watch: bool,
}

type Groups = Vec<(&'static KindDescriptor, Vec<Object>)>;

/// What was seen so far.
struct Seen {
    /// Where the next watch goes on.
    since: Option<String>,
    /// What was shown, and not said to be gone. A watch with a selector tells of the removal of objects that it never
    /// selected, too.
    shown: BTreeSet<Uuid>,
}

impl Seen {
    fn of(groups: &Groups) -> Self {
        let objects = groups.iter().flat_map(|(_, objects)| objects);
        Self {
            since: None,
            shown: objects.map(Object::id).collect(),
        }
    }
}

impl Get {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let selected = selection::parse(&self.what)?;
        anyhow::ensure!(
            self.selector.is_none() || selected.iter().all(|it| it.name.is_none()),
            "--selector goes with kinds, not with names"
        );
        let api = session.connect().await?;
        let kinds: Vec<_> = selected.iter().map(|it| it.kind.kind).collect();
        let labels = self.selector.as_deref();
        // Before the objects are read, so that nothing falls between the two.
        let events = if self.watch {
            Some(api.client.watch_selected(&kinds, labels, None).await?)
        } else {
            None
        };
        let (groups, exit) = self.read(&api.client, &selected).await?;
        let single = matches!(selected.as_slice(), [Selected { name: Some(_), .. }]);
        if exit == Exit::Ok
            && groups.iter().all(|(_, objects)| objects.is_empty())
            && matches!(self.output, Format::Table | Format::Wide)
        {
            output::say("no objects found");
        }
        output::objects(&groups, single, self.output)?;
        // As in kubectl, what is named and is not there is an error, and nothing to wait for.
        let Some(mut events) = events.filter(|_| exit == Exit::Ok) else {
            return Ok(exit);
        };
        // A watch ends when the API restarts, and from time to time by itself: the next one goes on where it was.
        let mut seen = Seen::of(&groups);
        loop {
            self.follow(&mut events, &selected, &mut seen).await?;
            events = match reopen(&api.client, &kinds, labels, seen.since.as_deref()).await? {
                Some(events) => events,
                None => {
                    output::say("the API no longer has what happened meanwhile; this is how things are now:");
                    let events = api.client.watch_selected(&kinds, labels, None).await?;
                    let (groups, _) = self.read(&api.client, &selected).await?;
                    self.separate()?;
                    output::objects(&groups, single, self.output)?;
                    seen = Seen::of(&groups);
                    events
                }
            };
        }
    }

    /// What is there. Of several that are named, one that is not there is told and hides no other.
    async fn read(&self, client: &Client, selected: &[Selected]) -> anyhow::Result<(Groups, Exit)> {
        let mut groups: Groups = Vec::new();
        let mut exit = Exit::Ok;
        for Selected { kind, name } in selected {
            let objects = match name {
                Some(name) => match client.object_get(kind, name).await {
                    Ok(object) => vec![object],
                    Err(error) if error.code() == Some(Code::NotFound) && selected.len() > 1 => {
                        exit = exit.worse(exit::report(&error.into()));
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                },
                None => list(client, kind, self.selector.as_deref()).await?,
            };
            match groups.last_mut() {
                Some((last, group)) if last.kind == kind.kind => group.extend(objects),
                _ => groups.push((kind, objects)),
            }
        }
        Ok((groups, exit))
    }

    /// Shows what a watch brings until it ends.
    async fn follow(
        &self,
        events: &mut WatchStream,
        selected: &[Selected],
        seen: &mut Seen,
    ) -> anyhow::Result<()> {
        let several = selected.iter().any(|it| it.kind.kind != selected[0].kind.kind);
        let removed = if self.selector.is_some() {
            "deleted or no longer selected"
        } else {
            "deleted"
        };
        while let Some(item) = events.next().await {
            let item = match item {
                Ok(item) => item,
                Err(error) if error.is_transient() => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            match item.event {
                WatchEvent::Changed { object } if wanted(selected, &object.kind, &object.metadata.name) => {
                    self.show(&object, several)?;
                    seen.shown.insert(object.id());
                }
                WatchEvent::Removed { id, kind, name } if seen.shown.remove(&id) => {
                    output::say(&format!("{}/{name} {removed}", kind.to_ascii_lowercase()));
                }
                _ => {}
            }
            seen.since = Some(item.token);
        }
        Ok(())
    }

    fn show(&self, object: &Object, several: bool) -> anyhow::Result<()> {
        let kind = selection::find(&object.kind)?;
        if matches!(self.output, Format::Table | Format::Wide) {
            let prefix = if several {
                format!("{}/", kind.singular)
            } else {
                String::new()
            };
            let wide = self.output == Format::Wide;
            let table = output::object_table(
                kind,
                std::slice::from_ref(object),
                wide,
                &prefix,
                jiff::Timestamp::now(),
            );
            return output::print(table.split_once('\n').map_or("", |(_, row)| row));
        }
        self.separate()?;
        output::objects(&[(kind, vec![object.clone()])], true, self.output)
    }

    /// What follows on what was printed is a document of its own, as YAML too.
    fn separate(&self) -> anyhow::Result<()> {
        if self.output == Format::Yaml {
            output::print("---")?;
        }
        Ok(())
    }
}

/// A watch from `since` on, as soon as the API answers again; nothing where that is longer ago than the API remembers.
async fn reopen(
    client: &Client,
    kinds: &[&str],
    labels: Option<&str>,
    since: Option<&str>,
) -> anyhow::Result<Option<WatchStream>> {
    loop {
        tokio::time::sleep(REOPEN).await;
        match client.watch_selected(kinds, labels, since).await {
            Ok(events) => return Ok(Some(events)),
            Err(error) if error.code() == Some(Code::Gone) => return Ok(None),
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn wanted(selected: &[Selected], kind: &str, name: &str) -> bool {
    selected
        .iter()
        .any(|it| it.kind.kind == kind && it.name.as_deref().is_none_or(|wanted| wanted == name))
}
