//! Bad input by kubectl: the apiserver's own refusal, or Synced=False within 2 s. REST's half is a table in
//! `api/server/tests`.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use threeport_e2e::{World, kubectl, workload};

use crate::steps::{condition, delete};

#[tokio::test(flavor = "multi_thread")]
async fn story_8_what_the_api_refuses_is_seen_within_2_s_and_nothing_is_stored() -> Result<()> {
    let world = World::connect().await?;
    let text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: ConfigMap\nmetadata: {name: b}\n";
    let mut bad = workload::definition("bad", &[]);
    bad["spec"] = json!({"yamlDocument": text});
    kubectl(
        &format!("-n {} apply -f -", world.namespace),
        Some(&bad.to_string()),
    )
    .await?
    .success()?;
    let synced = condition(
        &world,
        "workloaddefinition/bad",
        "Synced",
        "False",
        Duration::from_secs(2),
    )
    .await?;
    let message = synced["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("apiVersion") && message.contains("line 5"),
        "{synced}"
    );
    let Some(kind) = threeport_model::find_kind("tpwd") else {
        anyhow::bail!("no such kind")
    };
    ensure!(world.api.object_get(kind, "bad").await.is_err(), "it was stored");
    delete(&world, &[bad]).await?;
    Ok(())
}

/// What kubectl is given, and what the refusal must say: the apiserver's own or the condition's.
fn cases() -> Vec<(&'static str, Value, &'static str)> {
    let definition = |name: &str, spec: Value| {
        let mut object = workload::definition(name, &[]);
        object["spec"] = spec;
        object
    };
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\ndata: {a: c}\n";
    let deep = format!("{}data: {}1{}\n", map("a"), "[".repeat(2000), "]".repeat(2000));
    let bomb = (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
        format!(
            "{text}a{level}: &a{level} [{}]\n",
            vec![format!("*a{}", level - 1); 10].join(",")
        )
    });
    let document = |name: &str, text: &str| definition(name, json!({"yamlDocument": text}));
    vec![
        (
            "an unknown field",
            workload::instance("bad-field", "bad", &json!({"runtyme": "x"})),
            "runtyme",
        ),
        (
            "a bad name",
            definition("Bad_Name", json!({"yamlDocument": map("a")})),
            "name",
        ),
        ("neither form", definition("bad-neither", json!({})), "manifests"),
        (
            "a wrong type",
            workload::instance("bad-type", "bad", &json!({"suspend": "perhaps"})),
            "suspend",
        ),
        (
            "no definition",
            workload::instance("bad-empty", "", &json!({})),
            "definition",
        ),
        ("a duplicate key", document("bad-twice", twice), "data"),
        ("an alias bomb", document("bad-bomb", &bomb), "yamlDocument"),
        ("deep nesting", document("bad-deep", &deep), "yamlDocument"),
        (
            "malformed YAML",
            document("bad-yaml", "a: [1, 2\nb: }"),
            "yamlDocument",
        ),
        (
            "one object twice",
            document("bad-double", &format!("{0}---\n{0}", map("a"))),
            "document 1",
        ),
        (
            "a threeport object",
            document(
                "bad-own",
                "apiVersion: threeport.io/v1alpha1\nkind: X\nmetadata: {name: a}\n",
            ),
            "threeport.io",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn story_8_every_bad_input_is_refused_with_its_field_and_leaves_nothing() -> Result<()> {
    let world = World::connect().await?;
    for (what, object, expected) in cases() {
        let (kind, name) = (
            object["kind"].as_str().unwrap_or_default(),
            object["metadata"]["name"].as_str().unwrap_or_default(),
        );
        let output = kubectl(
            &format!("-n {} apply -f -", world.namespace),
            Some(&object.to_string()),
        )
        .await?;
        let said = if output.code == 0 {
            let resource = format!("{}/{name}", kind.to_lowercase());
            let synced = condition(&world, &resource, "Synced", "False", Duration::from_secs(2)).await?;
            synced["message"].as_str().unwrap_or_default().to_owned()
        } else {
            output.stderr
        };
        println!("{what}: {}", said.trim());
        ensure!(
            said.contains(expected),
            "{what}: the refusal does not name {expected:?}: {said}"
        );
        let Some(kind) = threeport_model::find_kind(kind) else {
            anyhow::bail!("no such kind")
        };
        ensure!(
            world.api.object_get(kind, name).await.is_err(),
            "{what}: it was stored"
        );
        kubectl(
            &format!(
                "-n {} delete --ignore-not-found --timeout=30s -f -",
                world.namespace
            ),
            Some(&object.to_string()),
        )
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn story_8_a_missing_reference_is_waited_for_and_ends_by_itself() -> Result<()> {
    let world = World::connect().await?;
    let instance = workload::instance("later", "later", &json!({}));
    kubectl(
        &format!("-n {} apply -f -", world.namespace),
        Some(&instance.to_string()),
    )
    .await?
    .success()?;
    let synced = condition(
        &world,
        "workloadinstance/later",
        "Synced",
        "False",
        Duration::from_secs(2),
    )
    .await?;
    ensure!(synced["reason"] == "WaitingForReference", "{synced}");
    let definition = workload::definition("later", &workload::service("later", workload::IMAGE));
    let objects = [definition, instance];
    kubectl(
        &format!("-n {} apply -f -", world.namespace),
        Some(&objects[0].to_string()),
    )
    .await?
    .success()?;
    condition(
        &world,
        "workloadinstance/later",
        "Ready",
        "True",
        Duration::from_secs(60),
    )
    .await?;
    delete(&world, &objects).await?;
    Ok(())
}
