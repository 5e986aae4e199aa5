//! Loads the world of one run: finds the runtime, reads the definition, waits for dependencies, asks the cluster which
//! kinds it serves ([`Target::find`](crate::target::Target::find)), decides where objects go ([`place`]), and reads what
//! was seen to differ ([`read`]). What stands against applying becomes the world's obstacle.

mod place;
mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use threeport_engine::{Run, RunError};
use threeport_model::{
    ConditionStatus, Kind, Object, condition, duration,
    kinds::{
        KubernetesRuntimeInstance, WorkloadDefinition, kubernetes_runtime_instance, workload_definition,
        workload_definition::ResourceIdentity,
    },
    manifest::{self, Manifest},
    protocol::claim::Claim,
};
use tokio::time::Instant;
use uuid::Uuid;

use self::{place::place, read::read};
use super::{
    obstacle::{Obstacle, Reason},
    render::{Kinds, ServedKind, kind_key, kind_of_set},
    world::{Runtime, World, reference, target},
};
use crate::{
    Identity,
    target::{Target, Targets, display},
};

/// For how long a run begins something new. The engine ends one after 60 s: what is left of them is for what was begun,
/// and for saying what came of it.
const BEGINS: Duration = Duration::from_secs(40);

/// Loads the world. What stands against applying becomes its obstacle, not an error.
pub(super) async fn load(run: &Run, identity: &Identity, targets: &Targets) -> Result<World, RunError> {
    let claim = run.claim.clone();
    let unreadable =
        |error: serde_json::Error| RunError::Failed(format!("failed to read the instance: {error}"));
    let mut world = World {
        identity: identity.clone(),
        spec: claim.object.typed_spec().map_err(unreadable)?,
        previous: claim.object.typed_status(),
        runtime: None,
        target: None,
        elsewhere: BTreeMap::new(),
        namespace: None,
        desired: Vec::new(),
        live: BTreeMap::new(),
        unread: BTreeSet::new(),
        autoscalers: BTreeMap::new(),
        obstacle: None,
        until: Instant::now() + BEGINS,
        claim,
    };
    world.namespace = world
        .previous
        .namespace
        .clone()
        .or_else(|| world.spec.namespace.clone());
    if let Err(obstacle) = fill(&mut world, targets).await {
        world.obstacle = Some(obstacle);
    }
    Ok(world)
}

async fn fill(world: &mut World, targets: &Targets) -> Result<(), Obstacle> {
    reach(world, targets)?;
    if world.is_deleting() {
        return Ok(());
    }
    let manifests = documents(world)?;
    wait_for_dependencies(world)?;
    if world.spec.suspend {
        return Err(Obstacle::new(
            Reason::Suspended,
            "",
            "spec.suspend is true: nothing is written to the cluster",
        ));
    }
    let kinds = resolve(world, &manifests).await?;
    place(world, &manifests, &kinds).await?;
    read(world).await
}

/// Finds the runtime and makes its client.
fn reach(world: &mut World, targets: &Targets) -> Result<(), Obstacle> {
    let missing = || {
        let message =
            "no KubernetesRuntimeInstance is named and none is the default; name one in spec.runtime";
        Obstacle::new(
            Reason::WaitingForDependency,
            KubernetesRuntimeInstance::KIND,
            message,
        )
    };
    let object = place_of_rows(&world.claim).or_else(|| {
        reference(
            &world.claim,
            KubernetesRuntimeInstance::KIND,
            world.spec.runtime.as_ref(),
        )
    });
    let object = object.ok_or_else(missing)?;
    let runtime: kubernetes_runtime_instance::Spec = object
        .typed_spec()
        .map_err(|error| Obstacle::new(Reason::Invalid, object.reference(), error.to_string()))?;
    let status: kubernetes_runtime_instance::Status = object.typed_status();
    world.runtime = Some(Runtime {
        id: object.id(),
        name: object.metadata.name.clone(),
        abandon_after: runtime
            .abandon_after
            .as_deref()
            .and_then(|text| duration::parse(text).ok()),
        unreachable_since: status
            .reachable
            .since
            .filter(|_| status.reachable.status == ConditionStatus::False),
    });
    let target = targets.get(
        object.id(),
        &runtime.connection,
        runtime.service_account.as_deref(),
    );
    world.target = Some(target.map_err(|error| Obstacle::of_target(&error, &object.reference()))?);
    world.elsewhere = elsewhere(world, targets);
    Ok(())
}

