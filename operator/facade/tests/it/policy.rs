//! The admission policy, in the API server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    api::{object, ready},
    cluster::{DEADLINE, Place, is, own},
};

/// The refusal; the policy is in force a moment after it was made.
async fn refused(place: &Place, arguments: &[&str]) -> String {
    until_refused(&format!("kubectl {arguments:?}"), || {
        place.run(arguments).map(drop)
    })
    .await
}

/// The same of documents.
async fn not_applied(place: &Place, documents: &str) -> String {
    until_refused(documents, || place.kubectl.apply(documents)).await
}

async fn until_refused(what: &str, ask: impl Fn() -> anyhow::Result<()>) -> String {
    let started = Instant::now();
    loop {
        if let Err(error) = ask() {
            return format!("{error:#}");
        }
        assert!(started.elapsed() < DEADLINE, "it was not refused: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_operator_writes_a_mirror() {
    let place = Place::start("policy-mirror").await;
    place
        .api
        .set(object("WorkloadInstance", "web", 1, json!({"definition": "web"})));
    place
        .wait("mirrored", "tpwi", "web", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    let edit = refused(&place, &["annotate", "tpwi", "web", "a=b", "--overwrite"]).await;
    assert!(
        edit.contains("owned by the Threeport API") && edit.contains("tptctl apply -f FILE"),
        "{edit}"
    );
    let delete = refused(&place, &["delete", "tpwi", "web"]).await;
    assert!(delete.contains("tptctl delete workloadinstances web"), "{delete}");
    let all = refused(&place, &["delete", "tpwi", "--all"]).await;
    assert!(all.contains("owned by the Threeport API"), "{all}");
    let status = [
        "patch",
        "tpwi",
        "web",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"runtime":"x"}}"#,
    ];
    assert!(
        refused(&place, &status)
            .await
            .contains("owned by the Threeport API")
    );
    let unlabel = ["label", "tpwi", "web", "threeport.io/managed-by-"];
    assert!(
        refused(&place, &unlabel)
            .await
            .contains("owned by the Threeport API")
    );
    // The operator itself goes on.
    place.api.change("WorkloadInstance", "web", |web| {
        web.metadata.generation = Some(2);
        web.spec["suspend"] = json!(true);
        web.status = ready(2);
    });
    place
        .wait("changed", "tpwi", "web", |found| {
            found["status"]["api"]["generation"] == 2
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_marks_mirrors_and_only_served_namespaces_hold_resources() {
    let place = Place::start("policy-label").await;
    let other = Place::start("policy-other").await;
    let document = |namespace: &str, labels: &str| {
        format!(
            "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {{name: mine, namespace: {namespace}, labels: {labels}}}\n\
             spec: {{manifests: [{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}}}]}}\n"
        )
    };
    let labelled = document("policy-label", "{threeport.io/managed-by: api}");
    let labelled = not_applied(&place, &labelled).await;
    assert!(
        labelled.contains("only the control plane's operator may set it"),
        "{labelled}"
    );
    let unserved = not_applied(&place, &document("default", "{}")).await;
    assert!(
        unserved.contains("no Threeport control plane serves namespace default"),
        "{unserved}"
    );

    // An operator is one only in its own namespace.
    place.api.set(object(
        "WorkloadDefinition",
        "web",
        1,
        json!({"yamlDocument": "a"}),
    ));
    place
        .wait("mirrored", "tpwd", "web", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    let stranger = format!("--as=system:serviceaccount:{}:threeport-facade", other.namespace);
    let error = refused(
        &place,
        &[
            "annotate",
            "tpwd",
            "web",
            "a=b",
            &stranger,
            "--as-group=system:masters",
        ],
    )
    .await;
    assert!(error.contains("owned by the Threeport API"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_control_planes_share_a_cluster_without_crosstalk() {
    let (one, two) = (Place::start("policy-one").await, Place::start("policy-two").await);
    one.api.set(object(
        "WorkloadDefinition",
        "web",
        1,
        json!({"yamlDocument": "one"}),
    ));
    two.api.set(object(
        "WorkloadDefinition",
        "web",
        9,
        json!({"yamlDocument": "two"}),
    ));
    for (place, text) in [(&one, "one"), (&two, "two")] {
        let found = place
            .wait("mirrored", "tpwd", "web", |found| {
                is(found, "Ready", "True", "Healthy")
            })
            .await;
        assert_eq!(found["spec"]["yamlDocument"], text);
    }
    two.api.remove("WorkloadDefinition", "web");
    two.wait_gone("tpwd", "web").await;
    assert!(one.get("tpwd", "web").is_some());
}

/// As it does to whoever keeps the namespace's labels elsewhere and applies them: nothing could be created in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_loses_its_mark_is_marked_anew() {
    const NAME: &str = "policy-unmarked";
    let place = Place::start(NAME).await;
    for (change, mark) in [
        ("label", "threeport.io/control-plane-namespace-"),
        ("annotate", "threeport.io/facade-user-"),
    ] {
        place.kubectl.run(&[change, "namespace", NAME, mark]).unwrap();
    }
    place
        .until("it is marked again", || {
            let text = place.kubectl.run(&["get", "namespace", NAME, "-o", "json"]);
            let found: Value = serde_json::from_str(&text.unwrap()).unwrap();
            let metadata = &found["metadata"];
            metadata["labels"]["threeport.io/control-plane-namespace"] == "true"
                && metadata["annotations"]["threeport.io/facade-user"]
                    == "system:serviceaccount:policy-unmarked:threeport-facade"
        })
        .await;
}

/// In a cluster of its own: without the policy nobody is refused in any namespace.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_somebody_deleted_is_made_anew() {
    const BOTH: &str = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    const NAME: &str = "custom-resources.threeport.io";
    let cluster = tokio::task::spawn_blocking(own).await.unwrap();
    let mut place = Place::prepare_in(cluster.files(), "policy-deleted").await;
    place.list_interval = Duration::from_secs(1);
    place.start_facade().await;
    place.kubectl.run(&["delete", BOTH, NAME]).unwrap();
    place
        .until("both are there again", || {
            place.kubectl.run(&["get", BOTH, NAME]).is_ok()
        })
        .await;
}
