//! Does what was planned: intent rows first, then the applies in their order, then the removals the other way.
//!
//! The claim is asked for before every write. A failure of one object ends the run after its rank: what comes later may
//! need it. What is not known (no answer) ends it at once, and so does the end of its time ([`context`]). Nothing here
//! decides what is wanted.

mod context;
mod custom_resource_definition;
mod namespace;
mod release;
mod remove;
mod tenants;
mod volume_claims;
mod write;

use std::collections::BTreeSet;

use futures::{FutureExt, StreamExt, stream};
use threeport_engine::{Lease, RunError, SourceError};
use threeport_failpoint::around;
use threeport_model::{
    kinds::event::{EventType, NewEvent},
    protocol::inventory::{IntentRequest, InventoryRow},
};
use uuid::Uuid;

use self::context::Context;
use super::{
    obstacle::{Obstacle, Reason},
    plan::{Action, Plan, Step},
    world::{World, is_named},
};
use crate::{api::Api, target::display, writes};

/// How many objects of one rank are applied at once.
const PARALLEL: usize = 4;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The rows as they are now, changed or not; of what is left to remove too.
    pub(super) rows: Vec<InventoryRow>,
    /// Rows whose objects are gone, or are not ours, or were never made.
    pub(super) removed: Vec<Uuid>,
    /// Of those, the rows that stay: by them it is known where to look again.
    pub(super) remembered: Vec<Uuid>,
    /// The first reason why something could not be done, the gravest first.
    pub(super) obstacles: Vec<Obstacle>,
    /// What removals wait for.
    pub(super) waiting: Vec<Waiting>,
    /// What was to be removed and stays, and why.
    pub(super) kept: Vec<String>,
    /// Objects that were healed too often.
    pub(super) fighting: Vec<String>,
    /// What happened.
    pub(super) events: Vec<NewEvent>,
    /// Whether this very run removed what may have stood in the way of what was refused.
    pub(super) made_way: bool,
    /// Whether the run ended before it had begun with everything.
    pub(super) cut_short: bool,
    /// Whether all that was planned is done.
    pub(super) complete: bool,
}

/// An object on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// As messages name objects.
    pub(super) on: String,
    /// What it waits for itself: its finalizers.
    pub(super) what: String,
    /// Whether an agent tells when it is gone.
    pub(super) watched: bool,
}

impl Applied {
    fn event(&mut self, world: &World, kind: EventType, reason: &str, message: String) {
        let event = NewEvent {
            object_id: world.instance(),
            kind,
            reason: reason.to_owned(),
            message,
        };
        self.events.push(event);
    }
}

/// Executes a plan.
pub(super) async fn execute(
    world: &World,
    plan: &Plan,
    api: &dyn Api,
    lease: &Lease,
    now: jiff::Timestamp,
) -> Result<Applied, RunError> {
    let (Some(target), Some(runtime)) = (&world.target, &world.runtime) else {
        return Ok(Applied::default());
    };
    let context = Context::new(world, runtime.id, target, lease, now);
    match plan {
        Plan::Blocked => Ok(Applied {
            rows: world.claim.inventory.clone(),
            ..Applied::default()
        }),
        Plan::Apply { steps, removals } => apply(&context, steps, removals, api).await,
        Plan::Remove(rows) => remove::remove(&context, rows, Applied::default(), true).await,
        Plan::Release(rows) => release::release(&context, rows).await,
    }
}

async fn apply(
    context: &Context<'_>,
    steps: &[Step],
    removals: &[InventoryRow],
    api: &dyn Api,
) -> Result<Applied, RunError> {
    let mut applied = Applied::default();
    let steps: Vec<_> = steps.iter().cloned().map(with_id).collect();
    let steps = steps.as_slice();
    if let Some(obstacle) = intend(context, steps, api).await? {
        applied.rows.clone_from(&context.world.claim.inventory);
        applied.obstacles.push(obstacle);
        return Ok(applied);
    }
    let rank = |step: &Step| context.world.desired[step.desired].rank;
    let mut stopped = false;
    let mut taken = BTreeSet::new();
    for group in steps.chunk_by(|left, right| rank(left) == rank(right)) {
        if stopped {
            applied.rows.extend(group.iter().map(|step| step.row.clone()));
            // Their intent was written by this run and nothing was sent: they hold no object against anybody.
            applied
                .removed
                .extend(group.iter().filter(|step| step.is_new).map(|step| step.row.id));
            continue;
        }
        let writes: Vec<_> = group.iter().map(|step| one(context, step).boxed()).collect();
        let results: Vec<_> = stream::iter(writes).buffered(PARALLEL).collect().await;
        for (step, result) in group.iter().zip(results) {
            let done = result?;
            if done.result.as_ref().is_err_and(is_taken) {
                let identity = &context.world.desired[step.desired].identity;
                taken.insert((identity.group.as_str(), identity.kind.as_str()));
            }
            merge(&mut applied, context.world, done);
        }
        stopped = !applied.obstacles.is_empty() || applied.cut_short;
    }
    applied.obstacles.sort_by_key(|obstacle| obstacle.reason);
    if !stopped {
        return remove::remove(context, removals, applied, false).await;
    }
    // Nothing is removed while what is to take its place is refused; but where the cluster says that something is taken,
    // whoever has it may be one of those that are to go.
    // What is wanted under that name is not in its own way, though its row may be of another runtime.
    let is_wanted = |row: &InventoryRow| {
        let mut desired = context.world.desired.iter();
        desired.any(|desired| is_named(row, &desired.identity))
    };
    let in_the_way =
        |row: &&InventoryRow| taken.contains(&(row.group.as_str(), row.kind.as_str())) && !is_wanted(row);
    let (first, later): (Vec<_>, Vec<_>) = removals.iter().partition(in_the_way);
    applied.rows.extend(later.into_iter().cloned());
    if first.is_empty() {
        return Ok(applied);
    }
    applied.made_way = true;
    let first: Vec<_> = first.into_iter().cloned().collect();
    remove::remove(context, &first, applied, false).await
}

