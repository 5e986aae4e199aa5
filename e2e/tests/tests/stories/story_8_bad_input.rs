//! Bad input by kubectl: the apiserver's own refusal, or Synced=False within 2 s, with code, field and line; nothing is
//! stored, and nobody logs an error. REST's half is a table in `api/server/tests`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use threeport_e2e::{World, kubectl, logs, workload};
use threeport_model::Code;

use crate::{
    scene::Scene,
    steps::{apply, condition, delete_later, kind, rest_get, wait_ready},
};

/// From the end of kubectl to the condition: the start of a process is not the product's.
const SAID: Duration = Duration::from_secs(2);

/// Who refuses, and what that must say.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    /// The apiserver or kubectl: in all of these words.
    Cluster(&'static [&'static str]),
    /// Threeport's API: Synced=False with this code, the field and, from 1 on, the line.
    Threeport(Code, &'static str, u64),
}

struct Case {
    what: &'static str,
    /// As in `kubectl apply`; `create` takes no copy of the document into an annotation.
    verb: &'static str,
    object: Value,
    refusal: Refusal,
}

fn document(name: &str, text: &str) -> Value {
    let mut object = workload::definition(name, &[]);
    object["spec"] = json!({"yamlDocument": text});
    object
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

/// An alias bomb as an object's data.
fn bomb() -> String {
    (1..12).fold(
        format!("{}data: &a0 [x,x,x,x,x,x,x,x,x,x]\n", map("a")),
        |text, level| {
            let list = vec![format!("*a{}", level - 1); 10].join(",");
            format!("{text}a{level}: &a{level} [{list}]\n")
        },
    )
}

fn refused_by_the_cluster() -> Vec<Case> {
    let case = |what, verb, object, words| Case {
        what,
        verb,
        object,
        refusal: Refusal::Cluster(words),
    };
    let instance = |name, more: Value| workload::instance(name, "bad", &more);
    let mut nothing = workload::definition("bad-neither", &[]);
    nothing["spec"] = json!({});
    let large = document(
        "bad-large",
        &format!("{}data: {{a: {}}}\n", map("a"), "x".repeat(10 << 20)),
    );
    vec![
        case(
            "a bad name",
            "apply",
            document("Bad_Name", &map("a")),
            &["metadata.name", "Bad_Name"],
        ),
        case(
            "a wrong type",
            "apply",
            instance("bad-type", json!({"suspend": "perhaps"})),
            &["spec.suspend"],
        ),
        case(
            "a word of no list",
            "apply",
            instance("bad-word", json!({"deletionPolicy": "Maybe"})),
            &["spec.deletionPolicy"],
        ),
        case("10 MiB", "create", large.clone(), &["TooLarge"]),
        case("10 MiB, applied", "apply", large, &["too l"]),
    ]
}

fn refused_by_threeport() -> Vec<Case> {
    let case = |what, object, code, field, line| Case {
        what,
        verb: "apply",
        object,
        refusal: Refusal::Threeport(code, field, line),
    };
    let text = "spec.yamlDocument";
    let twice = format!("{}data: {{a: b}}\ndata: {{a: c}}\n", map("a"));
    let deep = format!("{}data: {}1{}\n", map("a"), "[".repeat(2000), "]".repeat(2000));
    let own = "apiVersion: threeport.io/v1alpha1\nkind: X\nmetadata: {name: a}\n";
    let instance = |name, definition, more: Value| workload::instance(name, definition, &more);
    vec![
        case(
            "an unknown field",
            instance("bad-field", "bad", json!({"runtyme": "x"})),
            Code::Invalid,
            "spec.runtyme",
            0,
        ),
        case(
            "no definition",
            instance("bad-empty", "", json!({})),
            Code::Invalid,
            "spec.definition",
            0,
        ),
        case(
            "a duplicate key",
            document("bad-twice", &twice),
            Code::Invalid,
            text,
            5,
        ),
        case(
            "an alias bomb",
            document("bad-bomb", &bomb()),
            Code::Invalid,
            text,
            8,
        ),
        case(
            "deep nesting",
            document("bad-deep", &deep),
            Code::Invalid,
            text,
            4,
        ),
        case(
            "malformed YAML",
            document("bad-yaml", "a: [1, 2\nb: }"),
            Code::Invalid,
            text,
            2,
        ),
        case(
            "one object twice",
            document("bad-double", &format!("{0}---\n{0}", map("a"))),
            Code::Invalid,
            text,
            5,
        ),
        case(
            "an object without a kind",
            document(
                "bad-kind",
                &format!("{}---\napiVersion: v1\nmetadata: {{name: b}}\n", map("a")),
            ),
            Code::Invalid,
            "spec.yamlDocument.kind",
            5,
        ),
        case(
            "a threeport object",
            document("bad-own", own),
            Code::Invalid,
            "spec.yamlDocument.apiVersion",
            1,
        ),
    ]
}

/// Fails unless the API says that there is no such object. It has no object of a name that none can have: those are
/// looked for in the list of all.
async fn is_not_stored(world: &World, object: &Value) -> Result<()> {
    let kind = kind(object["kind"].as_str().unwrap_or_default())?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
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

/// A pod that says what an error's line says, in the clothes of the control plane.
async fn plant_an_error(namespace: &str) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": PLANTED, "namespace": namespace, "labels": {"app.kubernetes.io/name": "threeport"}},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "planted", "image": workload::IMAGE, "imagePullPolicy": "IfNotPresent", "args": ["job"],
                "env": [{"name": "NAME", "value": format!("{{{}}}", logs::ERROR)}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    kubectl("create -f -", Some(&pod.to_string())).await?.success()?;
    let done = "--for=jsonpath={.status.phase}=Succeeded";
    kubectl(
        &format!("-n {namespace} wait pod/{PLANTED} {done} --timeout=60s"),
        None,
    )
    .await?
    .success()
    .map(drop)
}

const PLANTED: &str = "story-8-planted";

async fn play(world: &World, case: &Case) -> Result<()> {
    let text = case.object.to_string();
    let output = kubectl(&format!("-n {} {} -f -", world.namespace, case.verb), Some(&text)).await?;
    let name = case.object["metadata"]["name"].as_str().unwrap_or_default();
    match case.refusal {
        Refusal::Cluster(words) => {
            let said = &output.stderr;
            println!("{}: {}", case.what, said.trim());
            ensure!(output.code != 0, "{}: it was taken", case.what);
            for word in words {
                ensure!(said.contains(word), "{}: {said} lacks {word:?}", case.what);
            }
        }
        Refusal::Threeport(code, field, line) => {
            output.success()?;
            let kind = kind(case.object["kind"].as_str().unwrap_or_default())?;
            let resource = format!("{}/{name}", kind.singular);
            let synced = condition(world, &resource, "Synced", "False", SAID).await?;
            let message = synced["message"].as_str().unwrap_or_default();
            println!("{}: {message}", case.what);
            ensure!(synced["reason"] == format!("{code:?}"), "{}: {synced}", case.what);
            // As a problem is printed: "  field, document 2, line 5: what is wrong".
            let place = |rest: &str| {
                message.lines().any(|said| {
                    said.trim()
                        .strip_prefix(field)
                        .is_some_and(|said| said.starts_with([',', ':']) && said.contains(rest))
                })
            };
            ensure!(place(""), "{}: {message} does not name {field}", case.what);
            let at = format!("line {line}");
            ensure!(
                line == 0 || place(&at),
                "{}: {message} does not name {at}",
                case.what
            );
        }
    }
    is_not_stored(world, &case.object).await?;
    delete_later(world, &case.object).await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_8_every_bad_input_is_refused_with_its_field_and_leaves_nothing() -> Result<()> {
    let cases: Vec<_> = refused_by_the_cluster()
        .into_iter()
        .chain(refused_by_threeport())
        .collect();
    let objects: Vec<_> = cases
        .iter()
        .map(|case| case.object.clone())
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
            let begin = Timestamp::now();
            for case in &cases {
                play(world, case).await?;
            }
            // The control: what is stored is found by the same way of looking.
            apply(world, &good).await?;
            wait_ready(world, &good).await?;
            ensure!(
                is_not_stored(world, &good[0]).await.is_err(),
                "positive control: what was stored is not found"
            );

            let namespace = &world.namespace;
            let told = logs::lines_with(namespace, begin, logs::INFO).await?;
            ensure!(!told.is_empty(), "positive control: nobody logged anything");
            let errors = logs::lines_with(namespace, begin, logs::ERROR).await?;
            ensure!(errors.is_empty(), "errors were logged: {errors:#?}");
            let planted = plant_an_error(namespace).await;
            let found = logs::lines_with(namespace, begin, logs::ERROR).await;
            kubectl(
                &format!("-n {namespace} delete pod {PLANTED} --ignore-not-found"),
                None,
            )
            .await?
            .success()?;
            planted?;
            let found = found?;
            ensure!(
                found.len() == 1 && found[0].contains(PLANTED),
                "positive control: the planted error is not what was found: {found:?}"
            );
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_8_what_is_no_document_at_all_is_refused_by_the_cluster() -> Result<()> {
    let cases = [
        (
            "cut off",
            r#"{"apiVersion": "threeport.io/v1alpha1","#,
            ["error"].as_slice(),
        ),
        (
            "no kind",
            r#"{"apiVersion": "threeport.io/v1alpha1", "metadata": {"name": "bad"}}"#,
            &["kind"],
        ),
        (
            "another kind",
            r#"{"apiVersion": "threeport.io/v1alpha1", "kind": "Nonsense", "metadata": {"name": "bad"}}"#,
            &["Nonsense"],
        ),
    ];
    Scene::default()
        .alone()
        .play(async |world| {
            for (what, text, words) in cases {
                let output = kubectl(&format!("-n {} apply -f -", world.namespace), Some(text)).await?;
                println!("{what}: {}", output.stderr.trim());
                ensure!(output.code != 0, "{what}: it was taken");
                for word in words {
                    ensure!(
                        output.stderr.contains(word),
                        "{what}: {} lacks {word:?}",
                        output.stderr
                    );
                }
            }
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
