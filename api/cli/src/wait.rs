//! Waiting, truthfully: until a condition holds for the generation that was meant, or an object is gone.
//!
//! What is true is read from the object itself, each time anew. The watch only says when to look; where it can't be
//! had, or breaks, time does.

use std::time::Duration;

use anyhow::bail;
use futures::StreamExt;
use threeport_client::{Client, WatchStream};
use threeport_model::{
    Code, Condition, ConditionStatus, KindDescriptor, Object,
    condition::{self, DELETION_BLOCKED, READY},
    protocol::watch::WatchEvent,
};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::{exit::Exit, progress::Progress};

/// How often is looked without being told: with a watch, and without one.
const LOOK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));

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

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// A condition has a status, for the generation that is meant.
    Condition {
        /// Its type.
        kind: String,
        /// Its status.
        status: ConditionStatus,
    },
    /// The object is gone.
    Gone,
}

impl Goal {
    /// Ready.
    pub fn ready() -> Self {
        Self::Condition {
            kind: READY.to_owned(),
            status: ConditionStatus::True,
        }
    }

    /// `condition=Ready`, `condition=Ready=False`, `delete`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} should be condition=TYPE, condition=TYPE=True|False|Unknown, or delete");
        if text == "delete" {
            return Ok(Self::Gone);
        }
        let condition = text
            .strip_prefix("condition=")
            .filter(|rest| !rest.is_empty())
            .ok_or_else(wrong)?;
        let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
        let status = match status.to_ascii_lowercase().as_str() {
            "true" => ConditionStatus::True,
            "false" => ConditionStatus::False,
            "unknown" => ConditionStatus::Unknown,
            _ => return Err(wrong()),
        };
        Ok(Self::Condition {
            kind: kind.to_owned(),
            status,
        })
    }
}

/// How it stands with one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as wanted.
    Met,
    /// Not yet, and how it is.
    NotYet(String),
    /// It can't become so any more: the object is another one now, or something else is wanted of it.
    Superseded(String),
}

/// How it stands with `target`, whose object is `object` now.
pub fn judge(object: Option<&Object>, target: &Target, goal: &Goal) -> Verdict {
    let same = |object: &&Object| target.id.is_none() || object.metadata.id == target.id;
    let Goal::Condition { kind, status } = goal else {
        return match object.filter(same) {
            None => Verdict::Met,
            Some(object) => Verdict::NotYet(blocked(object)),
        };
    };
    let Some(object) = object else {
        return Verdict::Superseded("was deleted".to_owned());
    };
    if !same(&object) {
        return Verdict::Superseded("was deleted and made anew".to_owned());
    }
    let wanted = target.generation.unwrap_or_else(|| object.generation());
    if object.generation() > wanted {
        let now = object.generation();
        let what = if object.is_deleting() {
            "is being deleted"
        } else {
            "was changed"
        };
        return Verdict::Superseded(format!(
            "{what}: generation {now} is wanted of it now, not {wanted}"
        ));
    }
    let conditions = conditions(object);
    match condition::find(&conditions, kind) {
        Some(found) if found.observed_generation < wanted => {
            let observed = found.observed_generation;
            Verdict::NotYet(format!(
                "{kind} is known of generation {observed}, not yet of {wanted}"
            ))
        }
        Some(found) if found.status == *status => Verdict::Met,
        Some(found) => Verdict::NotYet(told(found)),
        None => Verdict::NotYet(format!("has no condition {kind} yet")),
    }
}

fn conditions(object: &Object) -> Vec<Condition> {
    let list = object.status.get("conditions").cloned().unwrap_or_default();
    serde_json::from_value(list).unwrap_or_default()
}

fn told(condition: &Condition) -> String {
    let Condition {
        kind,
        status,
        reason,
        message,
        ..
    } = condition;
    let rest = if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    };
    format!("{kind}={} {reason}{rest}", status.as_str())
}

/// What an object that is to go waits for.
fn blocked(object: &Object) -> String {
    let conditions = conditions(object);
    let reason = [DELETION_BLOCKED, READY]
        .into_iter()
        .find_map(|kind| condition::find(&conditions, kind));
    match reason {
        Some(condition) if object.is_deleting() => format!("is being deleted; {}", told(condition)),
        _ if object.is_deleting() => "is being deleted".to_owned(),
        _ => "exists, and nobody has asked for its deletion".to_owned(),
    }
}

