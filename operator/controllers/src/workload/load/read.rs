//! What is read of the cluster: objects that were seen to differ, and autoscalers where they matter. Where nothing differs
//! that is nothing at all. An object that is to be changed, and that an agent saw as we left it, is not read either: of
//! its replicas too, nobody else owns any.
//!
//! Many may differ at once: all, where somebody deleted their namespace. So several are read at once, and for no longer than
//! half of the time that there is. What is not read by then is left alone in this run ([`World::unread`]), and the next
//! one finds those done that come before it.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use serde_json::Value;
use threeport_model::protocol::inventory::InventoryRow;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::{
    observed::{Need, is_untouched, need},
    obstacle::Obstacle,
    render::Desired,
    replicas,
    world::{World, target},
};
use crate::target::{Target, TargetError, display};

/// How many objects are read at once.
const PARALLEL: usize = 16;

/// Reads what was seen to differ, and what an autoscaler may have changed.
pub(super) async fn read(world: &mut World) -> Result<(), Obstacle> {
    let target = target(world)?.clone();
    read_autoscalers(world, &target).await?;
    let now = Instant::now();
    let until = now + world.until.saturating_duration_since(now) / 2;
    let wanted = wanted(world);
    let reads: Vec<_> = wanted
        .iter()
        .map(|(id, desired)| one(&target, desired, *id, until, world.brings(&desired.identity)).boxed())
        .collect();
    let found: Vec<_> = stream::iter(reads).buffered(PARALLEL).try_collect().await?;
    let ids: Vec<Uuid> = wanted.iter().map(|(id, _)| *id).collect();
    world.live.extend(found.into_iter().flatten());
    world.unread = ids
        .into_iter()
        .filter(|id| !world.live.contains_key(id))
        .collect();
    Ok(())
}

/// What is there of a row's object; nothing once the time is up. A kind that is not served, and that the set itself brings,
/// has no objects: it is made first, and they after it.
async fn one(
    target: &Target,
    desired: &Desired,
    id: Uuid,
    until: Instant,
    brought: bool,
) -> Result<Option<(Uuid, Option<Value>)>, Obstacle> {
    if Instant::now() >= until {
        return Ok(None);
    }
    match target.get(&desired.resource, &desired.identity).await {
        Ok(live) => Ok(Some((id, live))),
        Err(TargetError::NotServed(_)) if brought => {
            let kind = &desired.identity;
            target.discovery().forget(&kind.group, &kind.version);
            Ok(Some((id, None)))
        }
        Err(error) => Err(obstacle(&error, desired)),
    }
}

fn obstacle(error: &TargetError, desired: &Desired) -> Obstacle {
    Obstacle::of_target(error, &display(&desired.identity))
}

/// Reads the autoscalers of the namespaces in which they matter.
async fn read_autoscalers(world: &mut World, target: &Target) -> Result<(), Obstacle> {
    let mut found = BTreeMap::new();
    for (desired, row, _) in candidates(world) {
        let namespace = &desired.identity.namespace;
        if is_scalable(desired, row) && !found.contains_key(namespace) {
            let all = target.autoscalers(namespace).await;
            let all = all.map_err(|error| obstacle(&error, desired))?;
            found.insert(namespace.clone(), all);
        }
    }
    world.autoscalers = found;
    Ok(())
}

/// The objects that have to be read, with the ids of their rows.
fn wanted(world: &World) -> Vec<(Uuid, &Desired)> {
    let agent = world.claim.agent.as_ref();
    let mut wanted = Vec::new();
    for (desired, row, need) in candidates(world) {
        let is_known = need == Need::Write && is_untouched(row, agent) && !world.is_autoscaled(desired);
        if !is_known {
            wanted.push((row.id, desired));
        }
    }
    wanted
}

/// Those that differ, and those that are to change and have replicas.
fn candidates(world: &World) -> impl Iterator<Item = (&Desired, &InventoryRow, Need)> {
    let agent = world.claim.agent.as_ref();
    world.desired.iter().filter_map(move |desired| {
        let row = world.row(desired)?;
        let need = need(row, &desired.hash, agent);
        let matters = need == Need::Read || (need == Need::Write && is_scalable(desired, row));
        matters.then_some((desired, row, need))
    })
}

fn is_scalable(desired: &Desired, row: &InventoryRow) -> bool {
    replicas::has_replicas(&desired.object) && row.uid.is_some()
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
