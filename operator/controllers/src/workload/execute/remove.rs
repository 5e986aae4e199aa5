//! Removes objects: custom resources first and waited for, CRDs and namespaces last and only if that is safe.
//!
//! What the cluster refuses to delete stays, and with it what it needs: of a custom resource its operator and its CRD, of
//! any object the namespace that would take it along.
//!
//! An object is deleted by its uid, and only if it is ours: either an agent saw our fields on it untouched, or it is read
//! first ([`removable`]). What is gone, or not ours, leaves the inventory; what can't be read stays in it. So do rows by which
//! it is known where to look again ([`namespace`]).
//!
//! A uid names one object in all the world. What a row is to lose is spared where another row, which stays, is of the same
//! object: of a runtime that is the same cluster under another name, or of another group that serves it too.
//!
//! What was asked to go is not asked again: that it is on its way, or gone, an agent says ([`seen`]), and only where none is
//! heard it is looked at now and then.
//!
//! The rows of a tombstone are leftovers: what a replica that was paused made late. They go the same way.

use std::collections::BTreeSet;

use futures::{FutureExt, StreamExt, stream};
use kube::api::PropagationPolicy;
use serde_json::Value;
use threeport_engine::{LeaseLost, RunError};
use threeport_failpoint::around;
use threeport_model::{
    kinds::{event::EventType, workload_definition::ResourceIdentity, workload_instance::Health},
    protocol::{claim::Trigger, inventory::InventoryRow},
};
use uuid::Uuid;

use super::{
    super::{
        identity::Owner,
        observed::is_as_we_left_it,
        obstacle::Obstacle,
        order::{Rank, rank},
        removable::{Removable, removable},
        world::identity_of,
    },
    Applied, Waiting,
    context::{Context, nowhere},
    custom_resource_definition,
    namespace::{self, Vacated},
    tenants::{self, Keep, Verdict},
};
use crate::{
    target::{DeleteAnswer, Resource, TargetError, display},
    writes,
};

const UNSEEN: &str = "another object took its place; it is looked at once the agent saw it";
/// How many objects of a rank are removed at once.
const PARALLEL: usize = 16;

/// What became of a row.
pub(super) enum Removal {
    /// Its object is gone, or is another row's.
    Gone,
    /// Its object stays, without our identity; why.
    Kept(String),
    /// Its object was deleted and goes once that is done.
    Going(String),
    /// Its object can't be deleted before that.
    Waiting(String),
    /// It was not begun.
    Left,
}

