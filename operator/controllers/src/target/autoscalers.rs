//! The autoscalers of a cluster. Whoever writes an object with replicas asks whether one of them names it: while a
//! definition with hundreds of instances is edited, that is one list for all of them and not one each.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use super::{Resource, Target, TargetError};

/// How old an answer may be. An autoscaler that is younger finds the replicas that the definition names, and goes on from
/// there.
const RECENT: Duration = Duration::from_secs(2);

/// What the last list of the whole cluster said, and when it was asked for.
#[derive(Debug, Default)]
pub(super) struct Autoscalers(Mutex<Option<(Instant, Arc<Vec<Value>>)>>);

impl Autoscalers {
    fn recent(&self) -> Option<Arc<Vec<Value>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, all) = known.as_ref()?;
        (asked.elapsed() < RECENT).then(|| Arc::clone(all))
    }

    fn keep(&self, asked: Instant, all: &Arc<Vec<Value>>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((asked, Arc::clone(all)));
    }
}

impl Target {
    /// The autoscalers of a namespace, to the last one or unknown, as they were [`RECENT`]ly.
    pub async fn autoscalers(&self, namespace: &str) -> Result<Vec<Value>, TargetError> {
        let all = match self.autoscalers.recent() {
            Some(all) => all,
            None => {
                let kind = self.find("autoscaling", "v2", "HorizontalPodAutoscaler").await?;
                let Some(resource) = kind else {
                    return Ok(Vec::new());
                };
                let asked = Instant::now();
                match self.list_autoscalers(&resource, "").await {
                    // The account may only see some namespaces.
                    Err(TargetError::Forbidden { .. }) => {
                        return self.list_autoscalers(&resource, namespace).await;
                    }
                    all => {
                        let all = Arc::new(all?);
                        self.autoscalers.keep(asked, &all);
                        all
                    }
                }
            }
        };
        let here = all
            .iter()
            .filter(|object| object["metadata"]["namespace"] == *namespace);
        Ok(here.cloned().collect())
    }

    async fn list_autoscalers(
        &self,
        resource: &Resource,
        namespace: &str,
    ) -> Result<Vec<Value>, TargetError> {
        let mut objects = self.list(resource, namespace).await?;
        // Items of a list don't repeat their kind.
        objects
            .iter_mut()
            .for_each(|object| object["kind"] = "HorizontalPodAutoscaler".into());
        Ok(objects)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::target::fake;

    const ALL: &str = "GET /apis/autoscaling/v2/horizontalpodautoscalers";

    fn list(names: &[(&str, &str)]) -> fake::Answer {
        let items: Vec<_> = names
            .iter()
            .map(|(namespace, name)| json!({"metadata": {"namespace": namespace, "name": name}}))
            .collect();
        Some((
            200,
            json!({"kind": "HorizontalPodAutoscalerList", "metadata": {}, "items": items}),
        ))
    }

    fn discovered() -> fake::Answer {
        let resource = json!({"name": "horizontalpodautoscalers", "kind": "HorizontalPodAutoscaler",
            "namespaced": true, "verbs": ["list"]});
        Some((
            200,
            json!({"kind": "APIResourceList", "groupVersion": "autoscaling/v2", "resources": [resource]}),
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn one_list_is_for_all_namespaces_and_not_for_long() {
        let (target, log) = fake::target(|asked| {
            if asked.line.contains("horizontalpodautoscalers") {
                list(&[("web", "one"), ("shop", "two")])
            } else {
                discovered()
            }
        });
        let lists = || log.lines().iter().filter(|line| *line == ALL).count();
        let found = target.autoscalers("web").await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["kind"], "HorizontalPodAutoscaler");
        assert_eq!(
            target.autoscalers("shop").await.unwrap()[0]["metadata"]["name"],
            "two"
        );
        assert!(target.autoscalers("other").await.unwrap().is_empty());
        assert_eq!(lists(), 1);
        tokio::time::advance(RECENT).await;
        target.autoscalers("web").await.unwrap();
        assert_eq!(lists(), 2);
    }

    #[tokio::test]
    async fn who_may_not_list_the_cluster_lists_the_namespace() {
        let (target, log) = fake::target(|asked| {
            if asked.line == ALL {
                fake::status(403, "forbidden")
            } else if asked.line.contains("horizontalpodautoscalers") {
                list(&[("web", "one")])
            } else {
                discovered()
            }
        });
        assert_eq!(target.autoscalers("web").await.unwrap().len(), 1);
        assert!(
            log.lines()
                .iter()
                .any(|line| line.contains("/namespaces/web/horizontalpodautoscalers"))
        );
    }
}
