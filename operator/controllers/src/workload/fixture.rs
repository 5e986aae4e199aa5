//! A world for tests of what only reads it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use threeport_model::{
    Kind, Object,
    kinds::{
        WorkloadDefinition, WorkloadInstance, workload_definition::ResourceIdentity,
        workload_instance::Status,
    },
    protocol::claim::Claim,
};
use uuid::Uuid;

use super::{
    observed::tests::{agent, row},
    order::Rank,
    render::Desired,
    world::{Runtime, World},
};
use crate::{Identity, target::Resource};

/// An instance `web` of a definition at generation 5, itself at generation 2, with a heard agent and nothing else.
pub(super) fn world() -> World {
    let mut object = Object::new(WorkloadInstance::KIND, "web", json!({"definition": "web"}));
    object.metadata.id = Some(row().instance_id);
    object.metadata.generation = Some(2);
    let mut definition = Object::new(WorkloadDefinition::KIND, "web", json!({}));
    definition.metadata.generation = Some(5);
    World {
        identity: Identity {
            control_plane: Uuid::from_u128(9),
            name: "threeport".to_owned(),
            namespace: "threeport-system".to_owned(),
        },
        spec: object.typed_spec().unwrap(),
        previous: Status::default(),
        runtime: Some(Runtime {
            id: row().runtime_id,
            name: "local".to_owned(),
            abandon_after: None,
            unreachable_since: None,
        }),
        target: None,
        elsewhere: BTreeMap::new(),
        namespace: Some("web".to_owned()),
        desired: Vec::new(),
        live: BTreeMap::new(),
        unread: BTreeSet::new(),
        autoscalers: BTreeMap::new(),
        obstacle: None,
        until: tokio::time::Instant::now() + std::time::Duration::from_secs(40),
        claim: Claim {
            references: vec![definition],
            agent: Some(agent()),
            ..Claim::of(object)
        },
    }
}

/// The object of [`row`], as it is to be.
pub(super) fn desired(hash: &str) -> Desired {
    let row = row();
    Desired {
        identity: ResourceIdentity {
            group: row.group.clone(),
            version: row.version.clone(),
            kind: row.kind.clone(),
            namespace: row.namespace.clone(),
            name: row.name.clone(),
        },
        resource: Resource {
            group: row.group,
            version: row.version,
            kind: row.kind,
            plural: row.plural,
            namespaced: true,
        },
        served: true,
        object: json!({}),
        hash: hash.to_owned(),
        rank: Rank::Workload,
    }
}
