//! Bad input by kubectl: the apiserver's own refusal, or Synced=False within 2 s, with code, field and line; nothing is
//! stored, and nobody logs an error. REST's half is [`crate::story_8_rest`].

mod cases;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use threeport_e2e::{World, kubectl, workload};
use threeport_model::Code;

use crate::{
    left_nothing::{Stored, an_error_would_be_found, no_error_is_logged, what_is_stored_would_be_seen},
    scene::Scene,
    steps::{apply, condition, custom_resource, delete, rest_get},
};
use cases::{APPLY, ByCluster, ByThreeport, Input, refused_by_the_cluster, refused_by_threeport};

/// From the end of kubectl to the condition: the start of a process is not the product's.
const SAID: Duration = Duration::from_secs(2);

/// Fails unless the API says that there is no such object. It has no object of a name that none can have: those are
/// looked for in the list of all.
async fn is_not_stored(world: &World, input: &Input) -> Result<()> {
    let (kind, name) = (input.kind()?, input.name());
    match world.api.object_get(kind, name).await {
        Err(error) if error.code() == Some(Code::NotFound) => {}
        Err(error) if error.code() == Some(Code::Invalid) => {}
        other => anyhow::bail!("{name} was stored, or it is not known whether: {other:?}"),
    }
    let (all, _) = world.api.object_list_all(kind, None).await?;
    let stored = all.iter().any(|stored| stored.metadata.name == name);
    ensure!(!stored, "{name} was stored");
    Ok(())
}

/// kubectl fails, and says all of `words`; of those with `|` between them one.
async fn is_refused(world: &World, what: &str, command: &str, text: &str, words: &[&str]) -> Result<()> {
    let command = command.replace("NAMESPACE", &world.namespace);
    let output = kubectl(&format!("-n {} {command}", world.namespace), Some(text)).await?;
    let said = &output.stderr;
    println!("{what}: {}", said.trim());
    ensure!(output.code != 0, "{what}: it was taken");
    for word in words {
        let is_said = word.split('|').any(|word| said.contains(word));
        ensure!(is_said, "{what}: {said} lacks {word:?}");
    }
    Ok(())
}

async fn are_refused_by_the_cluster(world: &World, cases: &[ByCluster]) -> Result<()> {
    for case in cases {
        let input = &case.input;
        is_refused(world, input.what, case.command, &input.text, case.words).await?;
        let made = custom_resource(world, &input.resource()?).await?;
        ensure!(made.is_none(), "{}: it was made: {made:?}", input.what);
        is_not_stored(world, input).await?;
    }
    Ok(())
}

/// All in one file.
async fn are_refused_by_threeport(world: &World, cases: &[ByThreeport]) -> Result<()> {
    let text: String = cases
        .iter()
        .map(|case| format!("---\n{}\n", case.input.text))
        .collect();
    kubectl(&format!("-n {} {APPLY}", world.namespace), Some(&text))
        .await?
        .success()?;
    let told = try_join_all(cases.iter().map(|case| told(world, &case.input))).await?;
    for (case, synced) in cases.iter().zip(told) {
        is_told(case, &synced)?;
        is_not_stored(world, &case.input).await?;
    }
    let objects: Vec<_> = cases.iter().map(|case| case.input.object.clone()).collect();
    delete(world, &objects).await.map(drop)
}

async fn told(world: &World, input: &Input) -> Result<Value> {
    condition(world, &input.resource()?, "Synced", "False", SAID).await
}

fn is_told(case: &ByThreeport, synced: &Value) -> Result<()> {
    let (what, field) = (case.input.what, case.field.as_str());
    let message = synced["message"].as_str().unwrap_or_default();
    println!("{what}: {message}");
    ensure!(synced["reason"] == format!("{:?}", case.code), "{what}: {synced}");
    // As a problem is printed: "  field, document 2, line 5: what is wrong".
    let place = |rest: &str| {
        message.lines().any(|said| {
            said.trim()
                .strip_prefix(field)
                .is_some_and(|said| said.starts_with([',', ':']) && said.contains(rest))
        })
    };
    ensure!(place(""), "{what}: {message} does not name {field}");
    let at = format!("line {}:", case.line);
    ensure!(
        case.line == 0 || place(&at),
        "{what}: {message} does not name {at}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_8_every_bad_input_is_refused_with_its_field_and_leaves_nothing() -> Result<()> {
    let (by_cluster, by_threeport) = (refused_by_the_cluster(), refused_by_threeport());
    let objects: Vec<_> = by_cluster
        .iter()
        .map(|case| &case.input)
        .chain(by_threeport.iter().map(|case| &case.input))
        .map(|input| input.object.clone())
        .filter(|object| object["metadata"]["name"] != "Bad_Name")
        .collect();
    let good = [workload::definition(
        "good",
        &workload::service("good", workload::IMAGE),
    )];
    Scene::of(&objects)
        .alone()
        .and(&good)
        .play(async |world| {
            what_is_stored_would_be_seen(world, &good).await?;
            ensure!(
                is_not_stored(world, &Input::json("good", &good[0]))
                    .await
                    .is_err(),
                "positive control: what was stored is not found"
            );
            an_error_would_be_found(&world.namespace).await?;

            let begin = Timestamp::now();
            are_refused_by_the_cluster(world, &by_cluster).await?;
            are_refused_by_threeport(world, &by_threeport).await?;
            no_error_is_logged(&world.namespace, begin).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_8_what_is_no_document_at_all_is_refused_by_the_cluster() -> Result<()> {
    let cases = [
        (
            "cut off",
            r#"{"apiVersion": "threeport.io/v1alpha1","#,
            ["error parsing STDIN", "unexpected EOF"].as_slice(),
        ),
        (
            "a tab",
            "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {name: bad}\nspec:\n\tmanifests: []\n",
            &[
                "error parsing STDIN",
                "line 5: found character that cannot start any token",
            ],
        ),
        (
            "no kind",
            r#"{"apiVersion": "threeport.io/v1alpha1", "metadata": {"name": "bad"}}"#,
            &["error validating", "kind not set"],
        ),
        (
            "another kind",
            r#"{"apiVersion": "threeport.io/v1alpha1", "kind": "Nonsense", "metadata": {"name": "bad"}}"#,
            &["no matches for kind \"Nonsense\" in version \"threeport.io/v1alpha1\""],
        ),
    ];
    let good = [workload::definition(
        "good",
        &workload::service("good", workload::IMAGE),
    )];
    Scene::of(&good)
        .alone()
        .play(async |world| {
            what_is_stored_would_be_seen(world, &good).await?;
            let before = Stored::read(world).await?;
            for (what, text, words) in cases {
                is_refused(world, what, APPLY, text, words).await?;
            }
            let after = Stored::read(world).await?;
            ensure!(
                after == before,
                "what was refused was done: {before:?} became {after:?}"
            );
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_8_a_missing_reference_is_waited_for_and_ends_by_itself() -> Result<()> {
    let objects = [
        workload::definition("later", &workload::service("later", workload::IMAGE)),
        workload::instance("later", "later", &json!({})),
    ];
    Scene::of(&objects)
        .alone()
        .play(async |world| {
            apply(world, &objects[1..]).await?;
            let resource = "workloadinstance/later";
            let synced = condition(world, resource, "Synced", "False", SAID).await?;
            ensure!(synced["reason"] == "WaitingForReference", "{synced}");
            apply(world, &objects[..1]).await?;
            condition(world, resource, "Ready", "True", Duration::from_secs(60)).await?;
            rest_get(world, "tpwi", "later")
                .await
                .context("it is not stored")
                .map(drop)
        })
        .await
}
