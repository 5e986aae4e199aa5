//! Waiting, truthfully: until a condition holds for the generation that was meant, or an object is gone.
//!
//! What is true is read from the object itself, each time anew. The watch only says when to look, and at which; where it
//! can't be had, or breaks, time does, and then all are looked at: a wait for hundreds must not ask hundreds of times for
//! each of them.

mod judge;

use std::time::Duration;

use anyhow::bail;
use futures::StreamExt;
use threeport_client::{Client, WatchStream};
use threeport_model::{Code, KindDescriptor, Object, explain, protocol::watch::WatchEvent};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

pub use self::judge::Goal;
use self::judge::{Verdict, judge};
use crate::{exit::Exit, output, progress::Progress};

/// How often is looked without being told: with a watch, and without one.
const LOOK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));

/// How long the first look may take, however short the wait: who waits for no time at all asks how it is.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// An object that is waited for.
#[derive(Clone)]
pub struct Target {
    /// Its kind.
    pub kind: &'static KindDescriptor,
    /// Its name.
    pub name: String,
    /// Which object of that name; any where absent.
    pub id: Option<Uuid>,
    /// The generation that is meant; the one that is found first where absent.
    pub generation: Option<i64>,
}

impl Target {
    /// An object as it is now.
    pub fn of(kind: &'static KindDescriptor, object: &Object) -> Self {
        let Object { metadata, .. } = object;
        Self {
            kind,
            name: metadata.name.clone(),
            id: metadata.id,
            generation: metadata.generation,
        }
    }

    fn label(&self) -> String {
        format!("{}/{}", self.kind.singular, self.name)
    }
}

/// At what is looked next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    /// At all that are waited for.
    All,
    /// At the one that a watch told of.
    One { kind: String, name: String },
}

impl Due {
    fn has(&self, target: &Target) -> bool {
        match self {
            Self::All => true,
            Self::One { kind, name } => target.kind.kind == kind && target.name == *name,
        }
    }
}

/// What is waited for still, and how it stood when it was looked at last.
struct Waiting {
    target: Target,
    reason: String,
}

