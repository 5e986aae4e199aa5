//! Custom resource -> API.

use serde_json::json;
use threeport_model::ManagedBy;

use crate::{
    api::{object, ready},
    cluster::{Place, condition, is},
};

const DEFINITION: &str = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {name: web, namespace: NAMESPACE, labels: {team: web}}\n\
    spec:\n  yamlDocument: |\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: settings}\n";
const INSTANCE: &str = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadInstance\nmetadata: {name: web, namespace: NAMESPACE}\nspec: {definition: web}\n";

#[tokio::test(flavor = "multi_thread")]
async fn documents_in_the_wrong_order_end_up_in_the_api() {
    let place = Place::start("intake-order").await;
    place.apply(INSTANCE).unwrap();
    let found = place
        .wait("waiting", "tpwi", "web", |found| {
            is(found, "Synced", "False", "WaitingForReference")
        })
        .await;
    assert!(is(&found, "Ready", "False", "WaitingForReference"), "{found}");
    assert!(
        found["metadata"]["finalizers"]
            .to_string()
            .contains("threeport.io/deletion"),
        "held before it is sent"
    );
    place.apply(DEFINITION).unwrap();
    let found = place
        .wait("sent", "tpwi", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
    let object = place.api.get("WorkloadInstance", "web").unwrap();
    assert_eq!(object.metadata.managed_by, Some(ManagedBy::Kubernetes));
    assert_eq!(
        found["spec"],
        json!({"definition": "web"}),
        "it stays as its author wrote it"
    );
    assert_eq!(found["status"]["api"]["managedBy"], "kubernetes");
    let definition = place.api.get("WorkloadDefinition", "web").unwrap();
    assert_eq!(
        definition.metadata.labels,
        [("team".to_owned(), "web".to_owned())].into()
    );

    place.api.change("WorkloadInstance", "web", |web| {
        web.status = ready(web.generation());
    });
    let mut wait = place.kubectl_wait("workloadinstance", "web");
    assert!(
        tokio::task::spawn_blocking(move || wait.wait())
            .await
            .unwrap()
            .unwrap()
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_refuses_is_seen_with_field_and_line_and_mended_by_an_edit() {
    let place = Place::start("intake-refused").await;
    place
        .apply(&INSTANCE.replace("{definition: web}", "{definition: web, runtyme: x}"))
        .unwrap();
    let found = place
        .wait("refused", "tpwi", "web", |found| {
            is(found, "Synced", "False", "Invalid")
        })
        .await;
    assert!(found["status"].to_string().contains("runtyme"), "{found}");
    assert!(
        is(&found, "Stalled", "True", "Invalid") && is(&found, "Ready", "False", "Invalid"),
        "{found}"
    );
    place
        .until("a Warning event", || {
            let events = place.run(&["get", "events", "-o", "json"]).unwrap_or_default();
            events.contains("\"Warning\"") && events.contains("runtyme")
        })
        .await;

    let broken = DEFINITION.replace("kind: ConfigMap\n", "kind: ConfigMap\n    kind: ConfigMap\n");
    place.apply(&broken).unwrap();
    let found = place
        .wait("refused", "tpwd", "web", |found| {
            is(found, "Synced", "False", "Invalid")
        })
        .await;
    let message = found["status"].to_string();
    assert!(
        message.contains("spec.yamlDocument") && message.contains("line 3"),
        "{message}"
    );

    place.apply(DEFINITION).unwrap();
    place.apply(INSTANCE).unwrap();
    let patch = r#"{"spec":{"runtyme":null}}"#;
    place
        .run(&["patch", "tpwi", "web", "--type=merge", "-p", patch])
        .unwrap();
    let found = place
        .wait("mended", "tpwi", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
    assert!(condition(&found, "Stalled").is_none(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_api_owns_is_refused_and_its_object_untouched() {
    let mut place = Place::start("intake-owned").await;
    place.stop_facade().await;
    place.apply(DEFINITION).unwrap();
    place.api.set(object(
        "WorkloadDefinition",
        "web",
        4,
        json!({"yamlDocument": "mine"}),
    ));
    place.start_facade().await;
    place
        .wait("refused", "tpwd", "web", |found| {
            is(found, "Synced", "False", "OwnedBy")
        })
        .await;
    assert_eq!(
        place.api.get("WorkloadDefinition", "web").unwrap().spec,
        json!({"yamlDocument": "mine"})
    );
    place.run(&["delete", "tpwd", "web", "--timeout=20s"]).unwrap();
    let mirror = place
        .wait("mirrored", "tpwd", "web", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    assert_eq!(mirror["metadata"]["labels"]["threeport.io/managed-by"], "api");
    assert!(
        place
            .api
            .writes
            .lock()
            .unwrap()
            .iter()
            .all(|write| !write.starts_with("DELETE"))
    );
    let times = place.written("workloaddefinitions", "web");
    let at = |verb: &str| times.iter().rfind(|write| write.0 == verb).unwrap().1;
    let free = at("create").duration_since(at("patch"));
    assert!(
        free >= jiff::SignedDuration::from_millis(900),
        "`kubectl delete` may take the new one for the old: {free}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_over_by_the_api_becomes_a_mirror() {
    let place = Place::start("intake-takeover").await;
    place.apply(DEFINITION).unwrap();
    place
        .wait("sent", "tpwd", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
    place.api.change("WorkloadDefinition", "web", |web| {
        web.metadata.managed_by = Some(ManagedBy::Api);
        web.metadata.source = None;
    });
    let found = place
        .wait("a mirror", "tpwd", "web", |found| {
            found["metadata"]["labels"]["threeport.io/managed-by"] == "api"
        })
        .await;
    assert!(
        found["metadata"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{found}"
    );
    assert!(place.run(&["annotate", "tpwd", "web", "a=b"]).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_a_take_over_forestalled_is_refused_and_stays() {
    let mut place = Place::start("intake-forestalled").await;
    place.apply(DEFINITION).unwrap();
    place
        .wait("sent", "tpwd", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
    place.stop_facade().await;
    place.api.change("WorkloadDefinition", "web", |web| {
        web.metadata.managed_by = Some(ManagedBy::Api);
        web.metadata.source = None;
    });
    let edit = r#"{"spec": {"yamlDocument": "{apiVersion: v1, kind: ConfigMap, metadata: {name: edited}}"}}"#;
    place
        .run(&["patch", "tpwd", "web", "--type=merge", "-p", edit])
        .unwrap();
    place.start_facade().await;
    let found = place
        .wait("refused", "tpwd", "web", |found| {
            is(found, "Synced", "False", "OwnedBy")
        })
        .await;
    assert!(
        is(&found, "Ready", "False", "OwnedBy") && found["spec"].to_string().contains("edited"),
        "{found}"
    );
    let stored = place.api.get("WorkloadDefinition", "web").unwrap();
    assert!(!stored.spec.to_string().contains("edited"), "the API owns it");

    // Who gives the edit up gets the mirror.
    place.run(&["delete", "tpwd", "web", "--timeout=20s"]).unwrap();
    let mirror = place
        .wait("a mirror", "tpwd", "web", |found| {
            found["metadata"]["labels"]["threeport.io/managed-by"] == "api"
        })
        .await;
    assert!(mirror["spec"].to_string().contains("settings"), "{mirror}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_a_resource_are_warned_about() {
    let place = Place::start("intake-secret").await;
    let secret = DEFINITION.replace(
        "kind: ConfigMap",
        "kind: Secret\n    stringData: {password: hidden}",
    );
    place.apply(&secret).unwrap();
    let found = place
        .wait("sent", "tpwd", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
    let status = found["status"].to_string();
    assert!(
        status.contains("warning: the values of Secret") && !status.contains("hidden"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_api_is_said_and_ends_by_itself() {
    let place = Place::start("intake-outage").await;
    place.api.outage.store(true, std::sync::atomic::Ordering::Relaxed);
    place.apply(DEFINITION).unwrap();
    let found = place
        .wait("said", "tpwd", "web", |found| {
            is(found, "Synced", "Unknown", "ApiUnavailable")
        })
        .await;
    assert!(
        found["status"].to_string().contains("the database is away"),
        "{found}"
    );
    place
        .api
        .outage
        .store(false, std::sync::atomic::Ordering::Relaxed);
    place
        .wait("sent", "tpwd", "web", |found| {
            is(found, "Synced", "True", "Synced")
        })
        .await;
}
