//! API -> custom resource.

use serde_json::json;
use threeport_model::kinds::event::{Event, EventType};

use crate::{
    api::{object, ready},
    cluster::{DEADLINE, Place, condition, is},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_mirrored_changed_and_removed_with_its_object() {
    let place = Place::start("mirror-basic").await;
    let mut web = object(
        "WorkloadInstance",
        "web",
        3,
        json!({"definition": "web", "suspend": false}),
    );
    web.metadata.labels = [("team".to_owned(), "web".to_owned())].into();
    web.status["resources"] = json!({"total": 2, "ready": 2, "failed": 0, "summary": "2/2"});
    place.api.set(web);
    let found = place
        .wait("mirrored", "tpwi", "web", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    assert_eq!(
        found["metadata"]["labels"],
        json!({"team": "web", "threeport.io/managed-by": "api"})
    );
    assert_eq!(found["spec"], json!({"definition": "web", "suspend": false}));
    assert_eq!(found["status"]["api"]["generation"], 3);
    assert_eq!(condition(&found, "Ready").unwrap().2, 1);
    assert_eq!(condition(&found, "Synced").unwrap().0, "True");
    let table = place.run(&["get", "tpwi"]).unwrap();
    assert!(table.contains("2/2") && table.contains("Healthy"), "{table}");

    place.api.change("WorkloadInstance", "web", |web| {
        web.spec["suspend"] = json!(true);
        web.metadata.labels.clear();
        web.metadata.generation = Some(4);
        web.status = ready(4);
    });
    let found = place
        .wait("changed", "tpwi", "web", |found| {
            found["status"]["api"]["generation"] == 4
        })
        .await;
    assert_eq!(found["spec"]["suspend"], true);
    assert_eq!(
        found["metadata"]["labels"],
        json!({"threeport.io/managed-by": "api"})
    );
    assert_eq!(
        condition(&found, "Ready").unwrap(),
        ("True".to_owned(), "Healthy".to_owned(), 2)
    );

    place.api.remove("WorkloadInstance", "web");
    place.wait_gone("tpwi", "web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_selected_is_mirrored_for_as_long_as_it_is_and_nothing_else() {
    let mut place = Place::prepare("mirror-selector").await;
    place.mirror_selector = "env in (a,b),!hidden".parse().unwrap();
    place.start_facade().await;
    for (name, env) in [("other", "c"), ("one", "a"), ("two", "b")] {
        let mut definition = object("WorkloadDefinition", name, 1, json!({"yamlDocument": name}));
        definition.metadata.labels = [("env".to_owned(), env.to_owned())].into();
        place.api.set(definition);
    }
    let mirrored = async |name: &str| {
        let shown = |found: &serde_json::Value| is(found, "Ready", "True", "Healthy");
        place.wait("mirrored", "tpwd", name, shown).await;
    };
    mirrored("one").await;
    mirrored("two").await;
    assert_eq!(place.get("tpwd", "other"), None);
    let label = |name: &str, key: &str, value: &str| {
        place.api.change("WorkloadDefinition", name, |definition| {
            definition
                .metadata
                .labels
                .insert(key.to_owned(), value.to_owned());
        });
    };
    label("one", "env", "c");
    label("two", "hidden", "");
    label("other", "env", "b");
    place.wait_gone("tpwd", "one").await;
    place.wait_gone("tpwd", "two").await;
    mirrored("other").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_measured_once_and_from_its_own_time() {
    let place = Place::start("mirror-lag").await;
    let mut web = object("WorkloadInstance", "web", 1, json!({"definition": "web"}));
    // The object is old; its status changes when it is set.
    web.metadata.updated_at = Some(jiff::Timestamp::UNIX_EPOCH);
    place.api.set(web);
    let ready = |found: &serde_json::Value| is(found, "Ready", "True", "Healthy");
    let first = place.wait("mirrored", "tpwi", "web", ready).await;
    let stage = "{kind=\"WorkloadInstance\",stage=\"mirrored\"}";
    let count = || {
        (
            place.sample("threeport_mirror_lag_seconds_count"),
            place.sample(&format!("threeport_stage_seconds_count{stage}")),
        )
    };
    place
        .until("it is measured", || count() == (Some(1.0), Some(1.0)))
        .await;
    // Made again, it shows nothing new. Nobody else may delete it.
    let facade = format!("--as=system:serviceaccount:{}:threeport-facade", place.namespace);
    place.run(&["delete", "tpwi", "web", &facade]).unwrap();
    place
        .wait("made again", "tpwi", "web", |found| {
            ready(found) && found["metadata"]["uid"] != first["metadata"]["uid"]
        })
        .await;
    place.api.change("WorkloadInstance", "web", |web| {
        web.status["resources"] = json!({"total": 1, "ready": 1, "failed": 0, "summary": "1/1"});
    });
    place
        .until("the change is measured", || count() == (Some(2.0), Some(2.0)))
        .await;
    let sum = place.sample("threeport_mirror_lag_seconds_sum").unwrap();
    assert!((0.0..DEADLINE.as_secs_f64()).contains(&sum), "{sum}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_object_of_the_same_name_gets_a_mirror_of_its_own() {
    let place = Place::start("mirror-anew").await;
    place.api.set(object(
        "WorkloadDefinition",
        "web",
        1,
        json!({"yamlDocument": "a"}),
    ));
    let first = place
        .wait("mirrored", "tpwd", "web", |found| {
            found["status"]["api"]["id"].is_string()
        })
        .await;
    place.api.set(object(
        "WorkloadDefinition",
        "web",
        1,
        json!({"yamlDocument": "a"}),
    ));
    let uid = first["metadata"]["uid"].clone();
    place
        .wait("made anew", "tpwd", "web", |found| {
            found["metadata"]["uid"] != uid && found["status"]["api"]["id"].is_string()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_document_is_mirrored_by_digest() {
    let place = Place::start("mirror-large").await;
    let text = format!("# {}", "x".repeat(2 << 20));
    place.api.set(object(
        "WorkloadDefinition",
        "large",
        1,
        json!({"yamlDocument": text}),
    ));
    let found = place
        .wait("mirrored", "tpwd", "large", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    assert!(
        found["spec"]["yamlDocument"]
            .as_str()
            .unwrap()
            .starts_with("threeport.io/document:sha256:"),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_writes_nothing_and_shows_what_changed_meanwhile() {
    let mut place = Place::start("mirror-restart").await;
    for name in ["a", "b"] {
        place.api.set(object(
            "WorkloadDefinition",
            name,
            5,
            json!({"yamlDocument": name}),
        ));
        place
            .wait("mirrored", "tpwd", name, |found| {
                is(found, "Ready", "True", "Healthy")
            })
            .await;
    }
    place.stop_facade().await;
    let before = place.get("tpwd", "a").unwrap();
    place.start_facade().await;
    place.stop_facade().await;
    let restart = place.writes_since_start();
    assert!(
        restart[0] > 0 && restart[1] == 0,
        "writes of the first facade and of the second: {restart:?}"
    );
    place.api.remove("WorkloadDefinition", "b");
    place
        .api
        .set(object("WorkloadDefinition", "c", 1, json!({"yamlDocument": "c"})));
    place.start_facade().await;
    place.wait_gone("tpwd", "b").await;
    place
        .wait("mirrored", "tpwd", "c", |found| {
            is(found, "Ready", "True", "Healthy")
        })
        .await;
    assert_eq!(
        place.get("tpwd", "a").unwrap(),
        before,
        "a restart changes nothing, not even a resourceVersion"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_told_as_kubernetes_events() {
    let place = Place::start("mirror-events").await;
    let now = jiff::Timestamp::now();
    let web = object("WorkloadInstance", "web", 1, json!({"definition": "web"}));
    *place.api.happened.lock().unwrap() = vec![Event {
        id: uuid::Uuid::new_v4(),
        object_id: web.id(),
        object_kind: web.kind.clone(),
        object_name: "web".to_owned(),
        kind: EventType::Warning,
        reason: "ImagePullFailed".to_owned(),
        message: "could not pull r.example/x:1".to_owned(),
        count: 3,
        first_seen: now,
        last_seen: now,
    }];
    place.api.set(web);
    place
        .until("told", || {
            let told = place.run(&["describe", "tpwi", "web"]).unwrap_or_default();
            told.contains("ImagePullFailed") && told.contains("could not pull r.example/x:1")
        })
        .await;
}
