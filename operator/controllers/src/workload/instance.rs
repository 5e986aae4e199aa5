//! The WorkloadInstance controller: the four functions, put together.

use std::sync::Arc;

use async_trait::async_trait;
use threeport_engine::{
    Controller, Lease, Report, Run, RunError,
    metrics::{Stage, Stages},
};
use threeport_model::{
    Kind,
    kinds::{KubernetesRuntimeInstance, WorkloadInstance},
    protocol::claim::Claim,
};

use super::{
    execute::{self, Applied},
    latency::Latency,
    load,
    plan::{self, Plan},
    status,
    world::World,
};
use crate::{Identity, api::Api, target::Targets};

/// See the module.
pub struct InstanceController {
    identity: Identity,
    api: Arc<dyn Api>,
    targets: Arc<Targets>,
    stages: Stages,
    latency: Latency,
}

impl InstanceController {
    /// A controller of one control plane's instances.
    pub fn new(identity: Identity, api: Arc<dyn Api>, targets: Arc<Targets>, stages: Stages) -> Self {
        Self {
            identity,
            api,
            targets,
            stages,
            latency: Latency::default(),
        }
    }
}

#[async_trait]
impl Controller for InstanceController {
    type World = World;
    type Plan = Plan;
    type Applied = Applied;
    const KIND: &'static str = WorkloadInstance::KIND;

    fn budget(&self, claim: &Claim) -> String {
        let runtime = claim
            .references
            .iter()
            .find(|object| object.kind == KubernetesRuntimeInstance::KIND);
        runtime
            .map(|runtime| runtime.id().to_string())
            .unwrap_or_default()
    }

    async fn load(&self, run: &Run) -> Result<World, RunError> {
        let claim = &run.claim;
        for took in self.latency.seen(&claim.inventory, claim.agent.as_ref()) {
            self.stages.observe(Self::KIND, Stage::Observed, took);
        }
        load::load(run, &self.identity, &self.targets).await
    }

    fn plan(&self, world: &World, now: jiff::Timestamp) -> Plan {
        plan::plan(world, now)
    }

    async fn execute(
        &self,
        world: &World,
        plan: &Plan,
        lease: &Lease,
        now: jiff::Timestamp,
    ) -> Result<Applied, RunError> {
        let applied = execute::execute(world, plan, &*self.api, lease, now).await?;
        self.latency.applied(&world.claim.inventory, &applied.rows);
        Ok(applied)
    }

    fn status(&self, world: &World, plan: &Plan, applied: &Applied, now: jiff::Timestamp) -> Report {
        status::report(world, plan, applied, now)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::{
        fixture::{FakeApi, nowhere, run_of},
        workload::{fixture, observed::tests::row},
    };

    #[tokio::test(start_paused = true)]
    async fn what_an_agent_has_seen_of_an_apply_is_shown_as_a_stage() {
        let (mut registry, stages) = (Registry::default(), Stages::default());
        stages.register(&mut registry, "threeport_stage_seconds");
        let targets = Targets::new(nowhere());
        let world = fixture::world();
        let controller = InstanceController::new(
            world.identity.clone(),
            Arc::new(FakeApi),
            Arc::new(targets),
            stages,
        );
        let observed = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let name = "threeport_stage_seconds_count{kind=\"WorkloadInstance\",stage=\"observed\"} ";
            text.lines()
                .find_map(|line| line.strip_prefix(name).map(str::to_owned))
        };
        let run = run_of(Claim {
            inventory: vec![row()],
            ..world.claim
        });
        controller.load(&run).await.unwrap();
        assert_eq!(observed(), None, "nothing was applied");
        controller.latency.applied(&[], &run.claim.inventory);
        controller.load(&run).await.unwrap();
        assert_eq!(observed().as_deref(), Some("1"));
    }
}
