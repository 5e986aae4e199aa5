//! The controllers, a folder per domain. Each kind's controller is four functions: load, plan (pure), execute, status
//! (pure); [`threeport_engine`] runs them.
//!
//! They know the API ([`api`]) and the targets ([`target`]), and never each other or the custom resources.

pub mod api;
pub mod control_plane;
pub mod kubernetes_runtime;
pub mod one_control_plane;
pub mod target;
pub mod workload;
pub mod writes;

mod condition;
mod definition;
#[cfg(test)]
mod fixture;

use std::sync::Arc;

use kube::Config;
use prometheus_client::registry::Registry;
use threeport_engine::{Reconciler, controller::Driver, metrics::Stages};
use threeport_model::{
    find_kind,
    kinds::{ControlPlaneDefinition, KubernetesRuntimeDefinition},
};

use self::{api::Api, target::Targets};

/// A group of kinds that share a queue and a consumer.
pub struct Domain {
    /// As in `workload`.
    pub name: &'static str,
    /// A controller per kind.
    pub reconcilers: Vec<Arc<dyn Reconciler>>,
}

impl Domain {
    /// The plurals of its kinds, under which their signals come.
    pub fn plurals(&self) -> Vec<&'static str> {
        let kinds = self.reconcilers.iter();
        kinds
            .filter_map(|reconciler| find_kind(reconciler.kind()))
            .map(|kind| kind.plural)
            .collect()
    }
}

/// Which control plane the controllers belong to.
#[derive(Clone, Debug)]
pub struct Identity {
    /// On every object as a label, and part of the field manager.
    pub control_plane: uuid::Uuid,
    /// Prefixes an instance's default namespace where another control plane has that name already.
    pub name: String,
    /// Where the control plane runs.
    pub namespace: String,
}

/// What is measured.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// The process' own.
    pub stages: Stages,
    /// Which clusters don't answer.
    pub unreachable: kubernetes_runtime::Unreachable,
}

impl Metrics {
    /// Metrics that `registry` shows; the process' `stages` are registered already.
    pub fn register(registry: &mut Registry, stages: Stages) -> Self {
        let metrics = Self {
            stages,
            ..Self::default()
        };
        registry.register_collector(Box::new(metrics.unreachable.clone()));
        metrics
    }

    /// One sample of everything that has labels: it is served only then, and the test of the reference wants to see it.
    pub fn example(&self) {
        self.unreachable.note("local", false);
    }
}

/// All domains.
pub fn domains(identity: &Identity, api: &Arc<dyn Api>, local: Config, metrics: &Metrics) -> Vec<Domain> {
    let endpoint = local.cluster_url.to_string();
    let targets = Arc::new(Targets::new(local));
    let instance = workload::InstanceController::new(
        identity.clone(),
        Arc::clone(api),
        Arc::clone(&targets),
        metrics.stages.clone(),
    );
    let unreachable = metrics.unreachable.clone();
    let runtime = kubernetes_runtime::InstanceController::new(Arc::clone(&targets), endpoint, unreachable);
    let control_plane = control_plane::InstanceController::new(identity.clone(), Arc::clone(api), targets);
    vec![
        Domain {
            name: "workload",
            reconcilers: vec![driver(workload::DefinitionController), driver(instance)],
        },
        Domain {
            name: "kubernetes-runtime",
            reconcilers: vec![
                driver(definition::Accepting::<KubernetesRuntimeDefinition>::default()),
                driver(runtime),
            ],
        },
        Domain {
            name: "control-plane",
            reconcilers: vec![
                driver(definition::Accepting::<ControlPlaneDefinition>::default()),
                driver(control_plane),
            ],
        },
    ]
}

fn driver<C: threeport_engine::Controller>(controller: C) -> Arc<dyn Reconciler> {
    Arc::new(Driver::new(controller))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use threeport_model::kinds::ALL;

    use super::*;
    use crate::fixture::{FakeApi, identity, nowhere};

    #[test]
    fn a_domain_listens_for_the_signals_of_all_its_kinds() {
        let api: Arc<dyn Api> = Arc::new(FakeApi);
        let domains = domains(&identity(), &api, nowhere(), &Metrics::default());
        for domain in &domains {
            let (heard, name) = (domain.plurals(), domain.name);
            assert_eq!(heard.len(), domain.reconcilers.len(), "{name}: {heard:?}");
        }
        let heard: BTreeSet<_> = domains.iter().flat_map(Domain::plurals).collect();
        let all: BTreeSet<_> = ALL.iter().map(|kind| kind.plural).collect();
        assert_eq!(heard, all);
    }
}