/// Whether a refusal says that another object has what this one wants: a node port, an address, a host name.
fn is_taken(obstacle: &Obstacle) -> bool {
    obstacle.reason == Reason::Invalid && obstacle.message.contains(" already ")
}

fn with_id(mut step: Step) -> Step {
    if step.is_new {
        step.row.id = Uuid::new_v4();
    }
    step
}

/// Writes the new rows with intent, so that nothing that is made is ever forgotten.
async fn intend(context: &Context<'_>, steps: &[Step], api: &dyn Api) -> Result<Option<Obstacle>, RunError> {
    let rows: Vec<_> = steps
        .iter()
        .filter(|step| step.is_new)
        .map(|step| step.row.clone())
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    context.lease.check()?;
    let request = IntentRequest {
        instance_id: context.world.instance(),
        epoch: context.world.claim.epoch,
        rows,
    };
    let intended = around(writes::INTEND, api.intend(&request)).await;
    let response = intended.map_err(|error| match error {
        SourceError::Fenced(_) => RunError::LeaseLost(threeport_engine::LeaseLost),
        error => RunError::Failed(format!("failed to write intent: {error}")),
    })?;
    let Some(conflict) = response.conflicts.first() else {
        return Ok(None);
    };
    let step = steps.iter().find(|step| step.row.id == conflict.id);
    let name = step
        .map(|step| display(&context.world.desired[step.desired].identity))
        .unwrap_or_default();
    let owner = format!("WorkloadInstance/{}", conflict.instance_name);
    let message =
        format!("{name} belongs to {owner}; remove it from one of the two, or use another namespace");
    Ok(Some(Obstacle::new(Reason::OwnedBy, owner, message)))
}

/// What became of one object.
struct Done {
    row: InventoryRow,
    result: Result<write::Written, Obstacle>,
    name: String,
}

async fn one(context: &Context<'_>, step: &Step) -> Result<Done, RunError> {
    let desired = &context.world.desired[step.desired];
    let name = display(&desired.identity);
    let (row, result) = match &step.action {
        Action::Keep => (step.row.clone(), Ok(write::Written::Nothing)),
        Action::Hold => (step.row.clone(), Ok(write::Written::Held)),
        Action::Refuse(obstacle) => (step.row.clone(), Err(obstacle.clone())),
        _ if !context.goes_on() => (step.row.clone(), Ok(write::Written::Left { new: step.is_new })),
        Action::Create => write::create(context, desired, step.row.clone()).await?,
        Action::Update { uid, heal } => write::update(context, desired, step.row.clone(), uid, *heal).await?,
    };
    if matches!(&result, Err(obstacle) if obstacle.reason == Reason::RuntimeUnreachable) {
        context.fell_silent();
    }
    Ok(Done { row, result, name })
}

fn merge(applied: &mut Applied, world: &World, done: Done) {
    if let Err(obstacle) = &done.result
        && done.row.uid.is_none()
        && obstacle.reason.is_refusal()
    {
        // Nothing of ours is there: the cluster said so.
        applied.removed.push(done.row.id);
    }
    if let Ok(write::Written::Left { new: true }) = done.result {
        // Nothing was sent.
        applied.removed.push(done.row.id);
    }
    applied.rows.push(done.row);
    match done.result {
        Ok(write::Written::Nothing | write::Written::Applied) => {}
        Ok(write::Written::Held) => applied.fighting.push(done.name),
        Ok(write::Written::Left { .. }) => applied.cut_short = true,
        Ok(write::Written::Healed) => {
            let message = format!(
                "Healed {}: somebody else had changed what the definition says",
                done.name
            );
            applied.event(world, EventType::Normal, "Healed", message);
        }
        Ok(write::Written::Recreated) => {
            let message = format!(
                "Deleted {} and made it anew, since a field can't be changed",
                done.name
            );
            applied.event(world, EventType::Normal, "Recreated", message);
        }
        Err(obstacle) => applied.obstacles.push(obstacle),
    }
}
