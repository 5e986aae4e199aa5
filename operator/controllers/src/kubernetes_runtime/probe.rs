//! Asks a cluster how it is. What does not answer is unreachable; what may not be read stays as it was.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Node;
use kube::{Api, api::ListParams};
use threeport_model::{explain, kinds::kubernetes_runtime_instance::NodeCounts};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::target::Target;

const TIMEOUT: Duration = Duration::from_secs(4);
/// Nodes are counted less often than the cluster is asked whether it is there.
const COUNT_NODES: Duration = Duration::from_secs(30);

/// What a cluster said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// Its version, or why it could not be had.
    pub(super) version: Result<String, String>,
    /// Nothing: not asked, or may not be asked.
    pub(super) nodes: Option<NodeCounts>,
}

/// Probes clusters and remembers what nodes were counted lately.
#[derive(Debug, Default)]
pub(super) struct Prober {
    counted: Mutex<BTreeMap<Uuid, (Instant, NodeCounts)>>,
}

impl Prober {
    pub(super) async fn probe(&self, runtime: Uuid, target: &Target) -> Probe {
        let answer = timeout(TIMEOUT, target.client().apiserver_version()).await;
        let version = match answer {
            Ok(Ok(info)) => Ok(info.git_version),
            Ok(Err(error)) => Err(explain(&error)),
            Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
        };
        let nodes = if version.is_ok() {
            self.nodes(runtime, target).await
        } else {
            None
        };
        Probe { version, nodes }
    }

    async fn nodes(&self, runtime: Uuid, target: &Target) -> Option<NodeCounts> {
        let remembered = self
            .counted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&runtime)
            .copied();
        if let Some((at, counts)) = remembered.filter(|(at, _)| at.elapsed() < COUNT_NODES) {
            tracing::trace!(age = ?at.elapsed(), "nodes were counted lately");
            return Some(counts);
        }
        let counts = match timeout(TIMEOUT, count(target)).await {
            Ok(Ok(counts)) => counts,
            Ok(Err(error)) => {
                tracing::debug!(%runtime, error = %explain(&error), "failed to count nodes");
                return None;
            }
            Err(_) => return None,
        };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        // Others may be gone, or another replica's.
        counted.retain(|_, (at, _)| at.elapsed() < COUNT_NODES);
        counted.insert(runtime, (Instant::now(), counts));
        Some(counts)
    }
}

async fn count(target: &Target) -> Result<NodeCounts, kube::Error> {
    let nodes: Api<Node> = Api::all(target.client().clone());
    let mut counts = NodeCounts::default();
    let mut parameters = ListParams::default().limit(500);
    loop {
        let page = nodes.list(&parameters).await?;
        for node in &page.items {
            let conditions = node
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten());
            let is_ready = |condition: &k8s_openapi::api::core::v1::NodeCondition| {
                condition.type_ == "Ready" && condition.status == "True"
            };
            counts.total += 1;
            counts.ready += i64::from(conditions.into_iter().any(is_ready));
        }
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => parameters = parameters.continue_token(&token),
            _ => return Ok(counts),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::target::fake;

    #[tokio::test(start_paused = true)]
    async fn counts_of_nodes_are_kept_for_as_long_as_they_are_used() {
        let (target, log) = fake::target(|asked| {
            let answer = match asked.line.as_str() {
                "GET /version" => json!({"major": "1", "minor": "35", "gitVersion": "v1.35.4"}),
                _ => json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": []}),
            };
            Some((200, answer))
        });
        let prober = Prober::default();
        let [first, second, last] = [1, 2, 3].map(Uuid::from_u128);
        let kept = || prober.counted.lock().unwrap().keys().copied().collect::<Vec<_>>();
        for runtime in [first, second, second] {
            let probe = prober.probe(runtime, &target).await;
            assert_eq!(probe.nodes, Some(NodeCounts::default()));
        }
        assert_eq!(kept(), [first, second]);
        let counts = log.lines().into_iter().filter(|line| line == "GET /api/v1/nodes");
        assert_eq!(counts.count(), 2, "once each");
        tokio::time::advance(COUNT_NODES).await;
        prober.probe(last, &target).await;
        assert_eq!(kept(), [last]);
    }
}
