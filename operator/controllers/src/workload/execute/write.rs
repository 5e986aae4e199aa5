//! Creates and changes one object. What it meets on the way (something else of that name, a field that can't be
//! changed, a kind that is not served yet) is decided here, since only the answer tells.

use std::time::Duration;

use kube::api::PropagationPolicy;
use serde_json::Value;
use threeport_engine::{LeaseLost, RunError};
use threeport_failpoint::{Write, around};
use threeport_model::{identity::ON_IMMUTABLE, ownership, protocol::inventory::InventoryRow};
use tokio::time::{Instant, sleep};

use super::{
    super::{
        fighting,
        identity::Owner,
        job,
        obstacle::{Obstacle, Reason},
        order::Rank,
        render::Desired,
        replicas, secrets,
    },
    Context,
};
use crate::{
    target::{DeleteAnswer, TargetError, Version, display},
    writes,
};

/// How long to wait within a run for what usually takes a moment.
const MOMENT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// How often an object is looked at again that others change meanwhile.
const TRIES: usize = 3;

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Nothing,
    Held,
    /// Not begun; whether its row was written by this very run.
    Left {
        new: bool,
    },
    Applied,
    Healed,
    Recreated,
}

/// The row as it is now, and what was done or why not.
type Answer = (InventoryRow, Result<Written, Obstacle>);

enum Failure {
    Lost(LeaseLost),
    Target(TargetError),
    Obstacle(Obstacle),
}

