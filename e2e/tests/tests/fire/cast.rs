//! What a round is played with: instances of two definitions, one half written with `kubectl`, the other through REST.
//! Each places a Namespace, a ConfigMap, a Service and a Deployment without replicas.

use std::collections::BTreeSet;

use anyhow::Result;
use futures::future::try_join_all;
use serde_json::{Value, json};
use threeport_client::Client;
use threeport_e2e::plane::NAMESPACE;
use threeport_model::Object;
use threeport_testbed::kubectl::Kubectl;
use tokio::task::block_in_place;

use crate::people::{as_resource, create, delete, replace};

/// What is done with the objects of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// All of them are written.
    Create,
    /// Both definitions change: another value, one document more, one less.
    Edit,
    /// All of them are deleted.
    Delete,
}

impl Act {
    pub(crate) const ALL: [Self; 3] = [Self::Create, Self::Edit, Self::Delete];
}

/// Who writes an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Kubectl,
    Rest,
}

/// The objects of a round: everything is named after `prefix`.
#[derive(Clone, Debug)]
pub(crate) struct Cast {
    pub(crate) prefix: String,
    pub(crate) instances: usize,
}

impl Cast {
    fn instances(&self, way: Way) -> impl Iterator<Item = String> + '_ {
        (0..self.instances)
            .filter(move |index| (index % 2 == 0) == (way == Way::Kubectl))
            .map(|index| format!("{}-{index}", self.prefix))
    }

    fn definition_name(&self, way: Way) -> String {
        match way {
            Way::Kubectl => format!("{}-kubectl", self.prefix),
            Way::Rest => format!("{}-rest", self.prefix),
        }
    }

    fn definition(&self, way: Way, edited: bool) -> Object {
        let spec = json!({"manifests": manifests(edited)});
        Object::new("WorkloadDefinition", &self.definition_name(way), spec)
    }

    fn placed(&self, way: Way) -> Vec<Object> {
        let spec = json!({"definition": self.definition_name(way)});
        self.instances(way)
            .map(|name| Object::new("WorkloadInstance", &name, spec.clone()))
            .collect()
    }

    /// Kind and name of all objects, the instances first.
    pub(crate) fn names(&self) -> Vec<(String, String)> {
        let ways = [Way::Kubectl, Way::Rest];
        let instances = ways.into_iter().flat_map(|way| self.placed(way));
        let definitions = ways.into_iter().map(|way| self.definition(way, false));
        let all = instances.chain(definitions);
        all.map(|object| (object.kind, object.metadata.name)).collect()
    }

    /// Everything that must be created exactly once by us when an act is played, as [`crate::check::creates`] names it.
    pub(crate) fn created_by_us(&self, act: Act) -> BTreeSet<String> {
        let all = || self.instances(Way::Kubectl).chain(self.instances(Way::Rest));
        match act {
            Act::Create => {
                let placed = all().flat_map(|name| {
                    [
                        format!("namespaces. {name}/{name}"),
                        format!("configmaps. {name}/value"),
                        format!("services. {name}/web"),
                        format!("deployments.apps {name}/web"),
                    ]
                });
                let mirror = |plural: &str, name: &str| format!("{plural}.threeport.io {NAMESPACE}/{name}");
                let mirrors = self
                    .instances(Way::Rest)
                    .map(|name| mirror("workloadinstances", &name))
                    .chain([mirror("workloaddefinitions", &self.definition_name(Way::Rest))]);
                placed.chain(mirrors).collect()
            }
            Act::Edit => all().map(|name| format!("configmaps. {name}/added")).collect(),
            Act::Delete => BTreeSet::new(),
        }
    }

    /// Plays an act as people do: who gets no answer asks again.
    pub(crate) async fn play(&self, act: Act, api: &Client, kubectl: &Kubectl) -> Result<()> {
        block_in_place(|| self.by_kubectl(act, kubectl))?;
        self.by_rest(act, api).await
    }

    fn by_kubectl(&self, act: Act, kubectl: &Kubectl) -> Result<()> {
        let definition = self.definition(Way::Kubectl, act == Act::Edit);
        let mut objects = vec![as_resource(&definition)];
        if act != Act::Edit {
            objects.extend(self.placed(Way::Kubectl).iter().map(as_resource));
        }
        if act != Act::Delete {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            return kubectl.apply(&list.to_string());
        }
        let names: Vec<String> = objects
            .iter()
            .map(|object| {
                let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
                format!(
                    "{kind}/{}",
                    object["metadata"]["name"].as_str().unwrap_or_default()
                )
            })
            .collect();
        let mut arguments = vec!["delete", "--wait=false", "--namespace", NAMESPACE];
        arguments.extend(names.iter().map(String::as_str));
        kubectl.run(&arguments).map(drop)
    }

    async fn by_rest(&self, act: Act, api: &Client) -> Result<()> {
        let (definition, instances) = (
            self.definition(Way::Rest, act == Act::Edit),
            self.placed(Way::Rest),
        );
        match act {
            Act::Create => {
                create(api, &definition).await?;
                try_join_all(instances.iter().map(|instance| create(api, instance))).await?;
            }
            Act::Edit => replace(api, &definition).await?,
            Act::Delete => {
                try_join_all(instances.iter().map(|instance| delete(api, instance))).await?;
                delete(api, &definition).await?;
            }
        }
        Ok(())
    }
}

fn manifests(edited: bool) -> Vec<Value> {
    let map = |name: &str, value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "localhost/web:1"}]},
            },
        },
    });
    if edited {
        vec![map("value", "two"), map("added", "two"), deployment]
    } else {
        vec![map("value", "one"), service, deployment]
    }
}
