//! When a CRD of ours may be deleted: only if no custom resource but ours is left, for its deletion deletes them all.

use serde_json::Value;
use threeport_model::kinds::workload_definition::ResourceIdentity;

use super::{
    context::Context,
    tenants::{Keep, Verdict},
};
use crate::target::{Resource, TargetError};

/// Looks at all objects of a CRD, to the first that is not ours.
pub(super) async fn in_use(
    context: &Context<'_>,
    resource: &Resource,
    identity: &ResourceIdentity,
) -> Result<Verdict, TargetError> {
    let Some(definition) = context.target.get(resource, identity).await? else {
        return Ok(Verdict::Free);
    };
    let spec = &definition["spec"];
    let mut versions = spec["versions"].as_array().into_iter().flatten();
    let Some(version) = versions.find(|version| version["served"] == true) else {
        return Ok(Verdict::Keep(Keep {
            message: "none of its versions is served, so nobody knows what is stored of it".to_owned(),
            for_ours: false,
        }));
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let custom = Resource {
        group: text(&spec["group"]),
        version: text(&version["name"]),
        kind: text(&spec["names"]["kind"]),
        plural: text(&spec["names"]["plural"]),
        namespaced: spec["scope"] == "Namespaced",
    };
    let mut from = None;
    loop {
        let page = match context.target.page_of_metadata(&custom, "", from).await {
            // Not served: never established, so there is none.
            Err(TargetError::NotFound(_) | TargetError::NotServed(_)) => return Ok(Verdict::Free),
            page => page?,
        };
        if let Some(foreign) = page.items.iter().find(|object| !context.world.is_ours(object)) {
            return Ok(Verdict::Keep(keep(context, &custom, foreign)));
        }
        match page.next {
            None => return Ok(Verdict::Free),
            Some(_) if !context.goes_on() => {
                let message = format!("there are too many {} for the time that is left", custom.plural);
                return Err(TargetError::Unreachable(message));
            }
            Some(next) => from = Some(next),
        }
    }
}

fn keep(context: &Context<'_>, custom: &Resource, object: &Value) -> Keep {
    let owner = context.world.owner(object);
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    Keep::for_the_sake_of(&owner, |whose| {
        format!("{} {name} of {whose} is one of its objects", custom.kind)
    })
}
