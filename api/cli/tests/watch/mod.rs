//! `tptctl get --watch`, which ends when it is killed.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    process::{Child, Command},
};

use crate::world::World;

const DEADLINE: Duration = Duration::from_secs(20);

/// The lines up to the first that holds `text`.
pub(crate) async fn until(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>, text: &str) -> Vec<String> {
    let found = async {
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            read.push(line);
            if read.last().is_some_and(|line| line.contains(text)) {
                return read;
            }
        }
        panic!("it ended before it said {text:?}: {read:?}")
    };
    let found = tokio::time::timeout(DEADLINE, found).await;
    found.unwrap_or_else(|_| panic!("it does not say {text:?}"))
}

async fn apply(world: &World, name: &str, app: &str) {
    let definition = format!(
        "apiVersion: threeport.io/v1alpha1
kind: WorkloadDefinition
metadata: {{name: {name}, labels: {{app: {app}}}}}
spec:
  manifests:
  - {{apiVersion: v1, kind: ConfigMap, metadata: {{name: web}}}}
"
    );
    world.run_with(&["apply", "-f", "-"], &definition).await.ok();
}

/// The program while it watches; it ends with the test.
fn watching(world: &World, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tptctl"))
        .args(arguments)
        .arg("--watch")
        .env_clear()
        .envs(world.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_set_of_values_selects_is_shown_when_it_changes_and_nothing_else() {
    let world = World::new().await;
    let mut program = watching(&world, &["get", "tpwd", "-l", "app in (web,shop)"]);
    let mut shown = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut said = BufReader::new(program.stderr.take().unwrap()).lines();
    // It watches before it lists.
    until(&mut said, "no objects found").await;
    apply(&world, "other", "other").await;
    apply(&world, "web", "web").await;
    let rows = until(&mut shown, "web ").await;
    assert_eq!(rows.len(), 1, "what is not selected is shown: {rows:?}");

    // The API sends both as removed; only one of them was ever shown.
    apply(&world, "other", "none").await;
    apply(&world, "web", "none").await;
    let gone = until(&mut said, "workloaddefinition/web ").await;
    assert_eq!(gone, ["workloaddefinition/web deleted or no longer selected"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_a_yaml_document_of_its_own() {
    let world = World::new().await;
    let mut program = watching(&world, &["get", "tpwd", "-o", "yaml"]);
    let mut shown = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut lines = until(&mut shown, "kind: List").await;
    apply(&world, "web", "web").await;
    lines.extend(until(&mut shown, "name: web").await);
    let text = lines.join("\n");
    let documents = threeport_model::yaml::documents(&text).unwrap();
    let kinds: Vec<_> = documents.iter().map(|document| &document.value["kind"]).collect();
    assert_eq!(kinds, ["List", "WorkloadDefinition"], "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_there_is_told_after_the_others_and_ends_it() {
    let world = World::new().await;
    apply(&world, "web", "web").await;
    for (names, shown) in [
        (&["none"][..], ""),
        (&["web", "none"], "workloaddefinition.threeport.io/web\n"),
        (&["none", "nothing"], ""),
    ] {
        let arguments = [&["get", "tpwd", "-o", "name"][..], names].concat();
        let ended = watching(&world, &arguments).wait_with_output();
        let ended = tokio::time::timeout(DEADLINE, ended).await;
        let ended = ended.unwrap_or_else(|_| panic!("it watches {names:?}")).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stdout), shown, "{names:?}");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains("NotFound") && said.contains("none"), "{said}");
    }
}
