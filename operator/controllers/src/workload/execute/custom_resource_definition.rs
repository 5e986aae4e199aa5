//! When a CRD of ours may be deleted: only if no custom resource but ours is left, for its deletion deletes them all.

use threeport_model::kinds::workload_definition::ResourceIdentity;

use super::{super::identity::Owner, Context, namespace::Keep};
use crate::target::{Resource, TargetError};

const LOOK: u32 = 500;

/// What makes a CRD one that others use.
pub(super) async fn reason_to_keep(
    context: &Context<'_>,
    resource: &Resource,
    identity: &ResourceIdentity,
) -> Result<Option<Keep>, TargetError> {
    let Some(definition) = context.target.get(resource, identity).await? else {
        return Ok(None);
    };
    let spec = &definition["spec"];
    let versions = spec["versions"].as_array().into_iter().flatten();
    let Some(version) = versions.into_iter().find(|version| version["served"] == true) else {
        return Ok(None);
    };
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let custom = Resource {
        group: text(&spec["group"]),
        version: text(&version["name"]),
        kind: text(&spec["names"]["kind"]),
        plural: text(&spec["names"]["plural"]),
        namespaced: spec["scope"] == "Namespaced",
    };
    let objects = match context.target.list_metadata(&custom, "", LOOK).await {
        // Not served: never established, so there is none.
        Err(TargetError::NotFound(_)) => return Ok(None),
        result => result?,
    };
    let foreign = objects.iter().find(|object| !context.world.is_ours(object));
    Ok(foreign.map(|object| {
        let owner = context.world.owner(object);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let message = format!(
            "{} {name} of {} is one of its objects",
            custom.kind,
            owner.describe()
        );
        Keep {
            message,
            for_ours: matches!(owner, Owner::Instance(_) | Owner::Left),
        }
    }))
}
