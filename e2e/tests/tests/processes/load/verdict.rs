//! Whether what the clients were told is what is there: what was acknowledged is there once, what was refused is not,
//! and what was not answered is one of both, whole. Pure: on what was answered and what was read from the database.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use threeport_model::{Code, Etag};
use uuid::Uuid;

use super::{
    Entry,
    rest::Answer,
    write::{Action, Name},
};

/// A revision of an object of the run, other than that of its deletion.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub(crate) object: Uuid,
    pub(crate) name: Name,
    pub(crate) operation: Uuid,
    /// Specification and document.
    pub(crate) text: String,
}

/// What the database holds of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) revisions: Vec<Revision>,
    pub(crate) operations: BTreeSet<Uuid>,
    /// Operation and object.
    pub(crate) deletions: BTreeSet<(Uuid, Uuid)>,
    /// Objects whose deletion was asked for, tombstones included.
    pub(crate) deleting: BTreeSet<Uuid>,
}

/// What of a write was found.
enum Found {
    Nothing,
    Once {
        operation: Uuid,
        objects: BTreeMap<Name, Uuid>,
    },
    Else(String),
}

/// What clients that meet are refused for.
const EXPECTED: [Code; 7] = [
    Code::AlreadyExists,
    Code::Conflict,
    Code::NotFound,
    Code::PreconditionFailed,
    Code::Referenced,
    Code::ReferenceDeleting,
    Code::ReferenceNotFound,
];

/// Everything that is wrong, in words.
pub(crate) fn judge(entries: &[Entry], facts: &Facts) -> Vec<String> {
    let mut wrong = Vec::new();
    for entry in entries {
        if let Err(what) = judge_one(entry, facts) {
            wrong.push(format!("{what}: {entry}"));
        }
    }
    wrong.extend(versions_misused(entries));
    wrong
}

fn judge_one(entry: &Entry, facts: &Facts) -> Result<(), String> {
    let is_deletion = matches!(entry.write.action, Action::Delete { .. });
    let found = facts.find(entry);
    if let Found::Else(what) = found {
        return Err(what);
    }
    for answer in &entry.answers {
        match answer {
            Answer::Wrong(what) => return Err(format!("answered {what}")),
            Answer::Refused { code, .. } if !EXPECTED.contains(code) => {
                return Err(format!("refused as {code:?}"));
            }
            Answer::Refused { operation, .. } if facts.operations.contains(operation) => {
                return Err(format!("refused, but there is its operation {operation}"));
            }
            _ => {}
        }
    }
    match (entry.answers.last(), found) {
        (Some(Answer::Acknowledged { operation, body }), _) if is_deletion => {
            facts.judge_deletion(entry, *operation, body)
        }
        (
            Some(Answer::Acknowledged { operation, body }),
            Found::Once {
                operation: found,
                objects,
            },
        ) => {
            if entry.answers.len() == 1 && *operation != found {
                return Err(format!(
                    "acknowledged as operation {operation}, but done by {found}"
                ));
            }
            same_objects(entry, body, found, &objects)
        }
        (Some(Answer::Acknowledged { .. }), _) => Err("acknowledged, but not there".to_owned()),
        (Some(Answer::Refused { .. }), Found::Once { .. }) => Err("refused, but there".to_owned()),
        (Some(Answer::Unanswered(_)), _) if entry.write.key.is_some() => Err("never answered".to_owned()),
        _ => Ok(()),
    }
}

impl Facts {
    fn find(&self, entry: &Entry) -> Found {
        let marker = &entry.write.marker;
        let found: Vec<&Revision> = self
            .revisions
            .iter()
            .filter(|revision| revision.text.contains(marker))
            .collect();
        let Some(first) = found.first() else {
            return Found::Nothing;
        };
        let mut names: Vec<&Name> = found.iter().map(|revision| &revision.name).collect();
        let wanted = entry.write.names();
        let mut wanted: Vec<&Name> = wanted.iter().collect();
        names.sort_unstable();
        wanted.sort_unstable();
        if names != wanted {
            return Found::Else(format!("not once and whole: found in {names:?}"));
        }
        if found.iter().any(|revision| revision.operation != first.operation) {
            return Found::Else("done by several operations".to_owned());
        }
        Found::Once {
            operation: first.operation,
            objects: found
                .iter()
                .map(|revision| (revision.name.clone(), revision.object))
                .collect(),
        }
    }

    fn judge_deletion(&self, entry: &Entry, operation: Uuid, body: &Value) -> Result<(), String> {
        let name = full_name(body);
        if entry.write.names() != [name.clone()] {
            return Err(format!("answered with {name:?}"));
        }
        let id = id(body)?;
        if !self.deleting.contains(&id) {
            return Err(format!("acknowledged, but nobody asked for the deletion of {id}"));
        }
        // Where somebody else had asked before it has no operation, or with a key one that only keeps the answer.
        let first = entry.answers.len() == 1 && self.operations.contains(&operation);
        let mut deletions = self.deletions.iter().filter(|(_, deleted)| *deleted == id);
        let is_said = match entry.write.key {
            Some(_) => deletions.next().is_some(),
            None => deletions.any(|(by, _)| *by == operation),
        };
        if first && !is_said {
            return Err(format!("operation {operation} does not say that it deleted {id}"));
        }
        Ok(())
    }
}

/// The answer shows the objects that were written.
fn same_objects(
    entry: &Entry,
    body: &Value,
    operation: Uuid,
    written: &BTreeMap<Name, Uuid>,
) -> Result<(), String> {
    let objects: Vec<&Value> = match &entry.write.action {
        Action::Apply(_) => {
            if body["operationId"] != operation.to_string() {
                return Err(format!("answered with operation {}", body["operationId"]));
            }
            let results = body["results"].as_array();
            results
                .into_iter()
                .flatten()
                .map(|result| &result["object"])
                .collect()
        }
        _ => vec![body],
    };
    let mut answered = BTreeMap::new();
    for object in objects {
        answered.insert(full_name(object), id(object)?);
    }
    if answered == *written {
        Ok(())
    } else {
        Err(format!("answered with {answered:?}, written were {written:?}"))
    }
}

fn full_name(object: &Value) -> Name {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn id(object: &Value) -> Result<Uuid, String> {
    let id = object["metadata"]["id"].as_str().unwrap_or_default();
    id.parse().map_err(|_| format!("{id:?} is no id"))
}

/// A version can be replaced once, and by another of the same object alone.
fn versions_misused(entries: &[Entry]) -> Vec<String> {
    let mut used: BTreeMap<Etag, &Entry> = BTreeMap::new();
    let mut wrong = Vec::new();
    for entry in entries {
        let (Some(etag), Some(Answer::Acknowledged { body, .. })) = (entry.if_match, entry.answers.last())
        else {
            continue;
        };
        if etag.id != id(body).ok() {
            wrong.push(format!("replaced another object: {entry}"));
        }
        if let Some(other) = used.insert(etag, entry) {
            wrong.push(format!("both replaced {etag}: {entry} and {other}"));
        }
    }
    wrong
}
