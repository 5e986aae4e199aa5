//! The controller.
//!
//! A restart is no news: where all was ready, what lacks since less than [`LAPSE`] is looked at again before it is told.
//! Telling would be two writes, by a system that has nothing to do.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use threeport_engine::{Controller, Lease, Outcome, Report, Run, RunError};
use threeport_model::{
    ConditionStatus, Kind, condition,
    kinds::{
        ControlPlaneInstance,
        control_plane_instance::{Component, Status},
    },
    protocol::{claim::Claim, whoami::Version},
};

use super::{
    components,
    lapses::{LAPSE, Lapses},
};
use crate::{
    Identity,
    api::Api,
    condition::{Progress, Summary, to_value},
    target::Targets,
};

/// How often the components are looked at while all of them are ready.
const INTERVAL: Duration = Duration::from_secs(60);
/// How often while one is not: nothing tells of a component that becomes ready, and after an install people wait for it.
const NOT_READY_INTERVAL: Duration = Duration::from_secs(2);
/// How often while they can't be read: that may be for lack of a right, and stay so.
const UNKNOWN_INTERVAL: Duration = Duration::from_secs(10);
/// The name of the lapse of all of them.
const UNKNOWN: &str = "";

/// See the module.
pub struct InstanceController {
    identity: Identity,
    api: Arc<dyn Api>,
    targets: Arc<Targets>,
    lapses: Mutex<Lapses>,
}

impl InstanceController {
    /// A controller of the control plane's own record.
    pub fn new(identity: Identity, api: Arc<dyn Api>, targets: Arc<Targets>) -> Self {
        Self {
            identity,
            api,
            targets,
            lapses: Mutex::default(),
        }
    }
}

/// The claim and what runs.
pub struct World {
    claim: Claim,
    version: Version,
    endpoint: String,
    /// Or why they can't be read.
    components: Result<Vec<Component>, String>,
}

#[async_trait]
impl Controller for InstanceController {
    type World = World;
    type Plan = ();
    /// How long something has lacked what it should have.
    type Applied = SignedDuration;
    const KIND: &'static str = ControlPlaneInstance::KIND;

