//! A replica whose create is on its way to the cluster is paused past its claim, and goes on after its instance was deleted,
//! or lost that object by an edit. What is made late by that is found by its identity and removed, and nothing else is made.
//! The short form draws one of two deletions.
//!
//! A replica that is paused *before* it sends does not send any more when it goes on (the guard of its lease),
//! so the late create is one that was sent already: a gate holds it back.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use serde_json::{Value, json};
use threeport_client::Propagation;
use threeport_e2e::{
    audit, form, leftovers,
    plane::{Part, Plane},
    wait_until,
};
use threeport_model::{Code, KindDescriptor, Object, condition, find_kind};

use crate::{check, controls, gate::Gate, people::replace};

/// A claim's time to live, a run, and the agent's report.
const DEADLINE: Duration = Duration::from_secs(30);
/// By what it missed in that time a process knows that it was stopped (`api/failpoint`).
const NOTICED: Duration = Duration::from_millis(1200);
const NAME: &str = "late";

/// What becomes of the instance meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Deleted,
    /// Its definition has another object in the place of the late one.
    Edited,
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_1_a_replica_paused_past_its_claim_leaves_nothing_behind() -> Result<()> {
    let mut plane = Plane::prepare().await?;
    for part in [Part::Api, Part::Agent] {
        plane.start_part(part, &[])?;
        plane.wait_part(part)?;
    }
    let kubectl = plane.kubectl()?;
    kubectl.run(&["create", "namespace", "shared"])?;
    wait_until("the namespace is furnished", DEADLINE, || async {
        let found = kubectl.run(&[
            "get",
            "serviceaccount,configmap",
            "--namespace=shared",
            "--output=name",
        ])?;
        Ok(is(found.lines().count() == 2, found))
    })
    .await?;
    controls::what_is_planted_is_found(&plane).await?;
    plane
        .api
        .object_create(definitions()?, &definition("late"))
        .await?;
    // What is made late is a Namespace that is gone, or an object in one that is there.
    let own = (json!({"definition": NAME}), "namespaces. late/late");
    let shared = (
        json!({"definition": NAME, "namespace": "shared"}),
        "configmaps. shared/late",
    );
    let edited = (shared.clone(), Meanwhile::Edited);
    let mut cases: Vec<_> = [own, shared].map(|case| (case, Meanwhile::Deleted)).into();
    if !form::is_long() {
        cases.remove(usize::from(StdRng::seed_from_u64(form::seed()).random_bool(0.5)));
    }
    for ((spec, late), meanwhile) in cases.into_iter().chain([edited]) {
        let result = paused(&mut plane, &spec, late, meanwhile).await;
        if result.is_err() {
            println!("{}", plane.log_tails());
        }
        result.with_context(|| format!("a late {late}, {meanwhile:?}"))?;
    }
    Ok(())
}

/// With one object of that name.
fn definition(name: &str) -> Object {
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}});
    Object::new("WorkloadDefinition", NAME, json!({"manifests": [map]}))
}

async fn paused(plane: &mut Plane, spec: &Value, late: &str, meanwhile: Meanwhile) -> Result<()> {
    let before = leftovers::everything(&plane.cluster).await?;
    let gate = stop_before_a_create(plane, spec).await?;
    let sent = audit::end(&plane.audit_log())?;
    gate.close();
    plane.process(Part::Controllers)?.signal(Signal::CONT)?;
    wait_until("the create is on its way", DEADLINE, || async {
        Ok(is(gate.held() > 0, "nothing was sent".to_owned()))
    })
    .await?;
    plane.process(Part::Controllers)?.signal(Signal::STOP)?;
    let early = check::creates(&plane.audit_log(), sent)?;
    ensure!(early.is_empty(), "it arrived already: {early:?}");

    another_takes_over(plane).await?;
    let before = match meanwhile {
        Meanwhile::Deleted => {
            delete(plane).await?;
            is_as_before(plane, &before)
                .await
                .context("everything of it is gone")?;
            before
        }
        Meanwhile::Edited => {
            edit(plane).await?;
            leftovers::everything(&plane.cluster).await?
        }
    };
    let paused = plane.process(Part::Controllers)?.id();
    ensure!(state_of(paused)? == 'T', "the replica went on by itself");

    let resumed = audit::end(&plane.audit_log())?;
    gate.open();
    wait_until("it is made late", DEADLINE, || async {
        let creates = check::creates(&plane.audit_log(), resumed)?;
        Ok(is(creates.contains_key(late), format!("{creates:?}")))
    })
    .await?;
    plane.process(Part::Controllers)?.signal(Signal::CONT)?;
    is_as_before(plane, &before)
        .await
        .context("what was made late is removed")?;
    let creates = check::creates(&plane.audit_log(), resumed)?;
    ensure!(
        creates.len() == 1 && creates.get(late) == Some(&1),
        "the replica went on after its claim was over: {creates:?}"
    );
    Ok(())
}

