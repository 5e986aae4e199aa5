//! Where the objects go: the instance's namespace, and whether it is the instance's to make and to remove.

use std::collections::BTreeSet;

use serde_json::Value;
use threeport_model::{identity, kinds::workload_definition::ResourceIdentity, manifest::Manifest, name};

use super::super::{
    identity::Owner,
    obstacle::{Obstacle, Reason},
    order::Rank,
    render::{Desired, Kinds, Placement, render},
    world::{World, target},
};
use crate::target::{Resource, display};

/// Decides the namespace and renders.
pub(super) async fn place(world: &mut World, manifests: &[Manifest], kinds: &Kinds) -> Result<(), Obstacle> {
    if world.namespace.is_none() {
        world.namespace = Some(default_namespace(world).await?);
    }
    let namespace = world.namespace.clone().unwrap_or_default();
    let labels = identity::labels(
        world.identity.control_plane,
        world.instance(),
        &world.claim.object.metadata.name,
    );
    let placed = |owns_namespace| {
        render(
            manifests,
            kinds,
            &Placement {
                namespace: &namespace,
                owns_namespace,
                labels: &labels,
            },
        )
    };
    world.desired = placed(true);
    if world.spec.namespace.is_some() && !owns_named(world, &namespace).await? {
        world.desired = placed(false);
    }
    distinct(&world.desired)
}

/// Documents that name other namespaces, or none, may become one object where they are placed: each would undo the other.
fn distinct(desired: &[Desired]) -> Result<(), Obstacle> {
    let mut seen = BTreeSet::new();
    for object in desired {
        let id = &object.identity;
        if !seen.insert((&id.group, &id.kind, &id.namespace, &id.name)) {
            let name = display(id);
            let message = format!(
                "{name}: two documents of the definition become this object, one of which says where it is and one does \
                 not; remove one of them, or name another namespace"
            );
            return Err(Obstacle::new(Reason::Invalid, name, message));
        }
    }
    Ok(())
}

/// The instance's name; prefixed with the control plane's where that is another control plane's. That it can't be prefixed
/// is no decision: the other namespace may go.
async fn default_namespace(world: &World) -> Result<String, Obstacle> {
    let own = world.claim.object.metadata.name.clone();
    let live = get_namespace(world, &own).await?;
    let Some(owner @ Owner::ControlPlane(_)) = live.map(|live| world.owner(&live)) else {
        return Ok(own);
    };
    let prefixed = format!("{}-{own}", world.identity.name);
    let Some(problem) = name::problem(&prefixed) else {
        return Ok(prefixed);
    };
    let on = format!("Namespace {own}");
    let message = format!(
        "{on} exists already and belongs to {}, and {prefixed}, which is used in its stead, {problem}; delete the instance \
         and create it anew with spec.namespace",
        owner.describe()
    );
    Err(Obstacle::new(Reason::Conflict, on, message))
}

/// Whether a namespace that a person named is ours to make and to remove. Asked only when something is to be written.
async fn owns_named(world: &World, namespace: &str) -> Result<bool, Obstacle> {
    let is_namespace =
        |desired: &&Desired| desired.rank == Rank::Namespace && desired.identity.name == namespace;
    if world
        .desired
        .iter()
        .find(is_namespace)
        .is_some_and(|desired| world.row(desired).is_some())
    {
        return Ok(true);
    }
    let others = world.desired.iter().filter(|desired| !is_namespace(desired));
    if others
        .into_iter()
        .all(|desired| world.row(desired).is_some_and(|row| row.uid.is_some()))
    {
        return Ok(false);
    }
    match get_namespace(world, namespace).await? {
        None => Ok(true),
        Some(live) => Ok(world.owner(&live) == Owner::Ours),
    }
}

async fn get_namespace(world: &World, name: &str) -> Result<Option<Value>, Obstacle> {
    let identity = ResourceIdentity {
        version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        name: name.to_owned(),
        ..ResourceIdentity::default()
    };
    let live = target(world)?
        .get_metadata(&Resource::namespace(), &identity)
        .await;
    live.map_err(|error| Obstacle::of_target(&error, &display(&identity)))
}