    async fn load(&self, run: &Run) -> Result<World, RunError> {
        let failed = |error| RunError::Failed(format!("failed to read the API's version: {error}"));
        let version = self.api.version().await.map_err(failed)?;
        let components = match self.targets.own() {
            Ok(target) => components::read(target.client(), &self.identity.namespace)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        Ok(World {
            claim: run.claim.clone(),
            version,
            endpoint: self.api.endpoint().to_owned(),
            components,
        })
    }

    fn plan(&self, _: &World, _: Timestamp) {}

    /// Takes in what was looked at: saying what is does not.
    async fn execute(
        &self,
        world: &World,
        (): &(),
        _: &Lease,
        now: Timestamp,
    ) -> Result<SignedDuration, RunError> {
        let mut lapses = self.lapses.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(lapses.longest(world.lacking(), now))
    }

    fn status(&self, world: &World, (): &(), lacking: &SignedDuration, now: Timestamp) -> Report {
        report(world, *lacking, now)
    }
}

impl World {
    /// What has not all it should have, by its name; all of it, where that can't be read.
    fn lacking(&self) -> Vec<&str> {
        match &self.components {
            Ok(components) => components
                .iter()
                .filter(|component| is_lacking(component))
                .map(|component| component.name.as_str())
                .collect(),
            Err(_) => vec![UNKNOWN],
        }
    }
}

fn is_lacking(component: &Component) -> bool {
    component.ready < component.desired
}

/// `lacking`: how long something has lacked what it should have.
fn report(world: &World, lacking: SignedDuration, now: Timestamp) -> Report {
    let summary = summary(&world.version.version, world.components.as_deref());
    let object = &world.claim.object;
    let previous: Status = object.typed_status();
    let generation = object.generation();
    if summary.ready != ConditionStatus::True && lacking < LAPSE && is_ready(&previous, generation) {
        return Report::new(Outcome::RequeueAfter(NOT_READY_INTERVAL));
    }
    // What can't be read now is what it was.
    let components = world
        .components
        .clone()
        .unwrap_or_else(|_| previous.components.clone());
    let interval = match summary.ready {
        ConditionStatus::True => INTERVAL,
        ConditionStatus::False => NOT_READY_INTERVAL,
        ConditionStatus::Unknown => UNKNOWN_INTERVAL,
    };
    // The other conditions are not ours: `Degraded` is what the API says of itself.
    let before = condition::of_status(&object.status);
    let said = summary.conditions(generation);
    let status = Status {
        observed_generation: generation,
        conditions: condition::replace(&before, &condition::SUMMARY, said, now),
        is_self: true,
        genesis: previous.parent.is_none(),
        api_endpoint: Some(world.endpoint.clone()),
        version: Some(world.version.version.clone()),
        schema_version: Some(world.version.schema_version),
        components,
        ..previous
    };
    Report::new(Outcome::RequeueAfter(interval)).with_status(to_value(&status))
}

/// Whether it was said that all is ready, of what is wanted now.
fn is_ready(status: &Status, generation: i64) -> bool {
    condition::find(&status.conditions, condition::READY)
        .is_some_and(|ready| ready.status == ConditionStatus::True && ready.observed_generation == generation)
}

fn summary(version: &str, components: Result<&[Component], &String>) -> Summary {
    let components = match components {
        Ok(components) => components,
        Err(error) => {
            let message = format!("the control plane's Deployments and StatefulSets can't be read: {error}");
            return Summary::new(
                ConditionStatus::Unknown,
                "ComponentsUnknown",
                message,
                Progress::Settled,
            );
        }
    };
    match components.iter().find(|component| is_lacking(component)) {
        Some(lacking) => {
            let message = format!(
                "{}: {} of {} replicas are ready",
                lacking.name, lacking.ready, lacking.desired
            );
            Summary::new(
                ConditionStatus::False,
                condition::PROGRESSING,
                message,
                Progress::Reconciling,
            )
        }
        None => Summary::new(
            ConditionStatus::True,
            "Ready",
            format!("{version} runs"),
            Progress::Settled,
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::{
        Object,
        kinds::kubernetes_runtime_instance::{Connection, Empty},
    };
    use uuid::Uuid;

    use super::*;
    use crate::fixture::{FakeApi, identity, nowhere, run_of, version};

    fn component(ready: i64) -> Component {
        Component {
            name: "threeport-api".to_owned(),
            ready,
            desired: 2,
            image: String::new(),
        }
    }

    fn world(components: Vec<Component>) -> World {
        let object = Object::new(ControlPlaneInstance::KIND, "threeport", json!({}));
        World {
            claim: Claim::of(object),
            version: version(),
            endpoint: FakeApi.endpoint().to_owned(),
            components: Ok(components),
        }
    }

    /// What is reported when it has been like this for long.
    fn settled(world: &World, now: Timestamp) -> Report {
        report(world, LAPSE, now)
    }

    /// An idle system writes nothing, whatever the API says of itself.
    #[test]
    fn what_the_api_says_of_itself_stays() {
        let mut world = world(vec![component(2)]);
        let now = Timestamp::UNIX_EPOCH;
        let mut status = settled(&world, now).status.unwrap();
        let degraded = json!({"type": "Degraded", "status": "True", "reason": "NatsUnavailable", "message": "m",
            "observedGeneration": 0, "lastTransitionTime": now});
        status["conditions"].as_array_mut().unwrap().insert(0, degraded);
        world.claim.object.status = status.clone();
        let later = now + SignedDuration::from_secs(60);
        assert_eq!(settled(&world, later).status, Some(status));
    }

    #[test]
    fn it_is_looked_at_soon_while_something_is_not_ready() {
        let mut world = world(vec![component(2), component(1)]);
        let outcome = |world: &World| settled(world, Timestamp::UNIX_EPOCH).outcome;
        assert_eq!(outcome(&world), Outcome::RequeueAfter(Duration::from_secs(2)));
        world.components = Ok(vec![component(2), component(2)]);
        assert_eq!(outcome(&world), Outcome::RequeueAfter(Duration::from_secs(60)));

        // What can't be read is no proof of anything, and forgets nothing.
        let status = settled(&world, Timestamp::UNIX_EPOCH).status.unwrap();
        world.claim.object.status = status;
        world.components = Err("forbidden".to_owned());
        let unknown = settled(&world, Timestamp::UNIX_EPOCH).status.unwrap();
        let unknown: Status = serde_json::from_value(unknown).unwrap();
        assert_eq!(unknown.components.len(), 2);
        let ready = condition::find(&unknown.conditions, condition::READY).unwrap();
        assert_eq!(ready.status, ConditionStatus::Unknown);
        assert!(ready.message.contains("forbidden"), "{}", ready.message);
    }

    /// The restart of a component writes nothing; a component that stays away is told of, and so is one that never came.
    #[test]
    fn a_short_lapse_is_looked_at_again_before_it_is_told() {
        let now = Timestamp::UNIX_EPOCH;
        let lapse = |world: &World, lacking| report(world, lacking, now);
        let short = LAPSE - SignedDuration::from_secs(1);
        let mut world = world(vec![component(1)]);
        assert!(lapse(&world, short).status.is_some(), "it never was ready");

        world.components = Ok(vec![component(2)]);
        world.claim.object.status = settled(&world, now).status.unwrap();
        for lacks in [Ok(vec![component(1)]), Err("time-out".to_owned())] {
            world.components = lacks;
            let soon = lapse(&world, short);
            assert_eq!(soon.status, None);
            assert_eq!(soon.outcome, Outcome::RequeueAfter(NOT_READY_INTERVAL));
            assert!(lapse(&world, LAPSE).status.is_some());
        }
        world.claim.object.metadata.generation = Some(1);
        assert!(lapse(&world, short).status.is_some(), "something else is wanted");
    }

    fn controller(targets: &Arc<Targets>) -> InstanceController {
        InstanceController::new(identity(), Arc::new(FakeApi), Arc::clone(targets))
    }

    #[tokio::test]
    async fn a_lapse_lasts_from_look_to_look_however_often_it_is_told() {
        let controller = controller(&Arc::new(Targets::new(nowhere())));
        let mut world = world(vec![component(2)]);
        let begun = Timestamp::UNIX_EPOCH;
        world.claim.object.status = settled(&world, begun).status.unwrap();
        world.components = Ok(vec![component(1)]);
        let lease = run_of(world.claim.clone()).lease;
        let after = |seconds| begun + SignedDuration::from_secs(seconds);
        let short = controller.execute(&world, &(), &lease, begun).await.unwrap();
        for seconds in [0, 10, 20] {
            let said = controller.status(&world, &(), &short, after(seconds));
            assert_eq!(said.status, None, "{seconds} s");
        }
        for seconds in [10, 20] {
            let looked = controller.execute(&world, &(), &lease, after(seconds)).await;
            let lacking = looked.unwrap();
            assert_eq!(lacking.as_secs(), seconds);
            let said = controller.status(&world, &(), &lacking, after(seconds));
            assert_eq!(said.status.is_some(), lacking >= LAPSE, "{seconds} s");
        }
    }

    /// Nothing would ever forget it.
    #[tokio::test]
    async fn a_control_plane_is_not_kept_among_the_runtimes() {
        let targets = Arc::new(Targets::new(nowhere()));
        let mut claim = world(Vec::new()).claim;
        let id = Uuid::from_u128(1);
        claim.object.metadata.id = Some(id);
        let elsewhere = Connection {
            eks: Some(Empty {}),
            ..Connection::default()
        };
        let before = targets.get(id, &elsewhere, None).unwrap();
        let looked = controller(&targets).load(&run_of(claim)).await.unwrap();
        assert!(looked.components.is_err(), "it was asked, and does not answer");
        // One that is reached in another way is made anew.
        let after = targets.get(id, &elsewhere, None).unwrap();
        assert!(std::ptr::eq(before.discovery(), after.discovery()));
    }

    #[test]
    fn a_component_without_all_its_replicas_is_named() {
        let of = |components: &[Component]| summary("0.1.0", Ok(components));
        assert_eq!(of(&[component(2)]).ready, ConditionStatus::True);
        assert_eq!(of(&[]).ready, ConditionStatus::True);
        let lacking = of(&[component(1)]);
        assert!(lacking.ready == ConditionStatus::False && lacking.message.contains("threeport-api: 1 of 2"));
    }
}
