//! What a client asks for. Every write has a marker that no other has: in the specification of every object that it
//! writes, so that it is found again in every revision that it made.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use threeport_model::find_kind;

use super::{WRITES, prefix, rest::Request};

pub(crate) const DEFINITION: &str = "WorkloadDefinition";
pub(crate) const INSTANCE: &str = "WorkloadInstance";
/// So few that clients meet.
const DEFINITIONS: u32 = 3;
const INSTANCES: u32 = 4;

/// Kind and name.
pub(crate) type Name = (String, String);

/// One write.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) marker: String,
    pub(crate) key: Option<String>,
    pub(crate) action: Action,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Create(Thing),
    /// With `tied`, to the version that was read just before.
    Replace {
        thing: Thing,
        tied: bool,
    },
    Patch(Thing),
    Apply(Vec<Thing>),
    Delete {
        thing: Thing,
        cascade: bool,
    },
}

/// An object, by what little can differ in it.
#[derive(Clone, Debug)]
pub(crate) struct Thing {
    kind: &'static str,
    name: String,
    /// Of an instance.
    definition: String,
    /// Of an instance: another definition that it depends on.
    dependency: String,
    /// Of a definition: as one YAML document, which the store keeps apart.
    document: bool,
}

/// What a client writes, one after the other.
pub(crate) fn of_client(seed: u64, client: u64) -> Vec<Write> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&client.to_le_bytes());
    let mut random = StdRng::from_seed(bytes);
    let write = |number| {
        let marker = format!("{}-c{client}-w{number}-end", prefix(seed));
        let key = random.random_bool(0.5).then(|| marker.clone());
        let action = action(&mut random, &prefix(seed));
        Write { marker, key, action }
    };
    (0..WRITES).map(write).collect()
}

fn action(random: &mut StdRng, prefix: &str) -> Action {
    match random.random_range(0..100) {
        0..25 => Action::Create(Thing::random(random, prefix)),
        25..45 => Action::Replace {
            thing: Thing::random(random, prefix),
            tied: random.random_bool(0.6),
        },
        45..60 => Action::Patch(Thing::random(random, prefix)),
        60..80 => {
            let things = (0..random.random_range(2..6)).map(|_| Thing::random(random, prefix));
            let distinct: BTreeMap<Name, Thing> = things.map(|thing| (thing.full_name(), thing)).collect();
            Action::Apply(distinct.into_values().collect())
        }
        _ => Action::Delete {
            thing: Thing::random(random, prefix),
            cascade: random.random_bool(0.5),
        },
    }
}

impl Thing {
    fn random(random: &mut StdRng, prefix: &str) -> Self {
        let definition = |random: &mut StdRng| format!("{prefix}-d{}", random.random_range(0..DEFINITIONS));
        let is_definition = random.random_bool(0.4);
        let name = if is_definition {
            definition(random)
        } else {
            format!("{prefix}-i{}", random.random_range(0..INSTANCES))
        };
        Self {
            kind: if is_definition { DEFINITION } else { INSTANCE },
            name,
            definition: definition(random),
            dependency: definition(random),
            document: random.random_bool(0.3),
        }
    }

    pub(crate) fn full_name(&self) -> Name {
        (self.kind.to_owned(), self.name.clone())
    }