/// An instance, and a replica that stopped itself before the first create of it. It reaches the cluster through the gate.
async fn stop_before_a_create(plane: &mut Plane, spec: &Value) -> Result<Gate> {
    plane.stop_part(Part::Controllers)?;
    plane.stop_part(Part::SecondControllers)?;
    let url = plane.kubernetes.url().to_owned();
    let target = url.strip_prefix("https://").context("no TLS")?.parse()?;
    let gate = Gate::start(target).await?;
    let variables = [(
        "THREEPORT_FAILPOINT",
        "controllers.create.before=stop@1".to_owned(),
    )];
    lead(plane, &format!("https://{}", gate.address))?;
    plane.start_part(Part::Controllers, &variables)?;
    plane.wait_part(Part::Controllers)?;
    lead(plane, &url)?;
    let instance = Object::new("WorkloadInstance", NAME, spec.clone());
    plane.api.object_create(instances()?, &instance).await?;
    let process = plane.process(Part::Controllers)?.id();
    let mut since = None;
    wait_until("the replica is stopped for a while", DEADLINE, || {
        let state = state_of(process);
        let stopped = since.get_or_insert_with(Instant::now).elapsed();
        if !matches!(state, Ok('T')) {
            since = None;
        }
        async move { Ok(is(stopped > NOTICED && state? == 'T', format!("for {stopped:?}"))) }
    })
    .await?;
    Ok(gate)
}

async fn another_takes_over(plane: &mut Plane) -> Result<()> {
    plane.start_part(Part::SecondControllers, &[])?;
    plane.wait_part(Part::SecondControllers)?;
    wait_until("another replica takes over", DEADLINE, || async {
        let object = plane.api.object_get(instances()?, NAME).await?;
        let conditions: Vec<threeport_model::Condition> =
            serde_json::from_value(object.status["conditions"].clone())?;
        let ready = condition::find(&conditions, condition::READY).context("no condition")?;
        let is_ready = ready.status == threeport_model::ConditionStatus::True;
        Ok(is(is_ready, ready.message.clone()))
    })
    .await
}

async fn edit(plane: &Plane) -> Result<()> {
    replace(&plane.api, &definition("kept")).await?;
    let kubectl = plane.kubectl()?;
    wait_until("one object took the place of the other", DEADLINE, || async {
        let maps = kubectl.run(&["get", "configmap", "--namespace=shared", "--output=name"])?;
        let has = |name: &str| maps.lines().any(|line| line == format!("configmap/{name}"));
        Ok(is(has("kept") && !has("late"), maps))
    })
    .await
}

async fn delete(plane: &Plane) -> Result<()> {
    plane
        .api
        .object_delete(instances()?, NAME, Propagation::Refuse)
        .await?;
    wait_until("the instance is gone", DEADLINE, || async {
        Ok(match plane.api.object_get(instances()?, NAME).await {
            Err(error) if error.code() == Some(Code::NotFound) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await
}

async fn is_as_before(plane: &Plane, before: &BTreeSet<leftovers::Identity>) -> Result<()> {
    wait_until("the cluster is as before", DEADLINE, || async {
        let now = leftovers::everything(&plane.cluster).await?;
        let differences: Vec<_> = now.symmetric_difference(before).collect();
        Ok(is(differences.is_empty(), format!("{differences:?}")))
    })
    .await
}

fn is(holds: bool, otherwise: String) -> std::result::Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// Where the controllers that are started next reach the cluster.
fn lead(plane: &Plane, url: &str) -> Result<()> {
    let path = plane.kubeconfig(Part::Controllers);
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    config["clusters"][0]["cluster"]["server"] = json!(url);
    fs::write(&path, config.to_string()).with_context(|| format!("failed to write {}", path.display()))
}

fn definitions() -> Result<&'static KindDescriptor> {
    find_kind("WorkloadDefinition").context("no such kind")
}

fn instances() -> Result<&'static KindDescriptor> {
    find_kind("WorkloadInstance").context("no such kind")
}

/// As in `ps`: T is stopped.
fn state_of(process: u32) -> Result<char> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let after_name = text.rsplit_once(") ").map(|(_, rest)| rest);
    after_name
        .and_then(|rest| rest.chars().next())
        .context("no state")
}
