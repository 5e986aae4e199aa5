//! The controller. Nothing is written to the cluster.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use threeport_engine::{Controller, Lease, Outcome, Report, Run, RunError};
use threeport_model::{
    ConditionStatus, Kind, Object,
    condition::{self, DELETION_BLOCKED},
    kinds::{
        KubernetesRuntimeInstance,
        kubernetes_runtime_instance::{AgentStatus, Reachable, Spec, Status},
    },
    protocol::{agent::AgentState, claim::Claim},
};

use super::{
    probe::{Probe, Prober},
    unreachable::Unreachable,
};
use crate::{
    condition::{Progress, Summary, referred_to, to_value},
    target::Targets,
};

/// How often a runtime is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// See the module.
pub struct InstanceController {
    targets: Arc<Targets>,
    prober: Prober,
    endpoint: String,
    unreachable: Unreachable,
}

impl InstanceController {
    /// A controller; `endpoint` is where the local cluster's API is.
    pub fn new(targets: Arc<Targets>, endpoint: String, unreachable: Unreachable) -> Self {
        Self {
            targets,
            prober: Prober::default(),
            endpoint,
            unreachable,
        }
    }
}

/// The claim and what the cluster said.
pub struct World {
    claim: Claim,
    probe: Probe,
}

#[async_trait]
impl Controller for InstanceController {
    type World = World;
    type Plan = ();
    type Applied = ();
    const KIND: &'static str = KubernetesRuntimeInstance::KIND;

    fn budget(&self, claim: &Claim) -> String {
        claim.object.id().to_string()
    }

    async fn load(&self, run: &Run) -> Result<World, RunError> {
        let claim = run.claim.clone();
        let id = claim.object.id();
        let not_asked = |why: String| Probe {
            version: Err(why),
            nodes: None,
        };
        if claim.deleted || claim.object.is_deleting() {
            self.targets.forget(id);
            let probe = not_asked("it is being deleted".to_owned());
            return Ok(World { claim, probe });
        }
        // Of the cluster that says nothing, neither that it is away.
        let unreadable =
            |error: serde_json::Error| RunError::Failed(format!("failed to read the runtime: {error}"));
        let spec: Spec = claim.object.typed_spec().map_err(unreadable)?;
        let probe = match self.targets.get(id, &spec.connection, None) {
            Ok(target) => self.prober.probe(id, &target).await,
            Err(error) => not_asked(error.to_string()),
        };
        self.unreachable
            .note(&claim.object.metadata.name, probe.version.is_err());
        Ok(World { claim, probe })
    }

    fn plan(&self, _: &World, _: jiff::Timestamp) {}

    async fn execute(&self, _: &World, (): &(), _: &Lease, _: jiff::Timestamp) -> Result<(), RunError> {
        Ok(())
    }

    fn status(&self, world: &World, (): &(), (): &(), now: jiff::Timestamp) -> Report {
        let object = &world.claim.object;
        if world.claim.deleted {
            return Report::new(Outcome::Done);
        }
        if object.is_deleting() {
            return deleting(object, now);
        }
        let previous: Status = object.typed_status();
        let status = status(&previous, object.generation(), world, &self.endpoint, now);
        Report::new(Outcome::RequeueAfter(INTERVAL)).with_status(to_value(&status))
    }
}

/// It has no footprint: what is in it belongs to instances, and it can't end while they have something there. The store ends
/// it with the last one that refers to it, but not with one that only has something there. So it is tried here, once it is
/// said what it waits for: where it is refused, nothing of the run is written.
fn deleting(object: &Object, now: jiff::Timestamp) -> Report {
    let previous: Status = object.typed_status();
    let generation = object.generation();
    let is_said = condition::find(&previous.conditions, DELETION_BLOCKED)
        .is_some_and(|blocked| blocked.observed_generation == generation);
    if is_said {
        let mut report = Report::new(Outcome::Done);
        report.finalize = true;
        return report;
    }
    let status = Status {
        observed_generation: generation,
        conditions: condition::merge(&previous.conditions, referred_to(generation), now),
        ..previous
    };
    Report::new(Outcome::RequeueAfter(INTERVAL)).with_status(to_value(&status))
}

