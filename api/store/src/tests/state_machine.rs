//! Random operations on few names, each done by the store and by the [`model`](super::model): after every one the answers
//! and everything that can be seen must be equal.
//!
//! `THREEPORT_TEST_CASES` sets how many sequences are tried, `THREEPORT_TEST_SEED` which ones; a failing one is shrunk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::json;
use threeport_model::{
    Code, ManagedBy, Object,
    object::Source,
    protocol::{claim::CompleteRequest, source::SourceRequest},
};

use super::{
    harness::{Bed, database_test, definition_spec, done, object},
    model::{Answer, DEFINITION, INSTANCE, Key, Model, key, target},
};
use crate::{
    ListQuery, Result,
    database::sql::{Fetch, Sql},
};

/// An object, by what little can differ in it.
#[derive(Clone, Copy, Debug)]
struct Thing {
    is_definition: bool,
    name: u8,
    definition: u8,
    variant: bool,
    label: Option<bool>,
}

#[derive(Clone, Debug)]
enum Step {
    Create(Thing),
    Update(Thing),
    Apply(Vec<Thing>),
    Delete {
        thing: Thing,
        cascade: bool,
    },
    SourcePut {
        thing: Thing,
        uid: bool,
        generation: i64,
    },
    SourceDelete {
        thing: Thing,
        uid: bool,
        generation: i64,
    },
    /// Everything that is pending is done.
    Settle,
    /// The controller of a deleting instance is done.
    Finalize(Thing),
}

