//! A cluster whose etcd was restored from a backup: what the database knows of later wins, and nothing hangs.

use serde_json::json;

use crate::{
    api::ready,
    cluster::{Place, condition, is},
};

const DEFINITION: &str = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {name: web, namespace: NAMESPACE}\n\
    spec:\n  yamlDocument: old\n";

const NEW: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: new}}";

/// The definition with a ConfigMap of that name.
fn definition(name: &str) -> String {
    let document = format!("'{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}'");
    DEFINITION.replace("old", &document)
}

/// Applies it, and waits until the API has it.
async fn send(place: &Place, definition: &str) {
    place.apply(definition).unwrap();
    place
        .wait("sent", "tpwd", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
}

/// A resource at generation 1 whose object was taken from its generation 57, with another specification.
async fn behind(namespace: &str) -> Place {
    let place = Place::start(namespace).await;
    send(&place, &definition("old")).await;
    place.api.change("WorkloadDefinition", "web", |web| {
        web.spec = json!({"yamlDocument": NEW});
        web.metadata.generation = Some(9);
        web.metadata.source.as_mut().unwrap().generation = 57;
        web.status = ready(9);
    });
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_behind_the_database_gets_back_what_the_database_has() {
    let place = behind("restored-behind").await;
    let found = place
        .wait("restored", "tpwd", "web", |found| {
            found["spec"]["yamlDocument"] == NEW && is(found, "Ready", "True", "Healthy")
        })
        .await;
    let generation = found["metadata"]["generation"].as_i64();
    assert_eq!(condition(&found, "Ready").map(|ready| ready.2), generation);
    let object = place.api.get("WorkloadDefinition", "web").unwrap();
    assert_eq!(object.generation(), 9, "the database's state is what it was");
    assert_eq!(object.metadata.source.map(|source| source.generation), generation);

    // Edits and deletions count again.
    let edit = r#"{"spec": {"yamlDocument": "{apiVersion: v1, kind: ConfigMap, metadata: {name: edited}}"}}"#;
    place
        .run(&["patch", "tpwd", "web", "--type=merge", "-p", edit])
        .unwrap();
    place
        .until("the edit arrived", || {
            place
                .api
                .get("WorkloadDefinition", "web")
                .is_some_and(|web| web.spec.to_string().contains("edited"))
        })
        .await;
    place.run(&["delete", "tpwd", "web", "--timeout=30s"]).unwrap();
    assert!(place.api.get("WorkloadDefinition", "web").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_annotations_that_the_database_lacks_are_not_brought_back() {
    let place = Place::start("restored-labels").await;
    let metadata = "namespace: NAMESPACE, labels: {team: web, removed: x}, \
        annotations: {removed: x, threeport.io/own: x, kubectl.kubernetes.io/restartedAt: x}}";
    let labelled = definition("new").replace("namespace: NAMESPACE}", metadata);
    send(&place, &labelled).await;
    // The specification is the same: only they were removed since the backup.
    place.api.change("WorkloadDefinition", "web", |web| {
        web.metadata.labels.remove("removed").unwrap();
        web.metadata.annotations.remove("removed").unwrap();
        web.metadata.source.as_mut().unwrap().generation = 57;
    });
    let stored = || place.api.get("WorkloadDefinition", "web").unwrap().metadata;
    place
        .until("it counts anew", || stored().source.unwrap().generation < 57)
        .await;
    let found = place.get("tpwd", "web").unwrap();
    assert_eq!(
        (&found["metadata"]["labels"], &found["metadata"]["annotations"]),
        (
            &json!({"team": "web"}),
            &json!({"threeport.io/own": "x", "kubectl.kubernetes.io/restartedAt": "x"})
        ),
        "what the database never gets stays"
    );
    let stored = stored();
    assert_eq!(stored.labels, [("team".to_owned(), "web".to_owned())].into());
    assert!(stored.annotations.is_empty(), "{:?}", stored.annotations);
}

/// A condition that says so of generation 2.
fn said(status: &str, reason: &str) -> Option<(String, String, i64)> {
    Some((status.to_owned(), reason.to_owned(), 2))
}

/// A resource whose object was taken from its generation 2, and which got that number anew, by an edit after the restore.
async fn edited(namespace: &str, edit: &str) -> Place {
    let mut place = Place::start(namespace).await;
    send(&place, &definition("old")).await;
    place.stop_facade().await;
    place.api.change("WorkloadDefinition", "web", |web| {
        web.spec = json!({"yamlDocument": NEW});
        web.metadata.generation = Some(2);
        web.metadata.source.as_mut().unwrap().generation = 2;
        web.status = ready(2);
    });
    place
        .run(&["patch", "tpwd", "web", "--type=merge", "-p", edit])
        .unwrap();
    place.start_facade().await;
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_gets_the_number_of_a_later_state_arrives() {
    let edit = r#"{"spec": {"yamlDocument": "{apiVersion: v1, kind: ConfigMap, metadata: {name: edited}}"}}"#;
    let place = edited("restored-number", edit).await;
    place
        .wait("answered", "tpwd", "web", |found| {
            condition(found, "Synced") == said("True", "Synced")
        })
        .await;
    let stored = place.api.get("WorkloadDefinition", "web").unwrap();
    assert!(stored.spec.to_string().contains("edited"), "{}", stored.spec);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_gets_the_number_of_a_later_state_is_not_called_synced_where_it_is_refused() {
    let place = edited("restored-refused", r#"{"spec": {"yamlDocumentt": "x"}}"#).await;
    let found = place
        .wait("answered", "tpwd", "web", |found| {
            condition(found, "Synced") == said("False", "Invalid")
        })
        .await;
    assert!(found["status"]["api"]["syncedGeneration"].is_null(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_outlived_its_object_goes_and_brings_nothing_back() {
    let mut place = Place::start("restored-outlived").await;
    send(&place, &definition("old")).await;
    place.stop_facade().await;
    place.api.remove("WorkloadDefinition", "web");
    place.start_facade().await;
    place.wait_gone("tpwd", "web").await;
    assert!(place.api.get("WorkloadDefinition", "web").is_none());
    // One that is created anew is a new wish.
    send(&place, &definition("anew")).await;
}
