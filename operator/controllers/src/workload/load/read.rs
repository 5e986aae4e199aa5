//! What is read of the cluster: objects that were seen to differ, and autoscalers where they matter. Where nothing differs
//! that is nothing at all.

use serde_json::Value;

use super::super::{
    observed::{Need, need},
    obstacle::Obstacle,
    replicas,
    world::{World, target},
};
use crate::target::{Target, TargetError, display};

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
        let obstacle = |error: TargetError| Obstacle::of_target(&error, &display(&desired.identity));
        let live = target
            .get(&desired.resource, &desired.identity)
            .await
            .map_err(obstacle)?;
        world.live.insert(row.id, live);
        let namespace = &desired.identity.namespace;
        if scalable && !world.autoscalers.contains_key(namespace) {
            let found = autoscalers(&target, namespace).await.map_err(obstacle)?;
            world.autoscalers.insert(namespace.clone(), found);
        }
    }
    Ok(())
}

async fn autoscalers(target: &Target, namespace: &str) -> Result<Vec<Value>, TargetError> {
    let Some(resource) = target
        .find("autoscaling", "v2", "HorizontalPodAutoscaler")
        .await?
    else {
        return Ok(Vec::new());
    };
    let mut objects = target.list(&resource, namespace).await?;
    // Items of a list don't repeat their kind.
    objects
        .iter_mut()
        .for_each(|object| object["kind"] = "HorizontalPodAutoscaler".into());
    Ok(objects)
}
