//! What is taken for a wish to delete, and what is not.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::{
    api::object,
    cluster::{Place, condition, is, own},
};

const DEFINITION: &str = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {name: web, namespace: NAMESPACE}\n\
    spec:\n  yamlDocument: |\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: settings}\n";
const INSTANCE: &str = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadInstance\nmetadata: {name: web, namespace: NAMESPACE}\nspec: {definition: web}\n";
/// The facade's Deployment, stopped, and a pod of it.
const FACADE: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: threeport-facade, namespace: NAMESPACE}\n\
    spec:\n  replicas: 0\n  selector: {matchLabels: {app: facade}}\n  template:\n    metadata: {labels: {app: facade}}\n    \
    spec: {containers: [{name: facade, image: none}]}\n---\n\
    apiVersion: v1\nkind: Pod\nmetadata: {name: evicted, namespace: NAMESPACE, labels: {app: facade}}\n\
    spec: {serviceAccountName: threeport-facade, automountServiceAccountToken: false, containers: [{name: facade, image: none}]}\n";

async fn both(place: &Place) {
    place.apply(DEFINITION).unwrap();
    place.apply(INSTANCE).unwrap();
    for kind in ["tpwd", "tpwi"] {
        place
            .wait("sent", kind, "web", |found| is(found, "Synced", "True", "Synced"))
            .await;
    }
}

