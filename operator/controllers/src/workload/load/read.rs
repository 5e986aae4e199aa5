//! What is read of the cluster: objects that were seen to differ, and autoscalers where they matter. Where nothing differs
//! that is nothing at all. An object that is to be changed, and that an agent saw as we left it, is not read either: of
//! its replicas too, nobody else owns any.

use super::super::{
    observed::{Need, is_untouched, need},
    obstacle::Obstacle,
    replicas,
    world::{World, target},
};
use crate::target::{TargetError, display};

/// Reads what was seen to differ, and what an autoscaler may have changed.
pub(super) async fn read(world: &mut World) -> Result<(), Obstacle> {
    let target = target(world)?.clone();
    let agent = world.claim.agent.clone();
    for desired in &world.desired {
        let Some(row) = world.row(desired) else { continue };
        let need = need(row, &desired.hash, agent.as_ref());
        let scalable = replicas::has_replicas(&desired.object) && row.uid.is_some();
        if need == Need::Nothing || (need == Need::Write && !scalable) {
            continue;
        }
        let (id, untouched) = (row.id, is_untouched(row, agent.as_ref()));
        let obstacle = |error: TargetError| Obstacle::of_target(&error, &display(&desired.identity));
        let namespace = &desired.identity.namespace;
        if scalable && !world.autoscalers.contains_key(namespace) {
            let found = target.autoscalers(namespace).await.map_err(obstacle)?;
            world.autoscalers.insert(namespace.clone(), found);
        }
        if need == Need::Write && untouched && !world.is_autoscaled(desired) {
            continue;
        }
        let live = target
            .get(&desired.resource, &desired.identity)
            .await
            .map_err(obstacle)?;
        world.live.insert(id, live);
    }
    Ok(())
}
