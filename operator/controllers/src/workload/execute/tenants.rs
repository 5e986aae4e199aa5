//! Who lives in a namespace of ours: it may be deleted only if nothing but ours does, and that is known.
//!
//! Every kind is listed to its end, or to the first object that is somebody else's; a list that breaks off makes all of it
//! unknown. What has an owner goes with it, but only an owner that was itself seen in these lists proves that: one that
//! lives elsewhere (a cluster-scoped one) says nothing, and one that is gone already means that the garbage collector has
//! yet to come.

use std::collections::HashSet;

use futures::{FutureExt, StreamExt, stream};
use serde_json::Value;

use super::{super::identity::Owner, context::Context, volume_claims};
use crate::target::{Resource, TargetError};

/// How many kinds are listed at once.
const PARALLEL: usize = 16;

/// Whether an object of ours may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Yes.
    Free,
    /// Not now: what is in it goes by itself.
    Wait(String),
    /// No.
    Keep(Keep),
}

/// Why an object of ours is not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keep {
    pub(super) message: String,
    /// Whether other instances of this control plane are the reason.
    pub(super) for_ours: bool,
}

impl Keep {
    /// What is said of who owns an object that is not this instance's, whatever its labels say.
    pub(super) fn for_the_sake_of(owner: &Owner, say: impl FnOnce(&str) -> String) -> Self {
        let whose = if *owner == Owner::Ours {
            "somebody who copied our labels, or of whom the database has no record".to_owned()
        } else {
            owner.describe()
        };
        Self {
            message: say(&whose),
            for_ours: matches!(owner, Owner::Instance(_) | Owner::Left),
        }
    }
}

/// What the cluster itself puts into namespaces, or what only mirrors something else. All of the group where no plural is
/// named.
const IGNORED: &[(&str, &str)] = &[
    ("", "endpoints"),
    ("", "events"),
    ("coordination.k8s.io", "leases"),
    ("discovery.k8s.io", "endpointslices"),
    ("events.k8s.io", "events"),
    ("metrics.k8s.io", ""),
    // Computed by the Operator Lifecycle Manager, for every namespace.
    ("packages.operators.coreos.com", ""),
];

fn is_ignored(resource: &Resource) -> bool {
    IGNORED
        .iter()
        .any(|(group, plural)| *group == resource.group && (plural.is_empty() || *plural == resource.plural))
}

/// Looks at everything in a namespace.
pub(super) async fn of_namespace(context: &Context<'_>, namespace: &str) -> Result<Verdict, TargetError> {
    let mut resources = context.target.listable().await?;
    resources.retain(|resource| !is_ignored(resource));
    let claims = volume_claims::of_ours(context.world, namespace);
    let lists: Vec<_> = resources
        .iter()
        .map(|resource| list(context, resource, namespace, &claims).boxed())
        .collect();
    let mut lists = stream::iter(lists).buffer_unordered(PARALLEL);
    let mut found = Found::default();
    // Ours outside of the namespace take what they own along too.
    let rows = context.world.claim.inventory.iter();
    found.uids.extend(rows.filter_map(|row| row.uid.clone()));
    while let Some(of_kind) = lists.next().await {
        found.add(of_kind?);
        if found.is_foreign() {
            break;
        }
    }
    Ok(found.verdict(&resources))
}

