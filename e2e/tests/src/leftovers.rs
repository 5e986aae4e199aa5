//! Everything that is in a cluster, as a set of identities: what must be the same before a create and after the
//! delete, and what of it is ours. Events and Leases aside, which come and go by themselves.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client,
    api::ListParams,
    core::{DynamicObject, PartialObjectMeta},
    discovery::{Discovery, Scope, verbs},
};

/// kind.group, namespace, name, uid.
pub type Identity = (String, String, String, String);

/// What is in the cluster now.
pub async fn everything(client: &Client) -> Result<BTreeSet<Identity>> {
    list(client, &ListParams::default(), |_, _| true).await
}

/// What carries a label now, without what Kubernetes' own controllers made of it (slices of a Service get its labels).
pub async fn labelled(client: &Client, selector: &str) -> Result<BTreeSet<Identity>> {
    let parameters = ListParams::default().labels(selector);
    list(client, &parameters, |kind, object| {
        kind != "Endpoints" && object.metadata.owner_references.is_none()
    })
    .await
}

async fn list(
    client: &Client,
    parameters: &ListParams,
    counts: impl Fn(&str, &PartialObjectMeta<DynamicObject>) -> bool + Copy,
) -> Result<BTreeSet<Identity>> {
    let discovery = Discovery::new(client.clone())
        .run()
        .await
        .context("failed to discover")?;
    let kinds: Vec<_> = discovery
        .groups()
        .flat_map(kube::discovery::ApiGroup::recommended_resources)
        .filter(|(resource, capabilities)| {
            capabilities.supports_operation(verbs::LIST)
                && !matches!(resource.kind.as_str(), "Event" | "Lease")
                && resource.group != "metrics.k8s.io"
        })
        .collect();
    let lists = stream::iter(kinds).map(|(resource, capabilities)| {
        let client = client.clone();
        async move {
            let _scope: Scope = capabilities.scope;
            let api: Api<DynamicObject> = Api::all_with(client, &resource);
            let list = api
                .list_metadata(parameters)
                .await
                .with_context(|| format!("failed to list {}", resource.kind))?;
            let kind = format!("{}.{}", resource.kind, resource.group);
            anyhow::Ok(
                list.items
                    .into_iter()
                    .filter(|object| counts(&resource.kind, object))
                    .map(|object| identity(&kind, object))
                    .collect::<Vec<_>>(),
            )
        }
    });
    let found: Vec<Vec<Identity>> = lists.buffer_unordered(8).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

fn identity(kind: &str, object: PartialObjectMeta<DynamicObject>) -> Identity {
    let metadata = object.metadata;
    (
        kind.to_owned(),
        metadata.namespace.unwrap_or_default(),
        metadata.name.unwrap_or_default(),
        metadata.uid.unwrap_or_default(),
    )
}