fn deletions(place: &Place) -> usize {
    place
        .api
        .writes
        .lock()
        .unwrap()
        .iter()
        .filter(|write| write.starts_with("DELETE"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_in_the_wrong_order_names_its_blocker_and_ends_by_itself() {
    let place = Place::start("deletion-order").await;
    both(&place).await;
    place.run(&["delete", "tpwd", "web", "--wait=false"]).unwrap();
    let found = place
        .wait("blocked", "tpwd", "web", |found| {
            is(found, "DeletionBlocked", "True", "Referenced")
        })
        .await;
    assert!(
        found["status"].to_string().contains("WorkloadInstance/web"),
        "{found}"
    );
    let instance = place.api.get("WorkloadInstance", "web").unwrap();
    assert!(!instance.is_deleting(), "what refers to it is left alone");
    place.run(&["delete", "tpwi", "web", "--wait=false"]).unwrap();
    place
        .until("the object is being deleted", || {
            place
                .api
                .get("WorkloadInstance", "web")
                .is_some_and(|object| object.is_deleting())
        })
        .await;
    assert!(
        place.get("tpwi", "web").is_some(),
        "it stays until what it made is gone"
    );
    place.api.remove("WorkloadInstance", "web");
    place.wait_gone("tpwi", "web").await;
    place.wait_gone("tpwd", "web").await;
    assert!(place.api.get("WorkloadDefinition", "web").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_says_that_it_waits_for_the_api_until_that_is_back() {
    let place = Place::start("deletion-outage").await;
    both(&place).await;
    place.api.outage.store(true, Ordering::Relaxed);
    place.run(&["delete", "tpwi", "web", "--wait=false"]).unwrap();
    let found = place
        .wait("said", "tpwi", "web", |found| {
            is(found, "DeletionBlocked", "True", "ApiUnavailable")
        })
        .await;
    assert!(
        found["status"].to_string().contains("the database is away")
            && is(&found, "Synced", "True", "Synced"),
        "{found}"
    );
    place.api.outage.store(false, Ordering::Relaxed);
    place
        .wait("it goes on", "tpwi", "web", |found| {
            condition(found, "DeletionBlocked").is_none()
        })
        .await;
    place.api.remove("WorkloadInstance", "web");
    place.wait_gone("tpwi", "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_vanished_is_made_again() {
    let mut place = Place::start("deletion-vanished").await;
    both(&place).await;
    place.stop_facade().await;
    place
        .run(&[
            "patch",
            "tpwi",
            "web",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .unwrap();
    place.run(&["delete", "tpwi", "web"]).unwrap();
    place.start_facade().await;
    let found = place
        .wait("made again", "tpwi", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
    assert!(
        found["metadata"]["labels"]["threeport.io/managed-by"].is_null(),
        "it is still Kubernetes' to edit"
    );
    let object = place.api.get("WorkloadInstance", "web").unwrap();
    assert_eq!(
        object.metadata.source.unwrap().uid,
        found["metadata"]["uid"].as_str().unwrap()
    );
    assert_eq!(deletions(&place), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_the_namespace_deletes_no_object() {
    let place = Place::start("deletion-namespace").await;
    both(&place).await;
    place
        .kubectl
        .run(&["delete", "namespace", &place.namespace, "--timeout=60s"])
        .unwrap();
    assert_eq!(deletions(&place), 0);
    assert!(!place.api.get("WorkloadInstance", "web").unwrap().is_deleting());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facade_that_ends_in_a_terminating_namespace_lets_go() {
    let mut place = Place::start("deletion-sigterm").await;
    both(&place).await;
    // Something else holds the namespace, so that it stays Terminating.
    place.run(&["create", "configmap", "holder"]).unwrap();
    place
        .run(&[
            "patch",
            "configmap",
            "holder",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":["test.example/hold"]}}"#,
        ])
        .unwrap();
    place
        .kubectl
        .run(&["delete", "namespace", &place.namespace, "--wait=false"])
        .unwrap();
    place.stop_facade().await;
    for kind in ["tpwd", "tpwi"] {
        place.wait_gone(kind, "web").await;
    }
    assert_eq!(deletions(&place), 0);
    place
        .run(&[
            "patch",
            "configmap",
            "holder",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_the_definitions_loses_nothing_and_they_are_made_anew() {
    let cluster = tokio::task::spawn_blocking(own).await.unwrap();
    let place = Place::start_in(&cluster, "deletion-crd").await;
    both(&place).await;
    let before = place.get("tpwi", "web").unwrap();
    // One waits for the end of what it made, and for ever.
    place
        .apply(&INSTANCE.replace("name: web,", "name: stuck,"))
        .unwrap();
    place
        .wait("sent", "tpwi", "stuck", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
    place.run(&["delete", "tpwi", "stuck", "--wait=false"]).unwrap();
    let is_going = || {
        let object = place.api.get("WorkloadInstance", "stuck").unwrap();
        object.is_deleting()
    };
    place.until("its object is being deleted", is_going).await;
    let asked = deletions(&place);
    let crd = "workloadinstances.threeport.io";
    let mut command = place.kubectl.command();
    let delete = ["delete", "crd", crd, "workloaddefinitions.threeport.io"];
    command.args(delete).arg("--timeout=60s");
    let mut deletion = command.spawn().unwrap();
    place
        .until("the definition is being deleted", || {
            let at = "jsonpath={.metadata.deletionTimestamp}";
            let found = place.kubectl.run(&["get", "crd", crd, "-o", at]);
            found.is_ok_and(|at| !at.is_empty())
        })
        .await;
    // It is looked at again in any case, but up to a minute later.
    place.api.change("WorkloadInstance", "stuck", |_| {});
    let ended = tokio::task::spawn_blocking(move || deletion.wait()).await;
    assert!(ended.unwrap().unwrap().success(), "it waits for what is stuck");
    for kind in ["tpwd", "tpwi"] {
        let found = place
            .wait("made again", kind, "web", |found| {
                is(found, "Synced", "True", "Synced")
            })
            .await;
        assert_ne!(found["metadata"]["uid"], before["metadata"]["uid"]);
    }
    assert_eq!(deletions(&place), asked);
    assert!(is_going(), "its deletion goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn stripping_by_hand_lets_a_namespace_go_without_a_facade() {
    let mut place = Place::start("deletion-strip").await;
    both(&place).await;
    place.stop_facade().await;
    let kube = place.client().await;
    threeport_facade::strip_finalizers(&kube, &place.namespace, Some("threeport-facade"))
        .await
        .unwrap();
    threeport_facade::strip_finalizers(&kube, &place.namespace, None)
        .await
        .unwrap();
    place
        .kubectl
        .run(&["delete", "namespace", &place.namespace, "--timeout=60s"])
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_pod_of_the_facade_is_not_waited_for() {
    let place = Place::prepare("deletion-evicted").await;
    place.apply(FACADE).unwrap();
    let evict = r#"{"status":{"phase":"Failed","reason":"Evicted"}}"#;
    place
        .run(&[
            "patch",
            "pod",
            "evicted",
            "--subresource=status",
            "--type=merge",
            "-p",
            evict,
        ])
        .unwrap();
    let kube = place.client().await;
    threeport_facade::strip_finalizers(&kube, &place.namespace, Some("threeport-facade"))
        .await
        .unwrap();
    let pods = place.run(&["get", "pods", "-o", "name"]).unwrap();
    assert!(pods.contains("pod/evicted"), "positive control: {pods}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_control_plane_leaves_neither_mirror_nor_mark_and_a_new_one_brings_both_back() {
    let mut place = Place::start("deletion-uninstall").await;
    both(&place).await;
    let shown = object("WorkloadDefinition", "shown", 1, json!({"yamlDocument": "a"}));
    place.api.set(shown);
    place
        .wait("mirrored", "tpwd", "shown", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    let is_served = |place: &Place| {
        let labels = "jsonpath={.metadata.labels}";
        let found = ["get", "namespace", &place.namespace, "-o", labels];
        let found = place.kubectl.run(&found).unwrap();
        found.contains("threeport.io/control-plane-namespace")
    };
    let is_held = |place: &Place| {
        let found = place.get("tpwi", "web").unwrap();
        found["metadata"]["finalizers"].is_array()
    };
    assert!(is_served(&place) && is_held(&place), "positive control");

    place.stop_facade().await;
    let kube = place.client().await;
    threeport_facade::strip_finalizers(&kube, &place.namespace, Some("threeport-facade"))
        .await
        .unwrap();
    let left = place.run(&["get", "tpwd,tpwi", "-o", "name"]).unwrap();
    assert_eq!(
        left.lines().collect::<Vec<_>>(),
        [
            "workloaddefinition.threeport.io/web",
            "workloadinstance.threeport.io/web"
        ]
    );
    assert!(!is_held(&place), "it is held by nobody that is left");
    assert!(!is_served(&place), "new resources are taken that nobody reads");

    place.start_facade().await;
    assert!(is_served(&place));
    place
        .wait("mirrored again", "tpwd", "shown", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    place.until("it is held again", || is_held(&place)).await;
    assert_eq!(deletions(&place), 0);
}