fn status(previous: &Status, generation: i64, world: &World, endpoint: &str, now: jiff::Timestamp) -> Status {
    let Probe { version, nodes } = &world.probe;
    let agent = world.claim.agent.as_ref();
    let reachable = if version.is_ok() {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    let since = previous
        .reachable
        .since
        .filter(|_| previous.reachable.status == reachable)
        .unwrap_or(now);
    let conditions = summary(version, agent).conditions(generation);
    Status {
        observed_generation: generation,
        conditions: condition::merge(&previous.conditions, conditions, now),
        version: version.clone().ok().or_else(|| previous.version.clone()),
        nodes: nodes.unwrap_or(previous.nodes),
        agent: agent.map(|agent| agent_status(agent, previous.agent.as_ref())),
        reachable: Reachable {
            status: reachable,
            since: Some(since),
        },
        api_endpoint: Some(endpoint.to_owned()),
    }
}

/// `lastSeen` moves at most once a minute while the agent is connected, so that status does not change with each beat.
fn agent_status(agent: &AgentState, previous: Option<&AgentStatus>) -> AgentStatus {
    let kept = previous
        .filter(|previous| previous.connected && agent.heard)
        .and_then(|previous| previous.last_seen);
    let kept = kept.filter(|kept| agent.last_seen.as_second() - kept.as_second() < 60);
    AgentStatus {
        version: agent.version.clone(),
        connected: agent.heard,
        last_seen: Some(kept.unwrap_or(agent.last_seen)),
    }
}

fn summary(version: &Result<String, String>, agent: Option<&AgentState>) -> Summary {
    let not_ready =
        |reason, message: String| Summary::new(ConditionStatus::False, reason, message, Progress::Settled);
    match (version, agent) {
        (Err(error), _) => not_ready(
            "RuntimeUnreachable",
            format!("the cluster's API does not answer: {error}"),
        ),
        (Ok(_), None) => not_ready("AgentSilent", "no agent has registered yet".to_owned()),
        (Ok(_), Some(agent)) if !agent.heard => not_ready(
            "AgentSilent",
            format!("the agent was last heard at {}", agent.last_seen),
        ),
        (Ok(version), Some(_)) => {
            let message = format!("{version} answers and its agent is heard");
            Summary::new(ConditionStatus::True, "Ready", message, Progress::Settled)
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use serde_json::json;
    use threeport_engine::metrics::Stages;
    use uuid::Uuid;

    use super::*;
    use crate::{
        Metrics,
        fixture::{nowhere, run_of},
    };

    fn agent(second: i64, heard: bool) -> AgentState {
        let last_seen = jiff::Timestamp::from_second(second).unwrap();
        AgentState {
            runtime_id: None,
            epoch: 1,
            version: "1".to_owned(),
            last_seen,
            heard,
            closed: Vec::new(),
        }
    }

    #[test]
    fn ready_needs_a_reachable_api_and_an_agent_that_is_heard() {
        let (up, down) = (Ok("v1.35.4".to_owned()), Err("no route".to_owned()));
        assert_eq!(summary(&up, Some(&agent(0, true))).ready, ConditionStatus::True);
        assert_eq!(summary(&up, Some(&agent(0, false))).reason, "AgentSilent");
        assert_eq!(summary(&up, None).reason, "AgentSilent");
        assert_eq!(summary(&down, Some(&agent(0, true))).reason, "RuntimeUnreachable");
    }

    #[test]
    fn last_seen_moves_once_a_minute() {
        let first = agent_status(&agent(0, true), None);
        let beat = agent_status(&agent(59, true), Some(&first));
        assert_eq!(beat, first);
        assert_ne!(agent_status(&agent(60, true), Some(&first)), first);
        assert!(!agent_status(&agent(30, false), Some(&first)).connected);
    }

    /// The run that ends it says nothing where it is refused, since instances have something there yet.
    #[test]
    fn a_runtime_that_is_being_deleted_says_what_it_waits_for_before_it_ends() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut object = Object::new(KubernetesRuntimeInstance::KIND, "edge", json!({}));
        object.metadata.generation = Some(2);
        object.metadata.deletion_requested_at = Some(now);
        object.status = json!({"version": "v1.35.4", "conditions": [
            {"type": DELETION_BLOCKED, "status": "True", "reason": "Former", "observedGeneration": 1}]});
        let said = deleting(&object, now);
        assert!(!said.finalize && said.outcome == Outcome::RequeueAfter(INTERVAL));
        object.status = said.status.unwrap();
        let status: Status = object.typed_status();
        let blocked = condition::find(&status.conditions, DELETION_BLOCKED).unwrap();
        assert_eq!(
            (blocked.reason.as_str(), blocked.observed_generation),
            ("Referenced", 2)
        );
        assert_eq!(
            status.version.as_deref(),
            Some("v1.35.4"),
            "the rest is what it was"
        );
        assert!(deleting(&object, now).finalize);
    }

    /// It was written by another version, before a downgrade say.
    #[tokio::test]
    async fn a_specification_that_can_t_be_read_says_nothing_of_its_cluster() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, Stages::default());
        let targets = Arc::new(Targets::new(nowhere()));
        let controller = InstanceController::new(targets, String::new(), metrics.unreachable.clone());
        let spec = json!({"definition": "local", "connection": {"inCluster": {}}, "novel": 1});
        let mut object = Object::new(KubernetesRuntimeInstance::KIND, "edge", spec);
        object.metadata.id = Some(Uuid::from_u128(1));
        let failed = controller.load(&run_of(Claim::of(object))).await.err();
        assert!(
            matches!(&failed, Some(RunError::Failed(why)) if why.contains("`novel`")),
            "{failed:?}"
        );
    }

    #[tokio::test]
    async fn a_cluster_that_does_not_answer_is_measured_under_its_name() {
        let targets = Targets::new(nowhere());
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, Stages::default());
        let controller =
            InstanceController::new(Arc::new(targets), String::new(), metrics.unreachable.clone());
        let spec = json!({"definition": "local", "connection": {"inCluster": {}}});
        let mut object = Object::new(KubernetesRuntimeInstance::KIND, "edge", spec);
        object.metadata.id = Some(Uuid::from_u128(1));
        controller.load(&run_of(Claim::of(object))).await.unwrap();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let sample = "threeport_target_unreachable{runtime=\"edge\"} 1\n";
        assert!(text.contains(sample), "{text}");
    }
}
