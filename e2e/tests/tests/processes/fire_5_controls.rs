//! The positive controls of fire 5: what it would call wrong is made, and found. Without these, a run that finds nothing
//! wrong says nothing.

use anyhow::{Context, Result, ensure};
use threeport_e2e::form;
use threeport_model::{Code, Etag, Object};
use uuid::Uuid;

use crate::{
    fire_5_database::Stage,
    integrity::{Planted, Scope},
    load::{
        self, Entry, controller,
        rest::Answer,
        verdict::{Facts, judge},
        write::Action,
    },
};

/// Of the load.
const RUNS: u64 = 4;
/// So often runs are made until there is some of everything: what a run leaves depends on who came first.
const ROUNDS: u64 = 5;

/// Runs of the load on a database that does not fail, which must be faultless; and what is known of each.
async fn undisturbed(stage: &Stage, first: u64) -> Result<Vec<(Vec<Entry>, Facts)>> {
    let mut runs = Vec::new();
    for index in 0..RUNS {
        let seed = first.wrapping_add(index);
        let scope = stage.scope(seed).await?;
        let entries = load::run(&stage.rest, seed).await?;
        stage
            .check(&scope, &entries)
            .await
            .context("nothing is wrong yet")?;
        let facts = stage.database.facts(&scope).await?;
        runs.push((entries, facts));
    }
    Ok(runs)
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_5_all_damage_that_is_planted_is_found() -> Result<()> {
    let stage = Stage::new().await?;
    let whole = async || -> Result<()> {
        let damage = stage.database.damage(&Scope::everything()).await?;
        ensure!(damage.is_empty(), "nothing is planted: {}", damage.join("\n"));
        Ok(())
    };
    let (seed, mut planted) = (form::seed(), Planted::default());
    for round in 0..ROUNDS {
        undisturbed(&stage, seed.wrapping_add(round * RUNS)).await?;
        // So that there is what nobody has to work on any more.
        controller::drain(&stage.rest, "drain").await?;
        whole().await?;
        planted = stage.database.plant().await?;
        ensure!(planted.unfound.is_empty(), "planted and not found: {planted:?}");
        if planted.impossible.is_empty() {
            break;
        }
    }
    ensure!(
        planted.impossible.is_empty(),
        "nothing to damage was there: {planted:?}"
    );
    whole().await
}

type Twist = fn(&mut Vec<Entry>, &mut Facts) -> Option<()>;

/// Ways in which what clients were told and what is there can differ.
const TWISTS: [(&str, Twist); 11] = [
    ("an acknowledged write is not there", |entries, facts| {
        let marker = acknowledged(entries, is_apply)?.write.marker.clone();
        facts
            .revisions
            .retain(|revision| !revision.text.contains(&marker));
        Some(())
    }),
    ("an acknowledged write is there twice", |entries, facts| {
        let marker = acknowledged(entries, is_single)?.write.marker.clone();
        let again = facts
            .revisions
            .iter()
            .find(|revision| revision.text.contains(&marker))?;
        facts.revisions.push(again.clone());
        Some(())
    }),
    ("half of many is there", |entries, facts| {
        let marker = acknowledged(entries, is_apply)?.write.marker.clone();
        let half = facts
            .revisions
            .iter()
            .position(|revision| revision.text.contains(&marker))?;
        facts.revisions.remove(half);
        Some(())
    }),
    ("many were done by two operations", |entries, facts| {
        let marker = acknowledged(entries, is_apply)?.write.marker.clone();
        let half = facts
            .revisions
            .iter_mut()
            .find(|revision| revision.text.contains(&marker))?;
        half.operation = Uuid::new_v4();
        Some(())
    }),
    ("half of an unanswered write is there", |entries, facts| {
        let entry = acknowledged(entries, is_apply)?;
        entry.answers = vec![Answer::Unanswered("lost".to_owned())];
        entry.write.key = None;
        let marker = entry.write.marker.clone();
        let half = facts
            .revisions
            .iter()
            .position(|revision| revision.text.contains(&marker))?;
        facts.revisions.remove(half);
        Some(())
    }),
    ("a write with a key is never answered", |entries, _| {
        let entry = entries.iter_mut().find(|entry| entry.write.key.is_some())?;
        entry.answers = vec![Answer::Unanswered("lost".to_owned())];
        Some(())
    }),
    ("a refused write is there", |entries, _| {
        let entry = acknowledged(entries, is_single)?;
        let operation = Uuid::new_v4();
        let code = Code::Conflict;
        entry.answers = vec![Answer::Refused { operation, code }];
        Some(())
    }),
    ("a refused write has an operation", |entries, facts| {
        let mut refused = entries.iter().flat_map(|entry| &entry.answers);
        let operation = refused.find_map(|answer| match answer {
            Answer::Refused { operation, .. } => Some(*operation),
            _ => None,
        })?;
        facts.operations.insert(operation);
        Some(())
    }),
    ("nobody asked for an acknowledged deletion", |entries, facts| {
        acknowledged(entries, is_deletion)?;
        facts.deleting.clear();
        Some(())
    }),
    ("one version is replaced twice", |entries, _| {
        let entry = acknowledged(entries, is_single)?;
        entry.if_match = Some(answered(entry)?);
        let again = entry.clone();
        entries.push(again);
        Some(())
    }),
    ("another object is replaced", |entries, _| {
        let entry = acknowledged(entries, is_single)?;
        entry.if_match = Some(Etag {
            id: Some(Uuid::new_v4()),
            ..answered(entry)?
        });
        Some(())
    }),
];

fn acknowledged(entries: &mut [Entry], of: fn(&Action) -> bool) -> Option<&mut Entry> {
    entries.iter_mut().find(|entry| {
        of(&entry.write.action) && matches!(entry.answers.as_slice(), [Answer::Acknowledged { .. }])
    })
}

/// The ETag of the object that an acknowledged write answered.
fn answered(entry: &Entry) -> Option<Etag> {
    match entry.answers.first()? {
        Answer::Acknowledged { body, .. } => {
            let object: Object = serde_json::from_value(body.clone()).ok()?;
            Some(Etag::of(&object))
        }
        _ => None,
    }
}

fn is_apply(action: &Action) -> bool {
    matches!(action, Action::Apply(things) if things.len() > 1)
}

fn is_single(action: &Action) -> bool {
    matches!(
        action,
        Action::Create(_) | Action::Replace { .. } | Action::Patch(_)
    )
}

fn is_deletion(action: &Action) -> bool {
    matches!(action, Action::Delete { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_5_what_clients_were_told_is_held_against_what_is_there() -> Result<()> {
    let stage = Stage::new().await?;
    let runs = undisturbed(&stage, form::seed()).await?;
    for (name, twist) in TWISTS {
        // Some seeds' run lacks a case: a deletion that is not refused, for one.
        let twisted = runs.iter().find_map(|(entries, facts)| {
            let (mut entries, mut facts) = (entries.clone(), facts.clone());
            twist(&mut entries, &mut facts)?;
            Some((entries, facts))
        });
        let (entries, facts) = twisted.with_context(|| format!("{name}: no run has a case"))?;
        ensure!(!judge(&entries, &facts).is_empty(), "not found: {name}");
    }
    Ok(())
}