/// Looks at all objects of one kind.
async fn list(
    context: &Context<'_>,
    resource: &Resource,
    namespace: &str,
    claims: &[String],
) -> Result<Found, TargetError> {
    let mut found = Found::default();
    let mut from = None;
    loop {
        let page = match context.target.page_of_metadata(resource, namespace, from).await {
            // Gone since discovery was read.
            Err(TargetError::NotFound(_) | TargetError::NotServed(_)) => return Ok(found),
            page => page?,
        };
        for object in &page.items {
            found.take(context, resource, object, claims);
        }
        match page.next {
            Some(_) if found.is_foreign() => return Ok(found),
            // As with every answer that does not come in time.
            Some(_) if !context.goes_on() => {
                return Err(TargetError::Unreachable(format!(
                    "the list of {} in {namespace} is too long for the time that is left",
                    resource.plural
                )));
            }
            Some(next) => from = Some(next),
            None => return Ok(found),
        }
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Found {
    uids: HashSet<String>,
    keep: Option<Keep>,
    owned: Vec<Owned>,
}

/// An object that may go with its owner.
#[derive(Debug)]
struct Owned {
    keep: Keep,
    /// Group, kind and uid of each.
    owners: Vec<(String, String, String)>,
}

impl Found {
    fn take(&mut self, context: &Context<'_>, resource: &Resource, object: &Value, claims: &[String]) {
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.uids.insert(text(&metadata["uid"]));
        let name = metadata["name"].as_str().unwrap_or_default();
        if context.world.is_ours(object)
            || is_planted(resource, name)
            || is_copied(resource, metadata)
            || volume_claims::is_one(resource, name, claims)
        {
            return;
        }
        let keep = keep(context, resource, object);
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
        let owners: Vec<_> = owners
            .map(|owner| {
                let api_version = owner["apiVersion"].as_str().unwrap_or_default();
                let group = api_version.split_once('/').map_or("", |(group, _)| group);
                (group.to_owned(), text(&owner["kind"]), text(&owner["uid"]))
            })
            .collect();
        if owners.is_empty() {
            self.note(keep);
        } else {
            self.owned.push(Owned { keep, owners });
        }
    }

    /// A stranger weighs more than another instance of ours.
    fn note(&mut self, keep: Keep) {
        if !self.is_foreign() {
            self.keep = Some(keep);
        }
    }

    fn is_foreign(&self) -> bool {
        self.keep.as_ref().is_some_and(|keep| !keep.for_ours)
    }

    fn add(&mut self, other: Self) {
        self.uids.extend(other.uids);
        self.owned.extend(other.owned);
        if let Some(keep) = other.keep {
            self.note(keep);
        }
    }

    /// `namespaced`: the kinds that were listed.
    fn verdict(mut self, namespaced: &[Resource]) -> Verdict {
        let was_listed = |group: &str, kind: &str| {
            namespaced
                .iter()
                .any(|resource| resource.group == group && resource.kind == kind)
        };
        let mut dangling = None;
        for Owned { keep, owners } in std::mem::take(&mut self.owned) {
            if owners.iter().any(|(_, _, uid)| self.uids.contains(uid)) {
                continue;
            }
            if owners.iter().all(|(group, kind, _)| was_listed(group, kind)) {
                dangling = Some(keep.message);
            } else {
                self.note(keep);
            }
        }
        match (self.keep, dangling) {
            (Some(keep), _) => Verdict::Keep(keep),
            (None, Some(message)) => Verdict::Wait(format!(
                "{message} until the garbage collector removes it: its owner is gone"
            )),
            (None, None) => Verdict::Free,
        }
    }
}

fn keep(context: &Context<'_>, resource: &Resource, object: &Value) -> Keep {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let owner = context.world.owner(object);
    Keep::for_the_sake_of(&owner, |whose| {
        format!("{} {name} of {whose} lives in it", resource.kind)
    })
}

/// What the cluster puts into every namespace: Kubernetes itself, a mesh (Istio), a distribution (OpenShift).
const PLANTED: &[(&str, &str, &str)] = &[
    ("", "configmaps", "istio-ca-root-cert"),
    ("", "configmaps", "kube-root-ca.crt"),
    ("", "configmaps", "openshift-service-ca.crt"),
    ("", "serviceaccounts", "builder"),
    ("", "serviceaccounts", "default"),
    ("", "serviceaccounts", "deployer"),
    ("rbac.authorization.k8s.io", "rolebindings", "system:deployers"),
    (
        "rbac.authorization.k8s.io",
        "rolebindings",
        "system:image-builders",
    ),
    (
        "rbac.authorization.k8s.io",
        "rolebindings",
        "system:image-pullers",
    ),
];

fn is_planted(resource: &Resource, name: &str) -> bool {
    PLANTED.contains(&(resource.group.as_str(), resource.plural.as_str(), name))
}

/// What the Operator Lifecycle Manager copies into every namespace that an operator watches.
fn is_copied(resource: &Resource, metadata: &Value) -> bool {
    resource.group == "operators.coreos.com" && metadata["labels"]["olm.copiedFrom"].is_string()
}

#[cfg(test)]
#[path = "tenants_tests.rs"]
mod tests;