/// The clusters that the instance has left but for some objects; those that are not known are not in it.
fn elsewhere(world: &World, targets: &Targets) -> BTreeMap<Uuid, Target> {
    let here = world.runtime.as_ref().map(|runtime| runtime.id);
    let others = world.claim.references.iter().filter(|object| {
        let rows = &world.claim.inventory;
        object.kind == KubernetesRuntimeInstance::KIND
            && Some(object.id()) != here
            && rows.iter().any(|row| row.runtime_id == object.id())
    });
    others
        .filter_map(|object| {
            let spec: kubernetes_runtime_instance::Spec = object.typed_spec().ok()?;
            let target = targets.get(object.id(), &spec.connection, spec.service_account.as_deref());
            Some((object.id(), target.ok()?))
        })
        .collect()
}

/// What goes is where its rows say: the default runtime may be another one by now, and a tombstone has let go of its
/// references.
fn place_of_rows(claim: &Claim) -> Option<&Object> {
    let deleting = claim.deleted || claim.object.is_deleting();
    let row = claim.inventory.first().filter(|_| deleting)?;
    claim
        .references
        .iter()
        .find(|object| object.kind == KubernetesRuntimeInstance::KIND && object.id() == row.runtime_id)
}

fn documents(world: &World) -> Result<Vec<Manifest>, Obstacle> {
    let name = format!("{}/{}", WorkloadDefinition::KIND, world.spec.definition);
    let invalid =
        |message: String| Obstacle::new(Reason::Invalid, name.clone(), format!("{name}: {message}"));
    let definition = world.definition().ok_or_else(|| {
        Obstacle::new(
            Reason::WaitingForDependency,
            name.clone(),
            format!("{name} does not exist yet"),
        )
    })?;
    let spec: workload_definition::Spec = definition
        .typed_spec()
        .map_err(|error| invalid(error.to_string()))?;
    manifest::of_spec(&spec).map_err(|errors| {
        let text: Vec<_> = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect();
        invalid(text.join("; "))
    })
}

/// What was applied in the revision that is wanted runs already: it is kept as it should be, whatever became of what it
/// waited for.
fn wait_for_dependencies(world: &World) -> Result<(), Obstacle> {
    if world.previous.revision.is_some() && world.previous.revision == world.revision() {
        return Ok(());
    }
    for dependency in &world.spec.depends_on {
        let name = format!("{}/{}", dependency.kind, dependency.name);
        let object = reference(&world.claim, &dependency.kind, Some(&dependency.name));
        let conditions = object.map_or_else(Vec::new, |object| condition::of_status(&object.status));
        let holds = condition::find(&conditions, &dependency.condition)
            .is_some_and(|condition| condition.status == ConditionStatus::True);
        if !holds {
            let message = format!("waiting for {name} to be {}", dependency.condition);
            return Err(Obstacle::new(Reason::WaitingForDependency, name, message));
        }
    }
    Ok(())
}

async fn resolve(world: &World, manifests: &[Manifest]) -> Result<Kinds, Obstacle> {
    let target = target(world)?;
    let mut kinds = Kinds::new();
    for manifest in manifests {
        let wanted = &manifest.identity;
        let key = kind_key(wanted);
        if kinds.contains_key(&key) {
            continue;
        }
        let found = target.find(&wanted.group, &wanted.version, &wanted.kind).await;
        let found = found.map_err(|error| Obstacle::of_target(&error, "discovery"))?;
        let kind = match (found, kind_of_set(manifests, wanted)) {
            (Some(resource), _) => ServedKind {
                resource,
                served: true,
            },
            (None, Some(resource)) => ServedKind {
                resource,
                served: false,
            },
            (None, None) => return Err(kind_not_found(wanted)),
        };
        kinds.insert(key, kind);
    }
    Ok(kinds)
}

fn kind_not_found(wanted: &ResourceIdentity) -> Obstacle {
    let kind = format!("{} of {}/{}", wanted.kind, wanted.group, wanted.version);
    let message = format!(
        "{}: the cluster does not serve {kind} and no CustomResourceDefinition of the same definition brings it; \
         install it or mend the document",
        display(wanted)
    );
    Obstacle::new(Reason::KindNotFound, kind, message)
}

#[cfg(test)]
mod tests;
