//! What is done to a control plane, by a seed: applications are created, edited and deleted, at their times. No name is
//! used twice, and every edit removes an object for good, so that a run can do less than another of the same script, but
//! nothing else.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use threeport_e2e::workload;

/// The namespace that others made, in which some live.
pub(super) const SHARED: &str = "shared";
const GROUP: &str = "fire.example.org";

/// An application: a definition and an instance of one name.
#[derive(Clone, Debug)]
pub(super) struct Application {
    pub(super) name: String,
    pub(super) shape: Shape,
    /// Before it is deleted somebody else puts something where it would be destroyed with its namespace or kind.
    pub(super) is_visited: bool,
}

/// Where it lives and what it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A namespace of its own.
    Own,
    /// A namespace that others made.
    Guest,
    /// A namespace of its own, and a kind of its own with an object.
    Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Creates it, or brings it to this revision.
    Apply(u32),
    Delete,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) application: Application,
    pub(super) action: Action,
}

/// The steps of a script, by their times. One application begins in every `pace`.
pub(super) fn script(seed: u64, length: Duration, pace: Duration) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut steps = Vec::new();
    let mut begins = Duration::ZERO;
    for number in 0.. {
        if begins + pace * 3 > length {
            break;
        }
        let shape = [Shape::Own, Shape::Own, Shape::Guest, Shape::Kind][random.random_range(0..4)];
        let application = Application {
            name: format!("fire-{number}"),
            shape,
            // One stays in any case; a guest's end takes nothing along.
            is_visited: number > 0 && shape != Shape::Guest && random.random_bool(0.7),
        };
        let mut at = begins;
        let edits = random.random_range(0..3);
        for revision in 0..=edits {
            steps.push(Step {
                at,
                application: application.clone(),
                action: Action::Apply(revision),
            });
            at += pace.mul_f64(random.random_range(0.2..2.0));
        }
        if application.is_visited || number > 0 && random.random_bool(0.4) {
            steps.push(Step {
                at,
                application,
                action: Action::Delete,
            });
        }
        begins += pace;
    }
    steps.retain(|step| step.at <= length);
    steps.sort_by_key(|step| step.at);
    steps
}

impl Application {
    /// Where its objects are.
    pub(super) fn namespace(&self) -> &str {
        if self.shape == Shape::Guest {
            SHARED
        } else {
            &self.name
        }
    }

    /// Its definition and its instance at a revision.
    pub(super) fn objects(&self, revision: u32) -> Vec<Value> {
        let more = if self.shape == Shape::Guest {
            json!({"namespace": SHARED})
        } else {
            json!({})
        };
        vec![
            workload::definition(&self.name, &self.manifests(revision)),
            workload::instance(&self.name, &self.name, &more),
        ]
    }

    fn manifests(&self, revision: u32) -> Vec<Value> {
        let name = |suffix: &str| format!("{}-{suffix}", self.name);
        let map = |name: String| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
                "data": {"revision": revision.to_string()},
            })
        };
        let mut manifests = vec![
            map(name("config")),
            map(name(&format!("extra-{revision}"))),
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name("secret")},
                "stringData": {"revision": revision.to_string()},
            }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name("web")},
                "spec": {"selector": {"app": self.name}, "ports": [{"port": 80}]},
            }),
            // There is no node: its pods would wait for ever.
            workload::deployment(&name("web"), &format!("localhost/fire:{revision}"), 0),
        ];
        if self.shape == Shape::Kind {
            manifests.push(self.definition_of_kind());
            manifests.push(self.object_of_kind(&name("thing")));
        }
        manifests
    }

    fn plural(&self) -> String {
        format!("{}s", self.kind().to_lowercase())
    }

    fn kind(&self) -> String {
        format!("Thing{}", self.name.trim_start_matches("fire-"))
    }

    fn definition_of_kind(&self) -> Value {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{GROUP}", self.plural())},
            "spec": {
                "group": GROUP, "scope": "Namespaced",
                "names": {"plural": self.plural(), "singular": self.kind().to_lowercase(), "kind": self.kind()},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
            },
        })
    }

    fn object_of_kind(&self, name: &str) -> Value {
        json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": self.kind(),
            "metadata": {"name": name}, "spec": {"a": "b"},
        })
    }

    /// What somebody else has where the application is. Last by name, so that a list's first page lacks it.
    pub(super) fn visitor(&self) -> Value {
        let mut visitor = match self.shape {
            Shape::Kind => self.object_of_kind("zz-visitor"),
            _ => json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "zz-visitor"}}),
        };
        // An object of its kind lives elsewhere: what would destroy it is the end of the kind.
        let namespace = if self.shape == Shape::Kind {
            SHARED
        } else {
            self.namespace()
        };
        visitor["metadata"]["name"] = json!(format!("zz-visitor-of-{}", self.name));
        visitor["metadata"]["namespace"] = json!(namespace);
        visitor
    }
}