pub(super) enum Failure {
    Lost(LeaseLost),
    Target(TargetError),
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

/// Removes rows, cluster by cluster. `all`: the instance itself goes, and with it what it was the last to live in.
pub(super) async fn remove(
    context: &Context<'_>,
    rows: &[InventoryRow],
    mut applied: Applied,
    all: bool,
) -> Result<Applied, RunError> {
    let stay = applied
        .rows
        .iter()
        .filter(|row| !applied.removed.contains(&row.id));
    let uids: BTreeSet<String> = stay.filter_map(|row| row.uid.clone()).collect();
    for (runtime, rows) in by_runtime(context, rows) {
        match context.at(runtime) {
            Some(there) => remove_there(&there.sparing(&uids), &rows, &mut applied, all).await?,
            None => {
                applied.obstacles.extend(rows.first().map(nowhere));
                applied.rows.extend(rows);
            }
        }
    }
    applied.complete = applied.waiting.is_empty() && applied.obstacles.is_empty() && !applied.cut_short;
    Ok(applied)
}

/// Rows by their runtimes, the world's own first.
pub(super) fn by_runtime(context: &Context<'_>, rows: &[InventoryRow]) -> Vec<(Uuid, Vec<InventoryRow>)> {
    let mut parts: Vec<(Uuid, Vec<InventoryRow>)> = Vec::new();
    for row in rows {
        match parts.iter_mut().find(|(runtime, _)| *runtime == row.runtime_id) {
            Some((_, part)) => part.push(row.clone()),
            None => parts.push((row.runtime_id, vec![row.clone()])),
        }
    }
    parts.sort_by_key(|(runtime, _)| *runtime != context.runtime);
    parts
}

async fn remove_there(
    context: &Context<'_>,
    rows: &[InventoryRow],
    applied: &mut Applied,
    all: bool,
) -> Result<(), RunError> {
    let row_rank = |row: &InventoryRow| rank(&row.group, &row.kind);
    let (mut begun, waited, refused) = (0, applied.waiting.len(), applied.obstacles.len());
    for group in rows.chunk_by(|left, right| row_rank(left) == row_rank(right)) {
        let rank = group.first().map(row_rank);
        let is_refused = applied.obstacles.len() > refused;
        if is_refused && rank.is_some_and(Rank::takes_others_along) {
            break;
        }
        let removals: Vec<_> = group.iter().map(|row| one(context, row).boxed()).collect();
        let results: Vec<_> = stream::iter(removals).buffered(PARALLEL).collect().await;
        for (row, result) in group.iter().zip(results) {
            note(context, applied, row, result)?;
        }
        begun += group.len();
        let stays = applied.waiting.len() > waited || applied.obstacles.len() > refused;
        if (rank == Some(Rank::CustomResource) && stays) || !context.goes_on() {
            break;
        }
    }
    let left = &rows[begun..];
    applied.rows.extend_from_slice(left);
    applied.cut_short |= !left.is_empty();
    let again = if all {
        namespace::remove_left(context, rows, applied).await?
    } else {
        BTreeSet::new()
    };
    namespace::remember(rows, applied, &again);
    Ok(())
}

fn note(
    context: &Context<'_>,
    applied: &mut Applied,
    row: &InventoryRow,
    result: Result<Removal, Failure>,
) -> Result<(), RunError> {
    let name = display(&identity_of(row));
    match result {
        Ok(Removal::Gone) => {
            applied.removed.push(row.id);
            if context.world.claim.deleted {
                let message = format!("{name}, which appeared after its instance was gone, is gone too");
                applied.event(context.world, EventType::Normal, "LeftoverRemoved", message);
            }
        }
        Ok(Removal::Kept(why)) => {
            applied.removed.push(row.id);
            let message = format!("Kept {name}: {why}");
            applied.event(context.world, EventType::Warning, "Kept", message);
            applied.kept.push(format!("{name}: {why}"));
        }
        Ok(Removal::Going(what)) => {
            applied.rows.push(row.clone());
            applied.waiting.push(Waiting {
                on: name,
                what,
                watched: context.watcher(row).is_some() && row.observed.uid == row.uid,
            });
        }
        Ok(Removal::Waiting(what)) => {
            applied.rows.push(row.clone());
            applied.waiting.push(Waiting {
                on: name,
                what,
                watched: false,
            });
        }
        Ok(Removal::Left) => {
            applied.rows.push(row.clone());
            applied.cut_short = true;
        }
        Err(Failure::Lost(lost)) => return Err(lost.into()),
        Err(Failure::Target(error)) => {
            applied.rows.push(row.clone());
            applied.obstacles.push(Obstacle::of_target(&error, &name));
        }
    }
    Ok(())
}

/// The row's kind as it was served when it was written, or as the cluster serves it; nothing where it doesn't any more (its
/// CRD is gone, and so are its objects).
pub(super) async fn resource_of(
    context: &Context<'_>,
    row: &InventoryRow,
) -> Result<Option<Resource>, TargetError> {
    if row.plural.is_empty() {
        let found = context.target.find(&row.group, &row.version, &row.kind).await?;
        return match found {
            Some(found) => Ok(Some(found)),
            None => context.target.find_in_any_version(&row.group, &row.kind).await,
        };
    }
    Ok(Some(Resource {
        group: row.group.clone(),
        version: row.version.clone(),
        kind: row.kind.clone(),
        plural: row.plural.clone(),
        namespaced: !row.namespace.is_empty(),
    }))
}

async fn one(context: &Context<'_>, row: &InventoryRow) -> Result<Removal, Failure> {
    if let Some(removal) = seen(context, row) {
        return Ok(removal);
    }
    if !context.goes_on() {
        return Ok(Removal::Left);
    }
    let removal = ask(context, row).await;
    if matches!(&removal, Err(Failure::Target(error)) if error.is_unknown()) {
        context.fell_silent();
    }
    removal
}

/// What an agent that is heard says of the object that we made. That it is on its way is believed when the agent just said
/// so; who looks by himself looks at the cluster.
fn seen(context: &Context<'_>, row: &InventoryRow) -> Option<Removal> {
    context.watcher(row)?;
    let observed = &row.observed;
    if row.uid.is_none() || observed.uid != row.uid {
        return None;
    }
    match observed.health {
        Health::Missing => Some(Removal::Gone),
        Health::Terminating if context.world.claim.trigger == Trigger::Observation => {
            Some(Removal::Going(observed.message.clone()))
        }
        _ => None,
    }
}

async fn ask(context: &Context<'_>, row: &InventoryRow) -> Result<Removal, Failure> {
    let Some(resource) = resource_of(context, row).await? else {
        return Ok(Removal::Gone);
    };
    match ask_as(context, row, resource).await {
        Err(Failure::Target(TargetError::NotServed(_))) => {}
        removal => return removal,
    }
    // The version is not served any more; the object is still there as long as another one is.
    match context.target.find_in_any_version(&row.group, &row.kind).await? {
        Some(resource) => ask_as(context, row, resource).await,
        None => Ok(Removal::Gone),
    }
}

async fn ask_as(context: &Context<'_>, row: &InventoryRow, resource: Resource) -> Result<Removal, Failure> {
    let identity = identity_of(row);
    // Whoever comes back to an object looks first whether it is on its way.
    let first = context.world.claim.trigger == Trigger::Change;
    let mut uid = row.uid.clone().filter(|_| first && is_seen_as_ours(row, context));
    // A second look, should the object be replaced between the first and the deletion.
    for _ in 0..2 {
        let known = match uid.take() {
            Some(uid) => uid,
            None => match look(context, row, &resource, &identity).await? {
                Look::Ours(live) => text(&live["metadata"]["uid"]),
                Look::Not(removal) => return Ok(removal),
            },
        };
        if context.spares(&known) {
            return Ok(Removal::Gone);
        }
        let verdict = match rank(&row.group, &row.kind) {
            Rank::Namespace => tenants::of_namespace(context, &row.name).await?,
            Rank::CustomResourceDefinition => {
                custom_resource_definition::in_use(context, &resource, &identity).await?
            }
            _ => Verdict::Free,
        };
        match verdict {
            Verdict::Free => {}
            Verdict::Wait(what) => return Ok(Removal::Waiting(what)),
            Verdict::Keep(keep) => return leave(context, row, &resource, &identity, keep).await,
        }
        let call = context
            .target
            .delete(&resource, &identity, &known, propagation(row));
        match context.lease.guard(around(writes::REMOVE, call)).await? {
            Ok(DeleteAnswer::Gone) => return Ok(Removal::Gone),
            Ok(DeleteAnswer::Terminating(finalizers)) => return Ok(Removal::Going(going(&finalizers))),
            Err(TargetError::Replaced) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Removal::Waiting("it is replaced again and again".to_owned()))
}

/// What a look at a live object says.
enum Look {
    /// It is ours and there is no sign of an end.
    Ours(Value),
    /// There is nothing to delete.
    Not(Removal),
}

async fn look(
    context: &Context<'_>,
    row: &InventoryRow,
    resource: &Resource,
    identity: &ResourceIdentity,
) -> Result<Look, Failure> {
    let Some(live) = context.target.get_metadata(resource, identity).await? else {
        return Ok(Look::Not(Removal::Gone));
    };
    let owner = context.world.owner(&live);
    if owner == Owner::Left && rank(&row.group, &row.kind) == Rank::Namespace {
        // A run before left it, and did not come to look once more.
        let removal = look_once_more(context, row, "others live in it".to_owned()).await?;
        return Ok(Look::Not(removal));
    }
    Ok(match removable(row, &live, &owner, &context.manager) {
        Removable::Yes(_) if live["metadata"]["deletionTimestamp"].is_null() => Look::Ours(live),
        Removable::Yes(_) => {
            let finalizers = live["metadata"]["finalizers"].as_array().into_iter().flatten();
            Look::Not(Removal::Going(going(&finalizers.map(text).collect::<Vec<_>>())))
        }
        Removable::No(why) => Look::Not(Removal::Kept(why.to_owned())),
        Removable::Unseen => Look::Not(Removal::Waiting(UNSEEN.to_owned())),
    })
}

/// Takes our identity off an object that others use.
async fn leave(
    context: &Context<'_>,
    row: &InventoryRow,
    resource: &Resource,
    identity: &ResourceIdentity,
    keep: Keep,
) -> Result<Removal, Failure> {
    let live = match look(context, row, resource, identity).await? {
        Look::Ours(live) => live,
        Look::Not(removal) => return Ok(removal),
    };
    namespace::leave(context, resource, identity, &live, &keep).await?;
    if keep.for_ours && rank(&row.group, &row.kind) == Rank::Namespace {
        return look_once_more(context, row, keep.message).await;
    }
    Ok(Removal::Kept(keep.message))
}

/// Looks at a namespace that we left: the others may have left meanwhile, and have seen that we had not.
async fn look_once_more(
    context: &Context<'_>,
    row: &InventoryRow,
    message: String,
) -> Result<Removal, Failure> {
    Ok(match namespace::remove_if_left(context, &row.name).await? {
        Vacated::Removed => Removal::Gone,
        Vacated::Kept => Removal::Kept(message),
        Vacated::Waiting(what) => Removal::Waiting(what),
    })
}

fn going(finalizers: &[String]) -> String {
    if finalizers.is_empty() {
        "is being deleted".to_owned()
    } else {
        finalizers.join(", ")
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether an agent saw the object with all that we wrote, our labels included.
fn is_seen_as_ours(row: &InventoryRow, context: &Context<'_>) -> bool {
    context.watcher(row).is_some()
        && !matches!(row.observed.health, Health::Missing | Health::Terminating)
        && is_as_we_left_it(row)
}

/// What has pods goes after them, so that a removed instance has none left.
fn propagation(row: &InventoryRow) -> PropagationPolicy {
    match (row.group.as_str(), row.kind.as_str()) {
        ("apps" | "batch", _) | ("", "ReplicationController") => PropagationPolicy::Foreground,
        _ => PropagationPolicy::Background,
    }
}

#[cfg(test)]
#[path = "remove_tests.rs"]
pub(super) mod tests;
