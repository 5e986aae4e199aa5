//! Steps as requests, and what is seen of everything after each.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use threeport_model::find_kind;
use uuid::Uuid;

use super::{
    model::{Entry, Key, Model, NOT_FOUND},
    step::{IfMatch, Step, Thing, keys},
};
use crate::harness::{ADMIN, Answer, Api, CONTROLLERS, definition, instance};

/// A sequence of steps on objects of its own: all sequences share an API, so names and a label tell whose they are.
pub(super) struct Case<'a> {
    pub(super) api: &'a Api,
    pub(super) name: String,
    pub(super) model: Model,
    /// The ids of all objects that ever were.
    ids: BTreeMap<u32, String>,
}

impl Key {
    fn plural(self) -> &'static str {
        match self {
            Self::Definition(_) => "workloaddefinitions",
            Self::Instance(_) => "workloadinstances",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Definition(_) => "WorkloadDefinition",
            Self::Instance(_) => "WorkloadInstance",
        }
    }

    fn name(self, case: &str) -> String {
        match self {
            Self::Definition(number) => format!("{case}-d{number}"),
            Self::Instance(number) => format!("{case}-i{number}"),
        }
    }

    fn path(self, case: &str) -> String {
        format!("/v1alpha1/{}/{}", self.plural(), self.name(case))
    }
}

impl<'a> Case<'a> {
    pub(super) fn new(api: &'a Api, name: String) -> Self {
        Self {
            api,
            name,
            model: Model::default(),
            ids: BTreeMap::new(),
        }
    }

    /// Does a step on both sides, and compares the answers and all that can be seen.
    pub(super) async fn step(&mut self, step: &Step) {
        if let Step::Run { key, finalize } = step {
            self.run(*key, *finalize).await;
            let done = self.model.step(step);
            assert!(done.is_ok(), "{step:?}: {done:?}");
        } else {
            let answer = self.send(step).await;
            self.check_answer(step, &answer);
        }
        for key in keys() {
            self.check_object(step, key).await;
        }
        for key in [Key::Definition(0), Key::Instance(0)] {
            self.check_list(step, key.kind(), key.plural()).await;
        }
    }

    fn spec(&self, key: Key, entry: &Entry) -> Value {
        let body = self.body(key, entry.spec.variant, entry.spec.definition.unwrap_or_default());
        let normalize = find_kind(key.kind()).unwrap().normalize;
        normalize(&body["spec"]).unwrap()
    }

    fn body(&self, key: Key, variant: bool, of: u8) -> Value {
        let name = key.name(&self.name);
        match key {
            Key::Definition(_) => definition(&name, &variant.to_string()),
            Key::Instance(_) => {
                let mut body = instance(&name, &Key::Definition(of).name(&self.name));
                body["spec"]["suspend"] = json!(variant);
                body
            }
        }
    }

    fn labels(&self, label: Option<bool>) -> Value {
        let mut labels = json!({"case": self.name});
        if let Some(label) = label {
            labels["label"] = json!(label.to_string());
        }
        labels
    }

    fn whole(&self, thing: &Thing) -> Value {
        let mut body = self.body(thing.key, thing.body.variant, thing.body.definition);
        body["metadata"]["labels"] = self.labels(thing.body.label);
        body
    }

    fn merge_patch(&self, thing: &Thing) -> Value {
        let label = thing.body.label.map(|label| label.to_string());
        let mut spec = self.body(thing.key, thing.body.variant, 0)["spec"].clone();
        if let (Key::Instance(_), Some(fields)) = (thing.key, spec.as_object_mut()) {
            fields.remove("definition");
        }
        json!({"metadata": {"labels": {"label": label}}, "spec": spec})
    }

    async fn send(&self, step: &Step) -> Answer {
        match step {
            Step::Create(thing) => {
                let path = format!("/v1alpha1/{}", thing.key.plural());
                self.api.admin("POST", &path, self.whole(thing)).await
            }
            Step::Put(thing, on) => {
                self.on("PUT", thing.key, *on, None, Some(self.whole(thing)))
                    .await
            }
            Step::Patch(thing, on) => {
                let body = self.merge_patch(thing);
                self.on("PATCH", thing.key, *on, None, Some(body)).await
            }
            Step::Delete { key, cascade, on } => {
                let query = cascade.then_some("propagation=cascade");
                self.on("DELETE", *key, *on, query, None).await
            }
            Step::Apply {
                things,
                broken,
                dry_run,
            } => {
                let mut bodies: Vec<Value> = things.iter().map(|thing| self.whole(thing)).collect();
                if let Some(index) = broken {
                    bodies[*index]["spec"]["nobodyKnowsThis"] = json!(1);
                }
                let path = format!("/v1alpha1/apply?dryRun={dry_run}");
                self.api.admin("POST", &path, json!(bodies)).await
            }
            Step::Run { .. } => unreachable!("a run is several requests"),
        }
    }