impl From<LeaseLost> for Failure {
    fn from(lost: LeaseLost) -> Self {
        Self::Lost(lost)
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

/// Makes an object that should not be there.
pub(super) async fn create(
    context: &Context<'_>,
    desired: &Desired,
    row: InventoryRow,
) -> Result<Answer, RunError> {
    let result = create_or_take(context, desired).await;
    answer(context, desired, row, result, Written::Applied)
}

/// Changes an object of ours.
pub(super) async fn update(
    context: &Context<'_>,
    desired: &Desired,
    mut row: InventoryRow,
    uid: &str,
    heal: bool,
) -> Result<Answer, RunError> {
    let live = context.world.live.get(&row.id).and_then(Option::as_ref);
    // What an autoscaler does is no fight.
    let scaled = live.is_some_and(replicas::is_scaled) || context.world.is_autoscaled(desired);
    let heal = heal && !scaled;
    let version = match live {
        Some(live) => version_of(live),
        None => newest_version(&row, uid),
    };
    let live = live.cloned();
    let updated = apply_over(context, desired, uid, version, live, (writes::UPDATE, true)).await;
    let (result, written) = match updated {
        Ok(live) => (Ok(live), if heal { Written::Healed } else { Written::Applied }),
        Err(Failure::Target(TargetError::Gone | TargetError::Replaced)) => {
            (create_or_take(context, desired).await, Written::Applied)
        }
        Err(Failure::Target(TargetError::Immutable { .. })) if may_recreate(desired, &row) => {
            (recreate(context, desired, uid).await, Written::Recreated)
        }
        Err(failure) => (Err(failure), Written::Applied),
    };
    if written == Written::Healed {
        fighting::note_heal(&mut row, context.now);
    }
    answer(context, desired, row, result, written)
}

/// Applies over the object of that uid in the version that is known; if that is not its newest, over what is there now.
async fn apply_over(
    context: &Context<'_>,
    desired: &Desired,
    uid: &str,
    mut version: Option<String>,
    mut live: Option<Value>,
    (write, force): (Write, bool),
) -> Result<Value, Failure> {
    for _ in 0..TRIES {
        let object = sendable(context, desired, live.as_ref()).map_err(Failure::Obstacle)?;
        let seen = Version {
            uid,
            resource_version: version.as_deref(),
        };
        let call = context
            .target
            .update(&desired.resource, &object, seen, &context.manager, force);
        match context.lease.guard(around(write, call)).await? {
            Err(TargetError::Conflict(_)) => {}
            answer => return Ok(answer?),
        }
        let found = context.target.get(&desired.resource, &desired.identity).await?;
        let found = found.ok_or(TargetError::Gone)?;
        if found["metadata"]["uid"] != *uid {
            return Err(TargetError::Replaced.into());
        }
        if !found["metadata"]["deletionTimestamp"].is_null() {
            return Err(is_going(desired));
        }
        version = version_of(&found);
        live = Some(found);
    }
    Err(TargetError::Conflict("it changes all the time".to_owned()).into())
}

fn version_of(live: &Value) -> Option<String> {
    live["metadata"]["resourceVersion"].as_str().map(str::to_owned)
}

/// Of what an agent saw and what our last write was answered with.
fn newest_version(row: &InventoryRow, uid: &str) -> Option<String> {
    let is = |known: &Option<String>| known.as_deref() == Some(uid);
    let applied = row.applied_resource_version.clone().filter(|_| is(&row.uid));
    let observed = row.observed.resource_version.clone();
    let observed = observed.filter(|_| is(&row.observed.uid));
    let number = |version: &Option<String>| version.as_ref().and_then(|text| text.parse::<u64>().ok());
    if number(&observed) > number(&applied) {
        observed
    } else {
        applied
    }
}

fn is_going(desired: &Desired) -> Failure {
    let name = display(&desired.identity);
    let message = format!("{name} is being deleted; it is made again once it is gone");
    Failure::Obstacle(Obstacle::new(Reason::Progressing, name, message))
}

fn answer(
    context: &Context<'_>,
    desired: &Desired,
    row: InventoryRow,
    result: Result<Value, Failure>,
    written: Written,
) -> Result<Answer, RunError> {
    match result {
        Ok(live) => Ok((noted(context, desired, row, &live), Ok(written))),
        Err(Failure::Lost(lost)) => Err(lost.into()),
        Err(Failure::Target(error)) => {
            Ok((row, Err(Obstacle::of_target(&error, &display(&desired.identity)))))
        }
        Err(Failure::Obstacle(obstacle)) => Ok((row, Err(obstacle))),
    }
}

fn noted(context: &Context<'_>, desired: &Desired, mut row: InventoryRow, live: &Value) -> InventoryRow {
    let text = |key: &str| live["metadata"][key].as_str().map(str::to_owned);
    row.uid = text("uid");
    row.applied_resource_version = text("resourceVersion");
    row.ownership_digest = ownership::of_metadata(&live["metadata"], &context.manager);
    row.plan_hash = Some(desired.hash.clone());
    row.version.clone_from(&desired.identity.version);
    row.plural.clone_from(&desired.resource.plural);
    row
}

async fn create_or_take(context: &Context<'_>, desired: &Desired) -> Result<Value, Failure> {
    wait_until_served(context, desired).await?;
    let object = sendable(context, desired, None).map_err(Failure::Obstacle)?;
    let call = context
        .target
        .create(&desired.resource, &object, &context.manager);
    match context.lease.guard(around(writes::CREATE, call)).await? {
        // Something is there already; which, only a look tells.
        Err(TargetError::Conflict(_) | TargetError::FieldsOwned(_)) => take(context, desired).await,
        result => Ok(result?),
    }
}

/// Something of that name exists: ours (an answer was lost), free to adopt, or somebody else's.
async fn take(context: &Context<'_>, desired: &Desired) -> Result<Value, Failure> {
    let name = display(&desired.identity);
    let Some(live) = context.target.get(&desired.resource, &desired.identity).await? else {
        return Err(TargetError::Conflict("it was there and is gone again".to_owned()).into());
    };
    if !live["metadata"]["deletionTimestamp"].is_null() {
        return Err(is_going(desired));
    }
    let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let owner = context.world.owner(&live);
    // The first apply over something that was not ours is not forced: a value that somebody owns is not overwritten.
    let force = match &owner {
        Owner::Ours => true,
        Owner::Foreign(_) | Owner::Left if context.world.spec.adopt => false,
        _ => return Err(Failure::Obstacle(conflict(&name, &owner))),
    };
    apply_over(
        context,
        desired,
        &uid,
        version_of(&live),
        Some(live),
        (writes::TAKE, force),
    )
    .await
}

fn conflict(name: &str, owner: &Owner) -> Obstacle {
    let (reason, advice) = match owner {
        Owner::Instance(_) => (
            Reason::OwnedBy,
            "remove it from one of the two, or use another namespace",
        ),
        Owner::ControlPlane(_) => (Reason::Conflict, "use another namespace or name"),
        _ if name.starts_with("Namespace ") => (
            Reason::Conflict,
            "name it in spec.namespace to use it as it is, or delete it",
        ),
        _ => (Reason::Conflict, "delete it, or set spec.adopt to take it over"),
    };
    let owner = owner.describe();
    Obstacle::new(
        reason,
        name,
        format!("{name} exists already and belongs to {owner}; {advice}"),
    )
}

/// A kind that a CRD of the same set brings is served a moment after that was made.
async fn wait_until_served(context: &Context<'_>, desired: &Desired) -> Result<(), Failure> {
    let id = &desired.identity;
    if desired.served {
        // It was when somebody asked last: its definition may be gone since, and be made anew by this run.
        let find = context.target.find(&id.group, &id.version, &id.kind);
        if !context.world.brings(id) || find.await?.is_some() {
            return Ok(());
        }
    }
    let name = display(id);
    let message = format!("{name}: waiting for its CustomResourceDefinition to be established");
    let deadline = Instant::now() + MOMENT;
    while context
        .target
        .find_now(&id.group, &id.version, &id.kind)
        .await?
        .is_none()
    {
        look_again(context, deadline, &name, &message).await?;
    }
    Ok(())
}

/// Pauses before the next look at an object. Where the moment is over it is in progress, as `message` says.
async fn look_again(
    context: &Context<'_>,
    deadline: Instant,
    name: &str,
    message: &str,
) -> Result<(), Failure> {
    if Instant::now() >= deadline {
        let obstacle = Obstacle::new(Reason::Progressing, name, message);
        return Err(Failure::Obstacle(obstacle));
    }
    context.lease.check()?;
    sleep(POLL).await;
    Ok(())
}

/// What is sent: with secret values, without what an autoscaler owns.
fn sendable(context: &Context<'_>, desired: &Desired, live: Option<&Value>) -> Result<Value, Obstacle> {
    let name = display(&desired.identity);
    let object = secrets::reveal(&desired.object, &context.world.claim.secrets).map_err(|key| {
        let message =
            format!("{name}: the value of data[{key:?}] is not stored; write it again in the definition");
        Obstacle::new(Reason::Invalid, name.clone(), message)
    })?;
    let named = context.world.is_autoscaled(desired);
    Ok(replicas::leave(object, live, &context.manager, named))
}

/// Never what would take others' objects with it.
fn may_recreate(desired: &Desired, row: &InventoryRow) -> bool {
    let is_asked = desired.object["metadata"]["annotations"][ON_IMMUTABLE] == "recreate";
    let is_shared = matches!(desired.rank, Rank::Namespace | Rank::CustomResourceDefinition);
    job::is_job(row) || (is_asked && !is_shared)
}

/// Deletes an object of ours and makes it anew. One that somebody took our labels off, to keep it, is not ours any more.
async fn recreate(context: &Context<'_>, desired: &Desired, uid: &str) -> Result<Value, Failure> {
    let (resource, identity) = (&desired.resource, &desired.identity);
    if let Some(live) = context.target.get_metadata(resource, identity).await? {
        let owner = context.world.owner(&live);
        if owner != Owner::Ours {
            return Err(Failure::Obstacle(conflict(&display(identity), &owner)));
        }
    }
    let call = context
        .target
        .delete(resource, identity, uid, PropagationPolicy::Background);
    let mut answer = context.lease.guard(around(writes::RECREATE, call)).await??;
    let name = display(identity);
    let message = format!("{name} is being deleted, to be made anew");
    let deadline = Instant::now() + MOMENT;
    while answer != DeleteAnswer::Gone {
        look_again(context, deadline, &name, &message).await?;
        if context.target.get_metadata(resource, identity).await?.is_none() {
            answer = DeleteAnswer::Gone;
        }
    }
    create_or_take(context, desired).await
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