    fn plural(&self) -> &'static str {
        find_kind(self.kind).map_or("", |kind| kind.plural)
    }

    pub(crate) fn path(&self) -> String {
        format!("/v1alpha1/{}/{}", self.plural(), self.name)
    }

    fn spec(&self, marker: &str) -> Value {
        if self.kind == INSTANCE {
            // Any text may be the name of a condition.
            let dependency = json!({"kind": DEFINITION, "name": self.dependency, "condition": marker});
            return json!({"definition": self.definition, "dependsOn": [dependency]});
        }
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"},
                         "data": {"marker": marker}});
        if self.document {
            return json!({"yamlDocument": format!("# {marker}\n{map}\n")});
        }
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"},
                            "stringData": {"secret": marker}});
        json!({"manifests": [map, secret]})
    }

    fn body(&self, marker: &str) -> Value {
        json!({
            "apiVersion": "threeport.io/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": self.name, "labels": {"marker": marker}},
            "spec": self.spec(marker),
        })
    }

    /// A merge patch. The one of two fields that is not set must go; and who patches an instance leaves its definition.
    fn patch(&self, marker: &str) -> Value {
        let mut spec = self.spec(marker);
        if self.kind == INSTANCE {
            spec = json!({"dependsOn": spec["dependsOn"]});
        } else {
            let other = if self.document {
                "manifests"
            } else {
                "yamlDocument"
            };
            spec[other] = Value::Null;
        }
        json!({"metadata": {"labels": {"marker": marker}}, "spec": spec})
    }
}

impl Write {
    /// All definitions at once: what comes before all others.
    pub(crate) fn first(seed: u64) -> Self {
        let prefix = prefix(seed);
        let definition = |number: u32| Thing {
            kind: DEFINITION,
            name: format!("{prefix}-d{number}"),
            definition: String::new(),
            dependency: String::new(),
            document: number == 0,
        };
        let marker = format!("{prefix}-first-end");
        Self {
            key: Some(marker.clone()),
            action: Action::Apply((0..DEFINITIONS).map(definition).collect()),
            marker,
        }
    }

    /// What it is about; but for a deletion, what has its marker when it is done.
    pub(crate) fn names(&self) -> Vec<Name> {
        match &self.action {
            Action::Apply(things) => things.iter().map(Thing::full_name).collect(),
            Action::Create(thing)
            | Action::Replace { thing, .. }
            | Action::Patch(thing)
            | Action::Delete { thing, .. } => vec![thing.full_name()],
        }
    }

    pub(crate) fn request(&self) -> Request {
        const JSON: &str = "application/json";
        let marker = &self.marker;
        let (method, path, body) = match &self.action {
            Action::Create(thing) => {
                let path = format!("/v1alpha1/{}", thing.plural());
                (Method::POST, path, Some((JSON, thing.body(marker))))
            }
            Action::Replace { thing, .. } => (Method::PUT, thing.path(), Some((JSON, thing.body(marker)))),
            Action::Patch(thing) => {
                let body = ("application/merge-patch+json", thing.patch(marker));
                (Method::PATCH, thing.path(), Some(body))
            }
            Action::Apply(things) => {
                let bodies: Vec<Value> = things.iter().map(|thing| thing.body(marker)).collect();
                (
                    Method::POST,
                    "/v1alpha1/apply".to_owned(),
                    Some((JSON, Value::Array(bodies))),
                )
            }
            Action::Delete { thing, cascade } => {
                let propagation = if *cascade { "?propagation=cascade" } else { "" };
                (Method::DELETE, format!("{}{propagation}", thing.path()), None)
            }
        };
        Request {
            method,
            path,
            body: body.map(|(content_type, value)| (content_type, value.to_string())),
            if_match: None,
            key: self.key.clone(),
        }
    }
}

#[test]
fn a_seed_is_a_load_and_another_seed_or_client_another() {
    // Without the names, which have the seed and the client in them.
    let asked = |seed: u64, client: u64| {
        let all = of_client(seed, client);
        assert_eq!(all.len(), WRITES);
        format!("{all:?}")
            .replace(&prefix(seed), "")
            .replace(&format!("-c{client}-"), "")
    };
    for seed in 0..20 {
        assert_eq!(asked(seed, 0), asked(seed, 0));
        assert_ne!(asked(seed, 0), asked(seed + 1, 0));
        assert_ne!(asked(seed, 0), asked(seed, 1));
        let first = |seed| format!("{:?}", Write::first(seed));
        assert_eq!(first(seed), first(seed));
    }
}