    async fn on(
        &self,
        method: &str,
        key: Key,
        on: IfMatch,
        query: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let path = key.path(&self.name);
        let path = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
        let found = self.model.objects.get(&key);
        let (life, version) = found.map_or((0, 1), |entry| (entry.life, entry.version));
        let etag = match on {
            IfMatch::Absent => None,
            IfMatch::Any => Some("*".to_owned()),
            IfMatch::Current => Some(self.etag(life, version)),
            IfMatch::Stale => Some(self.etag(life, version - 1)),
        };
        let mut headers: Vec<(&str, &str)> = Vec::new();
        headers.extend(etag.as_deref().map(|etag| ("if-match", etag)));
        if method == "PATCH" {
            headers.push(("content-type", "application/merge-patch+json"));
        }
        self.api.send(method, &path, ADMIN, &headers, body).await
    }

    /// The ETag of a version of an object; one of no object where there is none.
    fn etag(&self, life: u32, version: i64) -> String {
        let id = self
            .ids
            .get(&life)
            .map_or_else(|| Uuid::nil().to_string(), Clone::clone);
        format!("\"{id}.{version}\"")
    }

    fn check_answer(&mut self, step: &Step, answer: &Answer) {
        let expected = self.model.step(step);
        let said = (answer.status, &answer.text);
        let success = match expected {
            Ok(success) => success,
            Err(refusals) => {
                let code = answer.json()["code"].clone();
                let is_one = |(status, word): &(u16, &str)| answer.status == *status && code == *word;
                assert!(
                    refusals.iter().any(is_one),
                    "{step:?}: {said:?}, not one of {refusals:?}"
                );
                return;
            }
        };
        assert_eq!(answer.status, success.status, "{step:?}: {said:?}");
        let body = answer.json();
        let Step::Apply { dry_run, .. } = step else {
            let (key, entry, _) = &success.shown[0];
            self.check(step, *key, entry, &body, true);
            let etag = self.etag(entry.life, entry.version);
            assert_eq!(answer.header("etag"), etag, "{step:?}");
            return;
        };
        let results = body["results"].as_array().unwrap();
        assert_eq!(results.len(), success.shown.len(), "{step:?}: {said:?}");
        for (result, (key, entry, outcome)) in results.iter().zip(&success.shown) {
            assert_eq!(result["outcome"], *outcome, "{step:?}: {key:?}");
            // An object that a dry run would create never is.
            self.check(step, *key, entry, &result["object"], !dry_run);
        }
    }

    /// What is shown of one object, its status aside: an answer has that of before the write.
    fn check(&mut self, step: &Step, key: Key, entry: &Entry, found: &Value, is_stored: bool) {
        let metadata = &found["metadata"];
        let is_deleting = metadata["deletionRequestedAt"].is_string();
        assert_eq!(
            (
                &found["kind"],
                &metadata["name"],
                &metadata["managedBy"],
                is_deleting
            ),
            (
                &json!(key.kind()),
                &json!(key.name(&self.name)),
                &json!("api"),
                entry.deleting
            ),
            "{step:?}: {key:?}"
        );
        assert_eq!(
            (
                &metadata["generation"],
                &metadata["resourceVersion"],
                &metadata["labels"]
            ),
            (
                &json!(entry.generation),
                &json!(entry.version),
                &self.labels(entry.label)
            ),
            "{step:?}: {key:?}"
        );
        assert_eq!(found["spec"], self.spec(key, entry), "{step:?}: {key:?}");
        if is_stored {
            let id = metadata["id"].as_str().unwrap().to_owned();
            let known = self.ids.entry(entry.life).or_insert_with(|| id.clone());
            assert_eq!(*known, id, "{step:?}: {key:?} is another object now");
            let same = self.ids.values().filter(|other| **other == id).count();
            assert_eq!(same, 1, "{step:?}: {key:?} has the id of an object that was");
        }
    }

