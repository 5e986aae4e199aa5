//! What must hold after an act, whoever died in it: everything is as it was asked for, nothing was made twice, nothing
//! is forgotten, nothing is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;
use threeport_e2e::{
    audit, inventory, leftovers,
    plane::{NAMESPACE, Plane},
    wait_until,
};
use threeport_model::{Code, GROUP, KindDescriptor, VERSION, find_kind, kinds};

use crate::cast::{Act, Cast};

/// Waits until everything is as an act asks for, object by object, and says what is in the way if it does not come to that.
/// When the last is, the first still has to be.
pub(crate) async fn converges(plane: &Plane, cast: &Cast, act: Act, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let names = cast.names();
    loop {
        for (kind, name) in &names {
            let left = deadline.saturating_duration_since(Instant::now()).max(ONCE);
            wait_until("everything is as it was asked for", left, || {
                is_as_asked(plane, kind, name, act)
            })
            .await?;
        }
        let mut others = Vec::new();
        for (kind, name) in &names {
            others.extend(is_as_asked(plane, kind, name, act).await?.err());
        }
        if others.is_empty() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "it did not stay as it was asked for: {others:?}"
        );
    }
}

/// Enough to be asked once.
const ONCE: Duration = Duration::from_millis(1);

async fn is_as_asked(
    plane: &Plane,
    kind: &str,
    name: &str,
    act: Act,
) -> Result<std::result::Result<(), String>> {
    let descriptor = find_kind(kind).with_context(|| format!("no kind {kind}"))?;
    let object = match plane.api.object_get(descriptor, name).await {
        Ok(object) => Some(state(&object.status, object.generation())),
        Err(error) if error.code() == Some(Code::NotFound) => None,
        Err(error) => bail!(error),
    };
    let resource = resources(plane, descriptor).get_opt(name).await?;
    let resource = resource.map(|found| {
        state(
            &found.data["status"],
            found.metadata.generation.unwrap_or_default(),
        )
    });
    for (side, state) in [("the API", object), ("its custom resource", resource)] {
        match (act, state) {
            (Act::Delete, None) => {}
            (Act::Create | Act::Edit, Some(state)) if state == READY => {}
            (_, state) => return Ok(Err(format!("{kind}/{name} in {side} is {state:?}"))),
        }
    }
    Ok(Ok(()))
}

const READY: &str = "Ready";

/// [`READY`], or what it is instead. Ready of an older generation is no such thing.
fn state(status: &Value, generation: i64) -> String {
    let conditions = status["conditions"].as_array();
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    match ready {
        Some(ready) if ready["status"] == "True" && ready["observedGeneration"] == generation => {
            READY.to_owned()
        }
        Some(ready) => format!("generation {generation}, {ready}"),
        None => format!("generation {generation}, without a condition Ready"),
    }
}

/// Waits until everything that the API holds has its custom resource: what the control plane records of itself is mirrored
/// a moment after the facade is ready.
pub(crate) async fn all_is_mirrored(plane: &Plane) -> Result<()> {
    wait_until("all is mirrored", MIRRORED, || async {
        for descriptor in kinds::ALL.iter().filter(|kind| kind.custom_resource) {
            let objects = plane.api.object_list_all(descriptor, None).await?.0;
            let objects: BTreeSet<_> = objects.into_iter().map(|object| object.metadata.name).collect();
            let resources = resources(plane, descriptor)
                .list_metadata(&ListParams::default())
                .await?;
            let resources: BTreeSet<_> = resources.items.iter().map(ResourceExt::name_any).collect();
            if objects != resources {
                return Ok(Err(format!(
                    "{}: {objects:?} in the API, {resources:?} beside it",
                    descriptor.kind
                )));
            }
        }
        Ok(Ok(()))
    })
    .await
}

const MIRRORED: Duration = Duration::from_secs(30);

