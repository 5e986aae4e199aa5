//! A facade that may only read what control planes share: it starts where that is new enough, and else says what to run.

use std::process::Command;

use threeport_testbed::{paths::project, process::output};

use crate::cluster::{Place, own};

/// Of its rights in the whole cluster (`rights.yaml`) those to write definitions and policy are taken.
const ONLY_READ: &str = r#"[
    {"op": "test", "path": "/rules/1/verbs", "value": ["create"]},
    {"op": "replace", "path": "/rules/1/verbs", "value": ["get"]},
    {"op": "test", "path": "/rules/2/resources", "value": ["customresourcedefinitions"]},
    {"op": "replace", "path": "/rules/2/verbs", "value": ["get", "list", "watch"]},
    {"op": "test", "path": "/rules/3/verbs", "value": ["create"]},
    {"op": "replace", "path": "/rules/3/verbs", "value": ["get"]},
    {"op": "replace", "path": "/rules/4/verbs", "value": ["get"]}
]"#;
const DEFINITION: &str = "workloadinstances.threeport.io";

/// Runs what the facade says, as an administrator does it in the source tree.
fn do_as_told(place: &Place, said: &str) {
    let (_, told) = said.split_once("run: ").unwrap();
    let kubectl = place.kubectl.command();
    let script = format!(
        "kubectl() {{ '{}' \"$@\"; }}\n{told}",
        kubectl.get_program().display()
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script])
        .env("KUBECONFIG", place.kubeconfig())
        .current_dir(project());
    output(&mut shell).unwrap();
}

fn say_version(place: &Place, version: &str) {
    let annotation = format!("threeport.io/definition-version={version}");
    place
        .kubectl
        .run(&["annotate", "--overwrite", "crd", DEFINITION, &annotation])
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_what_is_shared_says_what_to_run_and_that_helps() {
    let cluster = tokio::task::spawn_blocking(own).await.unwrap();
    let mut place = Place::prepare_in(cluster.files(), "rights-shared").await;
    let account = format!("--as=system:serviceaccount:{}:threeport-facade", place.namespace);
    let asks = ["auth", "can-i", "create", "customresourcedefinitions", &account];
    // No is answered by failing.
    let may = || place.kubectl.run(&asks).is_ok();
    place.until("it has the right", may).await;
    let role = format!("{}.threeport-facade", place.namespace);
    place
        .kubectl
        .run(&["patch", "clusterrole", &role, "--type=json", "-p", ONLY_READ])
        .unwrap();
    place.until("the right is gone", || !may()).await;

    for (what, kind) in [
        ("custom resource definitions", "CustomResourceDefinition"),
        ("admission policy", "ValidatingAdmissionPolicy"),
    ] {
        let said = place.start_in_vain().await;
        assert!(
            said.starts_with(&format!("failed to install the {what}: {kind} "))
                && said.contains(
                    " is missing or too old, and the operator may not write it; run: kubectl apply "
                ),
            "{said}"
        );
        do_as_told(&place, &said);
    }
    // As it is, and beside what a later operator wrote.
    for version in [None, Some("99.0.0")] {
        if let Some(version) = version {
            say_version(&place, version);
        }
        place.start_facade().await;
        place.stop_facade().await;
    }

    say_version(&place, "0.0.1");
    let said = place.start_in_vain().await;
    assert!(
        said.contains(&format!(
            "CustomResourceDefinition {DEFINITION} is missing or too old"
        )),
        "{said}"
    );
    do_as_told(&place, &said);
    place.start_facade().await;
    place.stop_facade().await;
}
