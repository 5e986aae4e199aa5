//! Many small workloads by REST, each a request of its own, and when each was applied: by the audit log, which no part
//! of ours can influence.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use threeport_client::ApplyBody;
use threeport_e2e::{World, audit, latency::Latencies, wait_until, workload};
use threeport_model::Object;

use crate::steps::{is_ready, kind, rest_get};

/// The name of the one object of each workload.
const ONLY: &str = "only";

/// Instances of one definition, `<name>-<index>`, each with a namespace of its own and one ConfigMap in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Burst {
    pub(crate) name: &'static str,
    pub(crate) count: usize,
}

impl Burst {
    fn definition(&self) -> Value {
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ONLY}, "data": {"a": "b"}});
        workload::definition(self.name, &[map])
    }

    fn instance(&self, index: usize) -> Value {
        workload::instance(&format!("{}-{index}", self.name), self.name, &json!({}))
    }

    /// All of its objects, the definition first.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let instances = (0..self.count).map(|index| self.instance(index));
        std::iter::once(self.definition()).chain(instances).collect()
    }

    /// Makes the definition, and waits until it is Ready, so that nothing but instances is pending afterwards.
    pub(crate) async fn define(&self, world: &World) -> Result<()> {
        world
            .api
            .apply(ApplyBody::Objects(vec![self.definition()]), false)
            .await?;
        wait_until(
            &format!("{} is Ready", self.name),
            Duration::from_secs(60),
            || async {
                let object = rest_get(world, "tpwd", self.name).await?;
                Ok(if is_ready(&serde_json::to_value(&object)?) {
                    Ok(())
                } else {
                    Err(object.status.to_string())
                })
            },
        )
        .await
    }

    /// POSTs one instance; when it was asked for.
    pub(crate) async fn post(&self, world: &World, index: usize) -> Result<Timestamp> {
        let instance: Object = serde_json::from_value(self.instance(index))?;
        let asked = Timestamp::now();
        world
            .api
            .object_create(kind("tpwi")?, &instance)
            .await
            .with_context(|| format!("POST of {}", instance.metadata.name))?;
        Ok(asked)
    }

    /// POSTs all instances, one after the other; when each was asked for.
    pub(crate) async fn post_all(&self, world: &World) -> Result<Vec<Timestamp>> {
        let mut asked = Vec::with_capacity(self.count);
        for index in 0..self.count {
            asked.push(self.post(world, index).await?);
        }
        Ok(asked)
    }

    /// When each instance's ConfigMap was made, of those that were since `offset` of the audit log: namespace -> when.
    pub(crate) fn applied(&self, world: &World, offset: u64) -> Result<BTreeMap<String, Timestamp>> {
        let prefix = format!("{}-", self.name);
        let made = audit::since(&world.audit_log, offset)?
            .into_iter()
            .filter_map(|entry| {
                let created = entry.is_create();
                let object = entry.object_ref?;
                let mine = object.resource == "configmaps"
                    && object.name == ONLY
                    && object.namespace.starts_with(&prefix);
                (created && mine).then_some((object.namespace, entry.stage_timestamp))
            });
        Ok(made.collect())
    }

    /// Waits until all are applied, and answers with the time from request to apply of each.
    pub(crate) async fn latencies(
        &self,
        world: &World,
        offset: u64,
        asked: &[Timestamp],
        limit: Duration,
    ) -> Result<Latencies> {
        let what = format!("all {} of {} are applied", self.count, self.name);
        let applied = wait_until(&what, limit, || async {
            let applied = self.applied(world, offset)?;
            Ok(if applied.len() == self.count {
                Ok(applied)
            } else {
                Err(format!("{} are", applied.len()))
            })
        })
        .await?;
        let latencies = asked.iter().enumerate().map(|(index, asked)| {
            let namespace = format!("{}-{index}", self.name);
            let applied = applied
                .get(&namespace)
                .with_context(|| format!("{namespace} is not among them"))?;
            Ok(applied.duration_since(*asked).unsigned_abs())
        });
        latencies.collect()
    }

    /// Waits until the definition says that all its instances are Ready.
    pub(crate) async fn all_are_ready(&self, world: &World, limit: Duration) -> Result<()> {
        wait_until(
            &format!("{} instances of {} are Ready", self.count, self.name),
            limit,
            || async {
                let instances = rest_get(world, "tpwd", self.name).await?.status["instances"].clone();
                Ok(if instances["ready"] == self.count {
                    Ok(())
                } else {
                    Err(instances.to_string())
                })
            },
        )
        .await
    }
}
