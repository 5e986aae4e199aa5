//! The program against the real API: what it prints, where, and its exit codes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod closed;
mod cluster;
mod deletion;
mod environment;
mod hanging;
mod manifests;
mod proxy;
mod removal;
mod several;
mod terminal;
mod waiting;
mod watch;
mod world;

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::{Value, json};
use threeport_model::{Object, find_kind};
use world::{Ran, World, program};

const MANIFESTS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {greeting: hello}
";

fn pair(name: &str, greeting: &str) -> String {
    format!(
        "apiVersion: threeport.io/v1alpha1
kind: WorkloadInstance
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec: {{definition: {name}}}
---
apiVersion: threeport.io/v1alpha1
kind: WorkloadDefinition
metadata: {{name: {name}}}
spec:
  manifests:
  - {{apiVersion: v1, kind: ConfigMap, metadata: {{name: web}}, data: {{greeting: {greeting}}}}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_fails_keeps_no_other_from_going() {
    let world = World::new().await;
    let file = world.write("web.yaml", &pair("web", "hello"));
    world.run(&["apply", "-f", &file]).await.ok();
    let other = world.write("other.yaml", &pair("other", "hello"));
    world.run(&["apply", "-f", &other]).await.ok();
    world.run(&["delete", "workloadinstance/other"]).await.ok();
    world.finalize("WorkloadInstance", "other").await;
    let both = world.run(&["delete", "-f", &other]).await;
    assert_eq!(both.code, 1, "{both:?}");
    assert!(both.stderr.contains("WorkloadInstance/other"), "{both:?}");
    assert_eq!(
        both.stdout, "workloaddefinition/other deletion requested\n",
        "what is there goes all the same"
    );
    assert_eq!(world.run(&["get", "tpwd", "web"]).await.code, 0, "the control");

    // That something failed is not forgotten over what takes too long: nobody finalizes the instance.
    let late = world
        .run(&["delete", "-f", &other, "-f", &file, "--wait", "--timeout", "0s"])
        .await;
    assert_eq!(late.code, 1, "{late:?}");
    for part in ["WorkloadInstance/other", "workloadinstance/web"] {
        assert!(late.stderr.contains(part), "{part}: {late:?}");
    }
    let control = world
        .run(&["delete", "-f", &file, "--wait", "--timeout", "0s"])
        .await;
    assert_eq!(control.code, 3, "the control: {control:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_shown_to_its_end() {
    let world = World::new().await;
    let kind = find_kind("WorkloadDefinition").unwrap();
    // Two of them are more than a page has.
    let definition = |word: &str| {
        let data = json!({"v": word.repeat(5 << 20)});
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data});
        Object::new(kind.kind, "web", json!({"manifests": [map]}))
    };
    world.client.object_create(kind, &definition("a")).await.unwrap();
    let changed = definition("b");
    world.client.object_replace(kind, &changed, None).await.unwrap();
    let history = world.run(&["history", "tpwd", "web", "-o", "name"]).await.ok();
    assert_eq!(history, "workloaddefinition/web@2\nworkloaddefinition/web@1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_api_names_file_and_line() {
    let world = World::new().await;
    let first = world.write("app/a.yaml", &format!("---\n{}", pair("a", "hello")));
    let folder = Path::new(&first).parent().unwrap().display().to_string();
    let wrong = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadInstance\nmetadata: {name: b}\nspec: {definition: a, runtyme: x}\n";
    world.write("app/b.yaml", &format!("# a comment\n{wrong}"));
    let refused = world.run(&["apply", "-f", &folder]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("b.yaml:2: spec"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_can_be_seen_changed_and_deleted() {
    let world = World::new().await;
    let folder = Path::new(&world.write("app/web.yaml", &pair("web", "hello")))
        .parent()
        .unwrap()
        .display()
        .to_string();

    let created = world.run(&["apply", "-f", &folder, "--dry-run"]).await;
    assert_eq!(created.code, 2, "{created:?}");
    assert!(
        world.run(&["get", "tpwd", "web"]).await.code == 1,
        "a dry run stored something"
    );
    let created = world.run(&["apply", "-f", &folder]).await.ok();
    assert_eq!(
        created,
        "workloadinstance/web created\nworkloaddefinition/web created\n"
    );
    assert_eq!(world.run(&["apply", "-f", &folder, "--dry-run"]).await.code, 0);
    assert_eq!(world.run(&["diff", "-f", &folder]).await.code, 0);

    // What get prints can be applied again, from standard input.
    let yaml = world.run(&["get", "workloads", "-o", "yaml"]).await.ok();
    let again = world.run_with(&["apply", "-f", "-"], &yaml).await.ok();
    assert_eq!(
        again,
        "workloaddefinition/web unchanged\nworkloadinstance/web unchanged\n"
    );

    let changed = pair("web", "changed");
    let diff = world.run_with(&["diff", "-f", "-"], &changed).await;
    assert_eq!(diff.code, 2, "{diff:?}");
    assert!(
        diff.stdout.contains("-") && diff.stdout.contains("greeting: changed"),
        "{diff:?}"
    );
    assert!(
        !diff.stdout.contains("WorkloadInstance/web"),
        "what does not change is not shown: {diff:?}"
    );
    let applied = world.run_with(&["apply", "-f", "-"], &changed).await.ok();
    assert_eq!(
        applied,
        "workloadinstance/web unchanged\nworkloaddefinition/web configured\n"
    );

    let history = world.run(&["history", "tpwd", "web", "-o", "json"]).await.ok();
    let revisions: Value = serde_json::from_str(&history).unwrap();
    assert_eq!(revisions.as_array().unwrap().len(), 2);
    let operations = world.run(&["operations"]).await.ok();
    assert!(
        operations.contains("workloaddefinition/web created"),
        "{operations}"
    );

    // Files in the wrong order for a deletion are no hindrance: the definition waits for the instance.
    let deleting = world.run_with(&["delete", "-f", "-", "--wait"], &changed);
    let finalizing = world.finalize("WorkloadInstance", "web");
    let (deleted, ()) = tokio::join!(deleting, async {
        until_deleting(&world, "web").await;
        finalizing.await;
    });
    assert_eq!(deleted.code, 0, "{deleted:?}");
    let gone = world.run(&["get", "tpwi", "web"]).await;
    assert_eq!((gone.code, gone.stdout.as_str()), (1, ""));
    assert!(
        gone.stderr.contains("NotFound") && gone.stderr.contains("operation: "),
        "{gone:?}"
    );
}

async fn until_deleting(world: &World, name: &str) {
    let kind = threeport_model::find_kind("tpwi").unwrap();
    let deleting = async {
        while !world.client.object_get(kind, name).await.unwrap().is_deleting() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), deleting)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_output_shows_the_same_objects() {
    let world = World::new().await;
    for name in ["shop", "web"] {
        world
            .run_with(&["apply", "-f", "-"], &pair(name, "hello"))
            .await
            .ok();
    }
    let table = world.run(&["get", "workloadinstances"]).await.ok();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0][..3], ["NAME", "READY", "REASON"], "{table}");
    assert_eq!((rows[1][0], rows[2][0]), ("shop", "web"), "{table}");
    assert!(
        world
            .run(&["get", "tpwi", "-o", "wide"])
            .await
            .ok()
            .contains("MESSAGE")
    );
    let names = world
        .run(&["get", "workloads", "-o", "name", "-l", "app=web"])
        .await
        .ok();
    assert_eq!(names, "workloadinstance.threeport.io/web\n");
    let list: Value = serde_json::from_str(&world.run(&["get", "tpwi", "-o", "json"]).await.ok()).unwrap();
    assert_eq!(
        (&list["kind"], list["items"].as_array().unwrap().len()),
        (&"List".into(), 2)
    );
    let one: Value = serde_json::from_str(&world.run(&["get", "tpwi/web", "-o", "json"]).await.ok()).unwrap();
    assert_eq!(one["spec"]["definition"], "web");
    let nothing = world.run(&["get", "tpwi", "-l", "app=none"]).await;
    assert_eq!(
        (nothing.stdout.as_str(), nothing.stderr.as_str()),
        ("", "no objects found\n")
    );

    let described = world.run(&["describe", "tpwi", "web"]).await.ok();
    for part in ["Name:", "definition: web", "Conditions:", "Events:"] {
        assert!(described.contains(part), "{part}: {described}");
    }
    let me = world.run(&["whoami"]).await.ok();
    assert!(me.contains("admin") && me.contains("https://localhost"), "{me}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_it_is_true_in_vain_or_overtaken() {
    let world = World::new().await;
    world
        .run_with(&["apply", "-f", "-"], &pair("web", "hello"))
        .await
        .ok();

    let late = world.run(&["wait", "tpwi/web", "--timeout", "1s"]).await;
    assert_eq!((late.code, late.stdout.as_str()), (3, ""), "{late:?}");
    assert!(
        late.stderr.contains("timed out after 1 s") && late.stderr.contains("workloadinstance/web"),
        "{late:?}"
    );
    // Without a terminal each state is a line, and is said once.
    let said: Vec<&str> = late.stderr.lines().collect();
    assert!(said[0].starts_with("workloadinstance/web: "), "{late:?}");
    let left = format!("  {}", said[0]);
    assert_eq!(
        said[1..],
        ["timed out after 1 s; still waiting for:", left.as_str()],
        "{late:?}"
    );

    // Ready of the generation before does not count for the one that was just applied.
    world.reconcile("WorkloadInstance", "web", true).await;
    assert_eq!(world.run(&["wait", "tpwi/web", "--timeout", "20s"]).await.code, 0);
    let suspended = pair("web", "hello").replace("{definition: web}", "{definition: web, suspend: true}");
    let instance = suspended.split("---").next().unwrap().to_owned();
    let file = world.write("suspended.yaml", &instance);
    let applying = world
        .start(&["apply", "-f", &file, "--wait", "--timeout", "20s"])
        .await;
    world.reconcile("WorkloadInstance", "web", true).await;
    let applied = applying.end().await;
    assert_eq!(applied.code, 0, "{applied:?}");
    assert_eq!(applied.stdout, "workloadinstance/web configured\n");
    let said: Vec<&str> = applied.stderr.lines().collect();
    assert!(
        said[0].starts_with("workloadinstance/web: Ready=False "),
        "{applied:?}"
    );
    assert_eq!(said[1..], ["workloadinstance/web: done"], "{applied:?}");

    world.reconcile_not_ready().await;
    // It says what it waits for as soon as it has looked.
    let waiting = world
        .start(&["wait", "tpwi/web", "--for=condition=Ready", "--timeout", "20s"])
        .await;
    world
        .run_with(&["apply", "-f", "-"], &pair("web", "hello"))
        .await
        .ok();
    let overtaken = waiting.end().await;
    assert_eq!(overtaken.code, 4, "{overtaken:?}");
    assert_eq!(
        overtaken.stderr,
        "workloadinstance/web: Ready=False Test: as the test says\n\
         workloadinstance/web: superseded: was changed: generation 4 is wanted of it now, not 3\n"
    );
    assert_eq!(
        world.run(&["wait", "tpwi/none", "--timeout", "20s"]).await.code,
        1
    );
    assert_eq!(
        world
            .run(&["wait", "tpwi/none", "--for=delete", "--timeout", "20s"])
            .await
            .code,
        0
    );
}

impl World {
    async fn reconcile_not_ready(&self) {
        let changed = pair("web", "hello").replace("{definition: web}", "{definition: web, adopt: true}");
        self.run_with(&["apply", "-f", "-"], &changed).await.ok();
        self.reconcile("WorkloadInstance", "web", false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_run_in_one_command() {
    let world = World::new().await;
    let file = world.write("manifests/web.yaml", MANIFESTS);
    let arguments = ["run", "web", "-f", &file, "--workload-namespace", "shop"];
    let dry = world
        .run(&[&arguments[..], &["--dry-run", "-o", "yaml"]].concat())
        .await
        .ok();
    assert!(
        world.run(&["get", "tpwd/web"]).await.code == 1,
        "a dry run stored something"
    );
    let ran = world.run(&arguments).await.ok();
    assert_eq!(
        ran,
        "workloaddefinition/web created\nworkloadinstance/web created\n"
    );
    let object: Value =
        serde_json::from_str(&world.run(&["get", "tpwi/web", "-o", "json"]).await.ok()).unwrap();
    assert_eq!(object["spec"]["namespace"], "shop");
    // What a dry run prints is what was sent.
    let again = world.run_with(&["apply", "-f", "-"], &dry).await.ok();
    assert_eq!(
        again,
        "workloaddefinition/web unchanged\nworkloadinstance/web unchanged\n"
    );

    let bad = world.write("bad.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n");
    let refused = world.run(&["run", "bad", "-f", &bad]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("bad.yaml:1: metadata.name: is required"),
        "{refused:?}"
    );
    let own = world
        .run_with(&["run", "own", "-f", "-"], &pair("web", "x"))
        .await;
    assert!(
        own.code == 1 && own.stderr.contains("can't be part of a workload"),
        "{own:?}"
    );
    assert_eq!(world.run(&["run", "No_Name", "-f", &file]).await.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_is_built_by_kubectl_or_refused_with_what_to_do() {
    let world = World::new().await;
    world.write("kustomized/web.yaml", MANIFESTS);
    let kustomization = "resources: [web.yaml]\nnamePrefix: my-\n";
    let file = world.write("kustomized/kustomization.yaml", kustomization);
    let folder = Path::new(&file).parent().unwrap().display().to_string();
    let arguments = ["run", "web", "-f", &folder, "--dry-run", "-o", "yaml"];
    let mut environment = world.environment();
    environment.insert("PATH", folder.clone().into());
    let without = program(&arguments, "", environment).await;
    assert_eq!(without.code, 1);
    assert!(without.stderr.contains("install kubectl"), "{without:?}");

    let kubectl = tokio::task::spawn_blocking(|| threeport_testbed::binaries::path("kubectl"))
        .await
        .unwrap()
        .unwrap();
    let mut environment = world.environment();
    environment.insert("PATH", kubectl.parent().unwrap().into());
    let with = program(&arguments, "", environment).await.ok();
    assert!(with.contains("name: my-web"), "{with}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_in_full() {
    let world = World::new().await;
    let unknown = pair("web", "x").replace("{definition: web}", "{definition: web, runtyme: x}");
    let refused = world.run_with(&["apply", "-f", "-"], &unknown).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    for part in ["Invalid", "runtyme", "spec", "operation: "] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    let missing = pair("web", "x").split("---").next().unwrap().to_owned();
    let refused = world.run_with(&["apply", "-f", "-"], &missing).await;
    assert!(
        refused.stderr.contains("ReferenceNotFound") && refused.stderr.contains("next: "),
        "{refused:?}"
    );

    let malformed = world.run_with(&["apply", "-f", "-"], "a: [1\n").await;
    assert!(
        malformed.code == 1 && malformed.stderr.contains("standard input:"),
        "{malformed:?}"
    );
    for usage in [&["get"][..], &["get", "pods"], &["apply", "--nonsense"], &[]] {
        assert_eq!(world.run(usage).await.code, 1, "{usage:?}");
    }
    assert_eq!(world.run(&["--help"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_remedy_for_each_failed_line() {
    let world = World::new().await;
    let well = world.run(&["doctor"]).await;
    assert_eq!(well.code, 0, "{well:?}");
    assert!(well.stdout.contains("ok       API: answers over TLS"), "{well:?}");
    // This API has no NATS, and says so.
    assert!(
        well.stdout
            .contains("warning  database and NATS: NATS is not connected"),
        "{well:?}"
    );
    assert!(
        well.stdout
            .contains("skipped  cluster: no kubeconfig can be used"),
        "{well:?}"
    );

    let wrong_token = world.write("wrong-token", "wrong");
    let other = World::new().await;
    let cases = [
        (
            "THREEPORT_TOKEN_FILE",
            wrong_token.into(),
            "token",
            "Secret <release>-admin-token",
        ),
        (
            "THREEPORT_CA_FILE",
            other.key("ca.crt").into_os_string(),
            "API",
            "--ca ca.crt",
        ),
        (
            "THREEPORT_SERVER",
            "https://localhost:1".into(),
            "API",
            "see whether the API runs",
        ),
        ("THREEPORT_SERVER", "".into(), "way to the API", "--server URL"),
    ];
    for (variable, value, line, remedy) in cases {
        let mut environment = world.environment();
        if value.is_empty() {
            environment.remove(variable);
        } else {
            environment.insert(variable, value);
        }
        let ran: Ran = program(&["doctor"], "", environment).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        let mut lines = ran
            .stdout
            .lines()
            .skip_while(|text| !text.starts_with(&format!("FAILED   {line}: ")));
        assert!(lines.next().is_some(), "{line}: {}", ran.stdout);
        let told = lines
            .find(|text| text.trim_start().starts_with("->"))
            .unwrap_or_default();
        assert!(told.contains(remedy), "{line}: {}", ran.stdout);
    }
}

#[tokio::test]
async fn as_a_plugin_it_calls_itself_what_kubectl_calls_it() {
    let plugin = Path::new(env!("CARGO_BIN_EXE_kubectl-threeport"));
    let help = world::run(plugin, &["get", "--help"], "", BTreeMap::new())
        .await
        .ok();
    assert!(help.contains("Usage: kubectl threeport get"), "{help}");
    // What it advises can be typed where there is no tptctl.
    let nowhere = BTreeMap::from([("THREEPORT_SERVER", "https://localhost:1".into())]);
    let failed = world::run(plugin, &["whoami"], "", nowhere).await;
    assert!(
        failed.code == 1 && failed.stderr.contains("next: `kubectl threeport doctor` checks"),
        "{failed:?}"
    );
}