fn resources(plane: &Plane, kind: &KindDescriptor) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(GROUP, VERSION, kind.kind);
    let resources = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
    Api::namespaced_with(plane.cluster.clone(), NAMESPACE, &resources)
}

/// How often each object was created by us since `offset` in the audit log: answered with 201, be it an apply or a POST.
pub(crate) fn creates(log: &Path, offset: u64) -> Result<BTreeMap<String, usize>> {
    answered(log, offset, |code| code == 201)
}

/// Which writes of ours the API server gave up because who asked had died: it may have done them all the same. How often,
/// by object.
fn given_up(log: &Path, offset: u64) -> Result<BTreeMap<String, usize>> {
    answered(log, offset, |code| code == 0 || code >= 500)
}

/// How often a write of ours was answered so, by object. Kubernetes' events tell a story and are no objects of anybody.
fn answered(log: &Path, offset: u64, so: impl Fn(u16) -> bool) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for entry in audit::since(log, offset)? {
        let code = entry.response_status.as_ref().map_or(0, |status| status.code);
        let object = entry.object_ref.clone().unwrap_or_default();
        if so(code) && entry.is_write() && entry.is_by(NAMESPACE) && object.resource != "events" {
            let name = format!(
                "{}.{} {}/{}",
                object.resource, object.api_group, object.namespace, object.name
            );
            *counts.entry(name).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Each object was created once, and nothing else was.
pub(crate) fn each_was_created_once(log: &Path, offset: u64, expected: &BTreeSet<String>) -> Result<()> {
    let once = expected.iter().map(|name| (name.clone(), 1)).collect();
    each_was_created(log, offset, &once)
}

/// Each object was created as often as that, and nothing else was. A create that the API server gave up and had done counts
/// as one: that the object is there is for others to see, and that nobody made it again is seen here.
pub(crate) fn each_was_created(log: &Path, offset: u64, expected: &BTreeMap<String, usize>) -> Result<()> {
    let (mut creates, given_up) = (creates(log, offset)?, given_up(log, offset)?);
    for name in given_up.keys().filter(|name| expected.get(*name) == Some(&1)) {
        creates.entry(name.clone()).or_insert(1);
    }
    let beyond = |some: &BTreeMap<String, usize>, others: &BTreeMap<String, usize>| -> Vec<String> {
        let more = some
            .iter()
            .filter(|(name, count)| **count > others.get(*name).copied().unwrap_or_default());
        more.map(|(name, count)| format!("{count} x {name}")).collect()
    };
    ensure!(
        creates == *expected,
        "created too often, or not asked for: {:?}; not created, or not so often: {:?}; given up: {given_up:?}",
        beyond(&creates, expected),
        beyond(expected, &creates)
    );
    Ok(())
}

/// The inventory is what carries our label.
pub(crate) async fn inventory_is_what_is_there(plane: &Plane) -> Result<()> {
    let difference = inventory::difference(&plane.api, &plane.cluster).await?;
    ensure!(
        difference.is_empty(),
        "the inventory is not what carries our label: {difference:?}"
    );
    Ok(())
}

/// What Kubernetes itself forgets to give back when who asked for a Service's deletion dies before the answer: it finds the
/// address a minute later. The Service is looked for all the same.
const FORGOTTEN: &str = "IPAddress.networking.k8s.io";

/// The cluster is as it was.
pub(crate) async fn nothing_is_left(plane: &Plane, before: &BTreeSet<leftovers::Identity>) -> Result<()> {
    let now = leftovers::everything(&plane.cluster).await?;
    let (left, lost): (Vec<_>, Vec<_>) = (
        now.difference(before)
            .filter(|(kind, ..)| kind != FORGOTTEN)
            .collect(),
        before
            .difference(&now)
            .filter(|(kind, ..)| kind != FORGOTTEN)
            .collect(),
    );
    ensure!(
        left.is_empty() && lost.is_empty(),
        "left: {left:?}; lost: {lost:?}"
    );
    Ok(())
}