    async fn check_object(&mut self, step: &Step, key: Key) {
        let answer = self.api.admin("GET", &key.path(&self.name), None).await;
        let Some(entry) = self.model.objects.get(&key).cloned() else {
            let code = answer.json()["code"].clone();
            assert_eq!(
                (answer.status, &code),
                (NOT_FOUND.0, &json!(NOT_FOUND.1)),
                "{step:?}: {key:?}"
            );
            return;
        };
        assert_eq!(answer.status, 200, "{step:?}: {key:?}: {}", answer.text);
        let found = answer.json();
        self.check(step, key, &entry, &found, true);
        let etag = self.etag(entry.life, entry.version);
        assert_eq!(answer.header("etag"), etag, "{step:?}: {key:?}");
        let conditions = found["status"]["conditions"].as_array().unwrap();
        let ready = conditions
            .iter()
            .find(|condition| condition["type"] == "Ready")
            .unwrap();
        let expected = if self.model.is_ready(&entry) {
            "True"
        } else {
            "False"
        };
        assert_eq!(
            (&ready["status"], &ready["observedGeneration"]),
            (&json!(expected), &json!(entry.generation)),
            "{step:?}: {key:?}"
        );
    }

    /// Walks a list of two objects a page, and the one of a label.
    async fn check_list(&mut self, step: &Step, kind: &str, plural: &str) {
        let selected = |model: &Model, label: Option<bool>| -> Vec<(Key, Entry)> {
            let of_kind = model.objects.iter().filter(|(key, _)| key.kind() == kind);
            let labelled = of_kind.filter(|(_, entry)| label.is_none() || entry.label == label);
            labelled.map(|(key, entry)| (*key, entry.clone())).collect()
        };
        for label in [None, Some(true)] {
            let expected = selected(&self.model, label);
            let and = label.map_or_else(String::new, |label| format!(",label%3D{label}"));
            let path = format!(
                "/v1alpha1/{plural}?limit=2&labelSelector=case%3D{}{and}",
                self.name
            );
            let mut found: Vec<Value> = Vec::new();
            let mut next = Some(String::new());
            while let Some(token) = next {
                let page = self.api.admin("GET", &format!("{path}{token}"), None).await;
                let page = page.expect(200).json();
                found.extend(page["items"].as_array().unwrap().iter().cloned());
                next = page["continue"]
                    .as_str()
                    .map(|token| format!("&continue={token}"));
            }
            let names = |name: &Value| name["metadata"]["name"].as_str().unwrap().to_owned();
            let wanted: Vec<String> = expected.iter().map(|(key, _)| key.name(&self.name)).collect();
            assert_eq!(
                found.iter().map(names).collect::<Vec<_>>(),
                wanted,
                "{step:?}: {path}"
            );
            for (found, (key, entry)) in found.iter().zip(&expected) {
                self.check(step, *key, entry, found, true);
            }
        }
    }

    /// What a controller does: it takes the object, which must have work, says that it is ready and gives it back; or it
    /// says that everything is gone.
    async fn run(&self, key: Key, finalize: bool) {
        let entry = &self.model.objects[&key];
        let id = &self.ids[&entry.life];
        let request =
            json!({"holder": "model", "kinds": [key.kind()], "ids": [id], "limit": 1, "ttlSeconds": 60});
        let path = "/v1alpha1/claims";
        let answer = self.api.send("POST", path, CONTROLLERS, &[], Some(request)).await;
        let claims = answer.expect(200).json();
        let claim = &claims["claims"][0];
        let generation = &claim["object"]["metadata"]["generation"];
        assert_eq!(
            *generation,
            json!(entry.generation),
            "{key:?} has work, but was not given: {claims}"
        );
        let references = claim["references"].as_array().unwrap();
        let definition = references
            .iter()
            .find(|object| object["kind"] == "WorkloadDefinition");
        let ready = json!({"type": "Ready", "status": "True", "reason": "Healthy", "message": "",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let mut status = json!({"observedGeneration": generation, "conditions": [ready]});
        if let Some(definition) = definition {
            let applied = &definition["metadata"]["generation"];
            status["revision"] = json!({"definition": applied, "instance": generation});
        }
        let is_over = finalize && self.model.is_finalized(key);
        let complete = json!({
            "id": id, "epoch": claim["epoch"], "token": claim["token"], "next": "done", "finalize": is_over,
            "status": {"observedGeneration": generation, "status": status},
        });
        let path = "/v1alpha1/claims/complete";
        let answer = self
            .api
            .send("POST", path, CONTROLLERS, &[], Some(complete))
            .await;
        answer.expect(200);
    }
}