fn thing() -> impl Strategy<Value = Thing> {
    (
        any::<bool>(),
        0..3_u8,
        0..3_u8,
        any::<bool>(),
        any::<Option<bool>>(),
    )
        .prop_map(|(is_definition, name, definition, variant, label)| Thing {
            is_definition,
            name,
            definition,
            variant,
            label,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let source = || (thing(), any::<bool>(), 1..4_i64);
    prop_oneof![
        3 => thing().prop_map(Step::Create),
        3 => thing().prop_map(Step::Update),
        3 => prop::collection::vec(thing(), 1..5).prop_map(Step::Apply),
        3 => (thing(), any::<bool>()).prop_map(|(thing, cascade)| Step::Delete { thing, cascade }),
        3 => source().prop_map(|(thing, uid, generation)| Step::SourcePut { thing, uid, generation }),
        2 => source().prop_map(|(thing, uid, generation)| Step::SourceDelete { thing, uid, generation }),
        1 => Just(Step::Settle),
        3 => thing().prop_map(Step::Finalize),
    ]
}

impl Thing {
    /// Names begin with the case, so that all cases share one database.
    fn object(self, case: &str) -> Object {
        let name = |letter: char, number: u8| format!("{case}-{letter}{number}");
        let mut object = if self.is_definition {
            let spec = definition_spec(if self.variant { "one" } else { "two" });
            object(DEFINITION, &name('d', self.name), spec)
        } else {
            let spec = json!({"definition": name('d', self.definition), "suspend": self.variant});
            object(INSTANCE, &name('i', self.name), spec)
        };
        let label = self.label.map(|value| ("label".to_owned(), value.to_string()));
        object.metadata.labels.extend(label);
        object
    }
}

fn source(uid: bool, generation: i64) -> Source {
    Source {
        uid: uid.to_string(),
        generation,
    }
}

struct Case<'a> {
    bed: &'a Bed,
    name: String,
    model: Model,
}

impl Case<'_> {
    async fn step(&mut self, step: &Step) {
        let (found, expected) = self.both(step).await;
        match (&found, &expected) {
            (Ok(()), Ok(())) => {}
            (Err(code), Err(codes)) if codes.contains(code) => {}
            _ => panic!("{step:?}: the store says {found:?}, the model {expected:?}"),
        }
        self.compare(step).await;
    }

    async fn both(&mut self, step: &Step) -> (Result<(), Code>, Answer) {
        let (store, request) = (&self.bed.store, self.bed.request());
        let model = &mut self.model;
        let code = |error: crate::Error| error.code();
        match step {
            Step::Create(thing) => {
                let object = thing.object(&self.name);
                let expected = model.create(&object);
                let found = store.object_create(&request, object).await;
                (found.map(drop).map_err(code), expected)
            }
            Step::Update(thing) => {
                let object = thing.object(&self.name);
                let expected = model.update(&object);
                let found = store.object_update(&request, object, None).await;
                (found.map(drop).map_err(code), expected)
            }
            Step::Apply(things) => {
                let objects = things.iter().map(|thing| thing.object(&self.name));
                let distinct: BTreeMap<Key, Object> = objects.map(|object| (key(&object), object)).collect();
                let objects: Vec<Object> = distinct.into_values().collect();
                let expected = model.apply(&objects);
                let found = store.object_apply(&request, objects, false).await;
                (found.map(drop).map_err(code), expected)
            }
            Step::Delete { thing, cascade } => {
                let key = key(&thing.object(&self.name));
                let expected = model.delete(&key, ManagedBy::Api, *cascade);
                let found = store
                    .object_delete(&request, &key.0, &key.1, None, *cascade)
                    .await;
                (found.map(drop).map_err(code), expected)
            }
            Step::SourcePut {
                thing,
                uid,
                generation,
            } => {
                let object = thing.object(&self.name);
                let source = source(*uid, *generation);
                let expected = model.source_put(&object, &source);
                let put = SourceRequest {
                    kind: object.kind,
                    name: object.metadata.name,
                    generation: source.generation,
                    spec: object.spec,
                    labels: object.metadata.labels,
                    annotations: BTreeMap::new(),
                    regressed: false,
                    on_behalf_of: None,
                };
                let found = store.source_put(&request, &source.uid, &put).await;
                (found.map(drop).map_err(code), expected)
            }
            Step::SourceDelete {
                thing,
                uid,
                generation,
            } => {
                let key = key(&thing.object(&self.name));
                let source = source(*uid, *generation);
                let expected = model.source_delete(&key, &source);
                let found = store
                    .source_delete(&request, &source.uid, &key.0, &key.1, source.generation, false)
                    .await;
                (found.map(drop).map_err(code), expected)
            }
            Step::Settle => {
                self.bed.settle().await;
                model.due.clear();
                (Ok(()), Ok(()))
            }
            Step::Finalize(thing) => {
                let key = key(&thing.object(&self.name));
                if key.0 == INSTANCE && model.objects.get(&key).is_some_and(|entry| entry.deleting) {
                    finalize(self.bed, model, &key).await;
                }
                (Ok(()), Ok(()))
            }
        }
    }

    async fn compare(&self, step: &Step) {
        let mut expected = self.model.objects.clone();
        let mut ids = BTreeMap::new();
        for kind in [DEFINITION, INSTANCE] {
            let query = ListQuery {
                kind: kind.to_owned(),
                limit: 8,
                after: Some(URL_SAFE_NO_PAD.encode(&self.name)),
                ..ListQuery::default()
            };
            for found in self.bed.store.object_list(&query).await.unwrap().items {
                if !found.metadata.name.starts_with(&format!("{}-", self.name)) {
                    continue;
                }
                let key = key(&found);
                ids.insert(found.id(), key.clone());
                let Some(entry) = expected.remove(&key) else {
                    panic!("{step:?}: {key:?} should not be there");
                };
                let metadata = &found.metadata;
                assert_eq!(
                    (
                        &found.spec,
                        &metadata.labels,
                        metadata.managed_by,
                        &metadata.source
                    ),
                    (&entry.spec, &entry.labels, Some(entry.owner), &entry.source),
                    "{step:?}: {key:?}"
                );
                assert_eq!(
                    (
                        metadata.generation,
                        metadata.resource_version,
                        metadata.deletion_requested_at.is_some()
                    ),
                    (
                        Some(entry.generation),
                        Some(entry.resource_version),
                        entry.deleting
                    ),
                    "{step:?}: {key:?}"
                );
            }
        }
        assert!(expected.is_empty(), "{step:?}: not there: {:?}", expected.keys());
        self.compare_rows(step, &ids).await;
    }

    /// What no list shows: references, history and the work list.
    async fn compare_rows(&self, step: &Step, ids: &BTreeMap<uuid::Uuid, Key>) {
        let all: Vec<uuid::Uuid> = ids.keys().copied().collect();
        let rows = async |text: &str| {
            let mut query = Sql::new(text);
            query.list(&all);
            self.bed.store.reader().all(query).await.unwrap()
        };
        let found = rows("SELECT from_id, to_id FROM reference WHERE from_id IN ").await;
        let found: BTreeSet<(Key, Option<Key>)> = found
            .iter()
            .map(|row| {
                let (from, to): (uuid::Uuid, uuid::Uuid) =
                    (row.get("from_id").unwrap(), row.get("to_id").unwrap());
                (ids[&from].clone(), ids.get(&to).cloned())
            })
            .collect();
        let objects = &self.model.objects;
        let expected = objects
            .iter()
            .filter_map(|(key, entry)| Some((key.clone(), Some(target(&entry.spec)?))));
        assert_eq!(found, expected.collect(), "{step:?}: references");
        let found = rows("SELECT object_id, generation FROM revision WHERE object_id IN ").await;
        let mut newest: BTreeMap<&Key, BTreeSet<i64>> = BTreeMap::new();
        for row in &found {
            let id: uuid::Uuid = row.get("object_id").unwrap();
            newest
                .entry(&ids[&id])
                .or_default()
                .insert(row.get("generation").unwrap());
        }
        for (key, entry) in objects {
            assert_eq!(
                newest[key],
                (1..=entry.generation).collect(),
                "{step:?}: history of {key:?}"
            );
        }
        let found = rows("SELECT object_id FROM pending WHERE object_id IN ").await;
        let pending: BTreeSet<&Key> = found
            .iter()
            .map(|row| &ids[&row.get::<uuid::Uuid>("object_id").unwrap()])
            .collect();
        let forgotten: Vec<&Key> = self
            .model
            .due
            .iter()
            .filter(|key| !pending.contains(key))
            .collect();
        assert!(
            forgotten.is_empty(),
            "{step:?}: nobody would work on {forgotten:?}"
        );
    }
}

async fn finalize(bed: &Bed, model: &mut Model, key: &Key) {
    let id = bed.get(&key.0, &key.1).await.id();
    let Some(claim) = bed.claim(&[id]).await.pop() else {
        assert!(!model.due.contains(key), "{key:?} has work, but it was not given");
        return;
    };
    let end = CompleteRequest {
        finalize: true,
        ..done(&claim)
    };
    bed.store.claim_complete(&end).await.unwrap();
    model.finalize(key);
}

database_test!(the_store_does_what_the_model_does, bed, {
    let cases = std::env::var("THREEPORT_TEST_CASES").map_or(32, |text| text.parse().unwrap());
    println!("THREEPORT_TEST_CASES={cases}");
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&bed.seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let number = AtomicU64::new(0);
    let steps = prop::collection::vec(step(), 1..30);
    let runtime = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&steps, |steps| {
            let mut case = Case {
                bed,
                name: format!("c{:06}", number.fetch_add(1, Ordering::Relaxed)),
                model: Model::default(),
            };
            runtime.block_on(async {
                for step in &steps {
                    case.step(step).await;
                }
            });
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
});