/// Waits for all of `targets`.
pub async fn wait(
    client: &Client,
    mut targets: Vec<Target>,
    goal: &Goal,
    limit: Duration,
    progress: &mut Progress,
) -> anyhow::Result<Exit> {
    let deadline = Instant::now() + limit;
    let mut kinds: Vec<&str> = targets.iter().map(|target| target.kind.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut watch: Option<WatchStream> = None;
    loop {
        if watch.is_none() {
            // Before the first look, so that nothing falls between the two.
            watch = timeout_at(deadline, client.watch(&kinds, None))
                .await
                .ok()
                .and_then(Result::ok);
        }
        let mut left = Vec::new();
        let mut reasons = Vec::new();
        for mut target in std::mem::take(&mut targets) {
            match look(client, &mut target, goal, deadline).await? {
                Verdict::Met => progress.update(&target.label(), "done"),
                Verdict::Superseded(reason) => {
                    progress.finish();
                    eprintln!("{}: superseded: {reason}", target.label());
                    return Ok(Exit::Superseded);
                }
                Verdict::NotYet(reason) => {
                    progress.update(&target.label(), &reason);
                    reasons.push(format!("{}: {reason}", target.label()));
                    left.push(target);
                }
            }
        }
        if left.is_empty() {
            return Ok(Exit::Ok);
        }
        targets = left;
        let pause = Instant::now() + if watch.is_some() { LOOK.0 } else { LOOK.1 };
        if !changed(&mut watch, &targets, pause.min(deadline)).await && Instant::now() >= deadline {
            progress.finish();
            eprintln!("timed out after {} s; still waiting for:", limit.as_secs());
            reasons.iter().for_each(|reason| eprintln!("  {reason}"));
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
        // An API that restarts must not end a wait of minutes.
        Ok(Err(error)) if error.is_transient() => return Ok(Verdict::NotYet(error.to_string())),
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

/// Waits until something happened to one of `targets`, or until `pause`. A watch that ended is given up.
async fn changed(watch: &mut Option<WatchStream>, targets: &[Target], pause: Instant) -> bool {
    let Some(stream) = watch else {
        tokio::time::sleep_until(pause).await;
        return false;
    };
    loop {
        match timeout_at(pause, stream.next()).await {
            Err(_) => return false,
            Ok(Some(Ok(item))) => {
                let (kind, name) = match &item.event {
                    WatchEvent::Changed { object } => (object.kind.as_str(), object.metadata.name.as_str()),
                    WatchEvent::Removed { kind, name, .. } => (kind.as_str(), name.as_str()),
                    WatchEvent::Bookmark => continue,
                };
                if targets
                    .iter()
                    .any(|target| target.kind.kind == kind && target.name == name)
                {
                    return true;
                }
            }
            Ok(Some(Err(_)) | None) => {
                *watch = None;
                tokio::time::sleep_until(pause.min(Instant::now() + LOOK.1)).await;
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::find_kind;

    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn target(generation: Option<i64>) -> Target {
        Target {
            kind: find_kind("tpwi").unwrap(),
            name: "web".to_owned(),
            id: Some(ID),
            generation,
        }
    }

    fn object(generation: i64, observed: i64, status: &str) -> Object {
        let mut object = Object::new("WorkloadInstance", "web", json!({}));
        object.metadata.id = Some(ID);
        object.metadata.generation = Some(generation);
        object.status = json!({"conditions": [{
            "type": "Ready", "status": status, "reason": "Why", "message": "because", "observedGeneration": observed,
        }]});
        object
    }

    #[test]
    fn ready_counts_only_for_the_generation_that_is_meant() {
        let judged = |object: &Object| judge(Some(object), &target(Some(4)), &Goal::ready());
        assert_eq!(judged(&object(4, 4, "True")), Verdict::Met);
        assert!(
            matches!(judged(&object(4, 3, "True")), Verdict::NotYet(reason) if reason.contains("generation 3"))
        );
        assert_eq!(
            judged(&object(4, 4, "False")),
            Verdict::NotYet("Ready=False Why: because".to_owned())
        );
        assert!(
            matches!(judged(&object(5, 5, "True")), Verdict::Superseded(reason) if reason.contains("was changed"))
        );
    }

    #[test]
    fn another_object_of_the_name_is_not_the_one_that_is_meant() {
        let mut other = object(1, 1, "True");
        other.metadata.id = Some(Uuid::nil());
        let judged = |object, goal: &Goal| judge(object, &target(Some(4)), goal);
        assert!(matches!(
            judged(Some(&other), &Goal::ready()),
            Verdict::Superseded(_)
        ));
        assert!(matches!(judged(None, &Goal::ready()), Verdict::Superseded(_)));
        assert_eq!(judged(Some(&other), &Goal::Gone), Verdict::Met);
        assert_eq!(judged(None, &Goal::Gone), Verdict::Met);
    }

    #[test]
    fn what_a_deletion_waits_for_is_told() {
        let mut object = object(5, 5, "False");
        object.metadata.deletion_requested_at = Some(jiff::Timestamp::UNIX_EPOCH);
        let gone = judge(Some(&object), &target(Some(4)), &Goal::Gone);
        assert_eq!(
            gone,
            Verdict::NotYet("is being deleted; Ready=False Why: because".to_owned())
        );
        let ready = judge(Some(&object), &target(Some(4)), &Goal::ready());
        assert!(matches!(ready, Verdict::Superseded(reason) if reason.contains("is being deleted")));
    }

    #[test]
    fn goals_are_written_as_for_kubectl() {
        assert_eq!(Goal::parse("condition=Ready").unwrap(), Goal::ready());
        assert_eq!(Goal::parse("delete").unwrap(), Goal::Gone);
        let stalled = Goal::Condition {
            kind: "Stalled".to_owned(),
            status: ConditionStatus::False,
        };
        assert_eq!(Goal::parse("condition=Stalled=false").unwrap(), stalled);
        for bad in ["", "ready", "condition=", "condition=Ready=maybe"] {
            assert!(Goal::parse(bad).is_err(), "{bad}");
        }
    }
}