/// Waits for all of `targets`.
pub async fn wait(
    client: &Client,
    targets: Vec<Target>,
    goal: &Goal,
    limit: Duration,
    progress: &mut Progress,
) -> anyhow::Result<Exit> {
    let deadline = Instant::now() + limit;
    let mut looked_until = deadline.max(Instant::now() + FIRST_LOOK);
    let mut kinds: Vec<&str> = targets.iter().map(|target| target.kind.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut watch: Option<WatchStream> = None;
    let (mut due, mut all_due) = (Due::All, deadline);
    let unseen = |target| Waiting {
        target,
        reason: String::new(),
    };
    let mut waiting: Vec<Waiting> = targets.into_iter().map(unseen).collect();
    loop {
        if watch.is_none() {
            // Before the first look, so that nothing falls between the two.
            watch = timeout_at(deadline, client.watch(&kinds, None))
                .await
                .ok()
                .and_then(Result::ok);
            due = Due::All;
        }
        let mut left = Vec::new();
        for mut one in std::mem::take(&mut waiting) {
            if !due.has(&one.target) {
                left.push(one);
                continue;
            }
            let label = one.target.label();
            match look(client, &mut one.target, goal, looked_until).await? {
                Verdict::Met => progress.update(&label, "done"),
                Verdict::Superseded(reason) => {
                    progress.finish();
                    output::say(&format!("{label}: superseded: {reason}"));
                    return Ok(Exit::Superseded);
                }
                Verdict::NotYet(reason) => {
                    progress.update(&label, &reason);
                    one.reason = reason;
                    left.push(one);
                }
            }
        }
        if left.is_empty() {
            return Ok(Exit::Ok);
        }
        waiting = left;
        looked_until = deadline;
        if due == Due::All {
            all_due = Instant::now() + if watch.is_some() { LOOK.0 } else { LOOK.1 };
        }
        due = changed(&mut watch, &waiting, all_due.min(deadline)).await;
        if Instant::now() >= all_due {
            due = Due::All;
        }
        if Instant::now() >= deadline {
            progress.finish();
            output::say(&format!(
                "timed out after {} s; still waiting for:",
                limit.as_secs()
            ));
            for Waiting { target, reason } in &waiting {
                output::say(&format!("  {}: {}", target.label(), output::line(reason)));
            }
            return Ok(Exit::TimedOut);
        }
    }
}

async fn look(
    client: &Client,
    target: &mut Target,
    goal: &Goal,
    deadline: Instant,
) -> anyhow::Result<Verdict> {
    let object = match timeout_at(deadline, client.object_get(target.kind, &target.name)).await {
        Ok(Ok(object)) => Some(object),
        Ok(Err(error)) if error.code() == Some(Code::NotFound) => None,
        // No file of ours comes by itself; but one that was there is empty for a moment while somebody writes it anew.
        Ok(Err(error @ threeport_client::Error::ReadFile { .. })) if target.id.is_none() => {
            return Err(error.into());
        }
        // An API that restarts must not end a wait of minutes.
        Ok(Err(error)) if error.is_transient() => return Ok(Verdict::NotYet(explain(&error))),
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => return Ok(Verdict::NotYet("the API does not answer".to_owned())),
    };
    if let Some(object) = &object {
        target.id = target.id.or(object.metadata.id);
        target.generation = target.generation.or(object.metadata.generation);
    } else if target.id.is_none() && *goal != Goal::Gone {
        bail!("there is no {}", target.label());
    }
    Ok(judge(object.as_ref(), target, goal))
}

/// Waits until something happened to one that is waited for, or until `pause`. A watch that ended is given up.
async fn changed(watch: &mut Option<WatchStream>, waiting: &[Waiting], pause: Instant) -> Due {
    let Some(stream) = watch else {
        tokio::time::sleep_until(pause).await;
        return Due::All;
    };
    loop {
        match timeout_at(pause, stream.next()).await {
            Err(_) => return Due::All,
            Ok(Some(Ok(item))) => {
                let (kind, name) = match item.event {
                    WatchEvent::Changed { object } => {
                        let Object { kind, metadata, .. } = *object;
                        (kind, metadata.name)
                    }
                    WatchEvent::Removed { kind, name, .. } => (kind, name),
                    WatchEvent::Bookmark => continue,
                };
                let due = Due::One { kind, name };
                if waiting.iter().any(|one| due.has(&one.target)) {
                    return due;
                }
            }
            Ok(Some(Err(_)) | None) => {
                *watch = None;
                tokio::time::sleep_until(pause.min(Instant::now() + LOOK.1)).await;
                return Due::All;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_client::WatchItem;
    use threeport_model::find_kind;

    use super::*;

    fn event(event: WatchEvent) -> Result<WatchItem, threeport_client::Error> {
        let token = String::new();
        Ok(WatchItem { event, token })
    }

    #[tokio::test]
    async fn of_hundreds_the_one_that_changed_is_looked_at() {
        let removed = |name: &str| {
            event(WatchEvent::Removed {
                id: Uuid::nil(),
                kind: "WorkloadInstance".to_owned(),
                name: name.to_owned(),
            })
        };
        let web = event(WatchEvent::Changed {
            object: Box::new(Object::new("WorkloadInstance", "web", json!({}))),
        });
        let told = [
            event(WatchEvent::Bookmark),
            removed("nobody"),
            web,
            removed("api"),
        ];
        let mut watch: Option<WatchStream> = Some(Box::pin(
            futures::stream::iter(told).chain(futures::stream::pending()),
        ));
        let one = |name: &str| Waiting {
            target: Target {
                kind: find_kind("tpwi").unwrap(),
                name: name.to_owned(),
                id: None,
                generation: None,
            },
            reason: String::new(),
        };
        let waiting = [one("web"), one("api"), one("other")];
        let mut due = async || {
            let pause = Instant::now() + Duration::from_millis(10);
            let due = changed(&mut watch, &waiting, pause).await;
            let looked_at = waiting.iter().filter(|one| due.has(&one.target));
            looked_at.map(|one| one.target.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(due().await, ["web"]);
        assert_eq!(due().await, ["api"]);
        assert_eq!(
            due().await,
            ["web", "api", "other"],
            "nothing was told until the pause"
        );
    }
}
