//! `/v1alpha1/{plural}[/{name}]`

use sea_orm::{ConnectionTrait, Database};
use serde_json::json;

use crate::harness::{ADMIN, Answer, Api, definition, instance, object};

const DEFINITIONS: &str = "/v1alpha1/workloaddefinitions";
const WEB: &str = "/v1alpha1/workloaddefinitions/web";

#[tokio::test]
async fn an_object_is_created_read_replaced_patched_and_deleted() {
    for api in Api::everywhere().await {
        let created = api
            .admin("POST", DEFINITIONS, definition("web", "1"))
            .await
            .expect(201);
        assert_eq!(created.header("location"), WEB);
        let read = api.admin("GET", WEB, None).await.expect(200);
        assert_eq!(read.json()["metadata"], created.json()["metadata"]);
        assert_eq!(read.header("etag"), created.header("etag"));
        assert_eq!(read.json()["metadata"]["generation"], 1);
        assert_eq!(read.json()["metadata"]["managedBy"], "api");

        let replaced = api.admin("PUT", WEB, definition("web", "2")).await.expect(200);
        assert_eq!(replaced.json()["metadata"]["generation"], 2);
        assert_ne!(replaced.header("etag"), created.header("etag"));

        let patch = json!({"metadata": {"labels": {"app": "shop"}}});
        let merge = [("content-type", "application/merge-patch+json")];
        let patched = api
            .send("PATCH", WEB, ADMIN, &merge, Some(patch))
            .await
            .expect(200);
        assert_eq!(patched.json()["metadata"]["labels"], json!({"app": "shop"}));
        assert_eq!(patched.json()["metadata"]["generation"], 2);
        let patch = json!({"metadata": {"labels": {"app": null}}});
        let patched = api
            .send("PATCH", WEB, ADMIN, &merge, Some(patch))
            .await
            .expect(200);
        assert_eq!(patched.json()["metadata"].get("labels"), None);

        api.admin("DELETE", WEB, None).await.expect(202);
        api.admin("GET", WEB, None).await.expect(404);
        api.admin("POST", DEFINITIONS, definition("web", "1"))
            .await
            .expect(201);
    }
}

#[tokio::test]
async fn the_same_name_twice_is_409() {
    let api = Api::new().await;
    api.admin("POST", DEFINITIONS, definition("web", "1"))
        .await
        .expect(201);
    let refused = api
        .admin("POST", DEFINITIONS, definition("web", "1"))
        .await
        .expect(409);
    assert_eq!(refused.json()["code"], "AlreadyExists");
}

#[tokio::test]
async fn fifty_creates_of_one_name_make_one() {
    for api in Api::everywhere().await {
        let creates = (0..50).map(|_| api.admin("POST", DEFINITIONS, definition("web", "1")));
        let answers = futures::future::join_all(creates).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![201], vec![409; 49]].concat());
    }
}

#[tokio::test]
async fn of_two_writers_with_one_etag_one_wins() {
    for api in Api::everywhere().await {
        let created = api
            .admin("POST", DEFINITIONS, definition("web", "1"))
            .await
            .expect(201);
        let headers = [("if-match", created.header("etag"))];
        let first = api.send("PUT", WEB, ADMIN, &headers, Some(definition("web", "2")));
        let second = api.send("PUT", WEB, ADMIN, &headers, Some(definition("web", "3")));
        let (first, second) = tokio::join!(first, second);
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412]);
        let wrong = [("if-match", "7")];
        api.send("PUT", WEB, ADMIN, &wrong, Some(definition("web", "4")))
            .await
            .expect(422);
    }
}

#[tokio::test]
async fn an_etag_is_of_one_object_and_not_of_another_that_has_its_name() {
    for api in Api::everywhere().await {
        let create = async || {
            api.admin("POST", DEFINITIONS, definition("web", "1"))
                .await
                .expect(201)
        };
        let gone = create().await;
        api.admin("DELETE", WEB, None).await.expect(202);
        let other = create().await;
        let version = |answer: &Answer| answer.json()["metadata"]["resourceVersion"].clone();
        assert_eq!(version(&gone), version(&other));
        assert_ne!(gone.header("etag"), other.header("etag"));
        let writes = async |etag: &str| {
            let tied = ("if-match", etag);
            let merge = [tied, ("content-type", "application/merge-patch+json")];
            let label = json!({"metadata": {"labels": {"app": "shop"}}});
            [
                api.send("PUT", WEB, ADMIN, &[tied], Some(definition("web", "2")))
                    .await,
                api.send("PATCH", WEB, ADMIN, &merge, Some(label)).await,
                api.send("DELETE", WEB, ADMIN, &[tied], None).await,
            ]
        };
        let former = format!("\"{}\"", version(&other));
        for etag in [gone.header("etag"), former.as_str()] {
            for refused in writes(etag).await {
                let problem = refused.expect(412).json();
                assert_eq!(problem["code"], "PreconditionFailed");
                assert!(
                    problem["next"].as_str().unwrap().starts_with("read it again"),
                    "{problem}"
                );
            }
        }
        let unchanged = api.admin("GET", WEB, None).await.expect(200);
        assert_eq!(unchanged.json()["metadata"], other.json()["metadata"]);
        let [put, patch, delete] = writes(other.header("etag")).await;
        assert_eq!((put.status, patch.status, delete.status), (200, 412, 412));
    }
}

#[tokio::test]
async fn a_patch_that_always_comes_too_late_is_a_conflict_and_no_broken_precondition() {
    let api = Api::new().await;
    let created = api
        .admin("POST", DEFINITIONS, definition("web", "1"))
        .await
        .expect(201);
    let merge = ("content-type", "application/merge-patch+json");
    let patch = async |headers: &[(&str, &str)]| {
        let patch = json!({"metadata": {"labels": {"app": "shop"}}});
        api.send("PATCH", WEB, ADMIN, headers, Some(patch)).await
    };
    // As if somebody changed the object after each read: every write's transaction begins with its operation.
    let database = Database::connect(&api.url).await.unwrap();
    let trigger = "CREATE TRIGGER overtaken AFTER INSERT ON operation BEGIN \
                   UPDATE object SET resource_version = resource_version + 1 WHERE name = 'web'; END";
    database.execute_unprepared(trigger).await.unwrap();
    let refused = patch(&[merge]).await.expect(409).json();
    assert_eq!(refused["code"], "Conflict");
    let next = refused["next"].as_str().unwrap();
    assert!(next.starts_with("send it again in a moment"), "{refused}");
    let refused = patch(&[merge, ("if-match", created.header("etag"))]).await;
    assert_eq!(refused.expect(412).json()["code"], "PreconditionFailed");

    database
        .execute_unprepared("DROP TRIGGER overtaken")
        .await
        .unwrap();
    let patched = patch(&[merge]).await.expect(200).json();
    assert_eq!(patched["metadata"]["labels"], json!({"app": "shop"}));
}

#[tokio::test]
async fn yaml_is_taken_and_what_was_printed_can_be_sent_back() {
    let api = Api::new().await;
    let text = "apiVersion: threeport.io/v1alpha1\nkind: KubernetesRuntimeDefinition\nmetadata:\n  name: a\n  \
                labels: {x: 'yes'}\n";
    let yaml = [("content-type", "application/yaml; charset=utf-8")];
    let path = "/v1alpha1/kubernetesruntimedefinitions";
    let created = api
        .raw("POST", path, ADMIN, &yaml, text.into())
        .await
        .expect(201)
        .json();
    let mut printed = created.clone();
    printed["metadata"]["uid"] = json!("from a cluster");
    printed["metadata"]["namespace"] = json!("threeport-system");
    printed["metadata"]["managedFields"] = json!([]);
    printed["metadata"]["labels"]["threeport.io/managed-by"] = json!("api");
    printed["status"] = json!({"api": {"anything": 1}});
    let again = api
        .admin("PUT", &format!("{path}/a"), printed)
        .await
        .expect(200)
        .json();
    assert_eq!(again["metadata"], created["metadata"]);
}

#[tokio::test]
async fn lists_go_page_by_page() {
    for api in Api::everywhere().await {
        for name in ["a", "b", "c"] {
            let mut body = definition(name, "1");
            body["metadata"]["labels"] = json!({"first": (name == "a").to_string()});
            api.admin("POST", DEFINITIONS, body).await.expect(201);
        }
        let page = api
            .admin("GET", &format!("{DEFINITIONS}?limit=2"), None)
            .await
            .expect(200)
            .json();
        let names = |page: &serde_json::Value| {
            let items = page["items"].as_array().unwrap();
            items
                .iter()
                .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&page), ["a", "b"]);
        let token = page["continue"].as_str().unwrap();
        let next = api
            .admin("GET", &format!("{DEFINITIONS}?limit=2&continue={token}"), None)
            .await
            .expect(200)
            .json();
        assert_eq!((names(&next), next.get("continue")), (vec!["c".to_owned()], None));
        let chosen = api
            .admin("GET", &format!("{DEFINITIONS}?labelSelector=first%3Dtrue"), None)
            .await
            .json();
        assert_eq!(names(&chosen), ["a"]);
        let chosen = api
            .admin(
                "GET",
                &format!("{DEFINITIONS}?fieldSelector=metadata.name%3Db"),
                None,
            )
            .await
            .json();
        assert_eq!(names(&chosen), ["b"]);
    }
}

#[tokio::test]
async fn what_is_referred_to_goes_only_in_a_cascade() {
    let api = Api::new().await;
    api.admin("POST", DEFINITIONS, definition("web", "1"))
        .await
        .expect(201);
    api.admin("POST", "/v1alpha1/workloadinstances", instance("web", "web"))
        .await
        .expect(201);
    let refused = api.admin("DELETE", WEB, None).await.expect(409).json();
    assert_eq!(
        (&refused["code"], &refused["referrers"]),
        (&json!("Referenced"), &json!(["WorkloadInstance/web"]))
    );
    api.admin("DELETE", &format!("{WEB}?propagation=cascade"), None)
        .await
        .expect(202);
    let going = api
        .admin("GET", "/v1alpha1/workloadinstances/web", None)
        .await
        .expect(200)
        .json();
    assert!(going["metadata"]["deletionRequestedAt"].is_string(), "{going}");
}

#[tokio::test]
async fn history_events_and_resources_are_read() {
    let api = Api::new().await;
    api.admin("POST", DEFINITIONS, definition("web", "1"))
        .await
        .expect(201);
    api.admin("PUT", WEB, definition("web", "2")).await.expect(200);
    let history = api
        .admin("GET", &format!("{WEB}/history"), None)
        .await
        .expect(200)
        .json();
    let generations: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|revision| revision["generation"].clone())
        .collect();
    assert_eq!(generations, [json!(2), json!(1)]);
    assert_eq!(history[0]["actor"], "admin");
    let newest = api
        .admin("GET", &format!("{WEB}/history?limit=1"), None)
        .await
        .expect(200);
    assert_eq!(newest.json(), json!([history[0]]));
    let token = newest.header("threeport-continue");
    let older = api
        .admin("GET", &format!("{WEB}/history?limit=9&continue={token}"), None)
        .await
        .expect(200);
    assert_eq!(older.json(), json!([history[1]]));
    assert_eq!(
        api.admin("GET", &format!("{WEB}/events"), None)
            .await
            .expect(200)
            .json(),
        json!([])
    );
    assert_eq!(
        api.admin("GET", &format!("{WEB}/resources"), None)
            .await
            .expect(200)
            .json(),
        json!([])
    );
    api.admin("GET", "/v1alpha1/workloaddefinitions/nobody/history", None)
        .await
        .expect(404);
}

#[tokio::test]
async fn a_status_is_written_by_who_may() {
    let api = Api::new().await;
    let created = api
        .admin("POST", DEFINITIONS, definition("web", "1"))
        .await
        .expect(201);
    let status = json!({"observedGeneration": 1, "status": {"observedGeneration": 1, "conditions": []}});
    let path = format!("{WEB}/status");
    let facade = crate::harness::FACADE;
    let written = api
        .send("PUT", &path, facade, &[], Some(status.clone()))
        .await
        .expect(200);
    assert_eq!(
        written.header("etag"),
        created.header("etag"),
        "status has a version of its own"
    );
    let controllers = crate::harness::CONTROLLERS;
    let refused = api
        .send("PUT", &path, controllers, &[], Some(status))
        .await
        .expect(422)
        .json();
    assert_eq!(refused["errors"][0]["field"], "if-epoch");
    let future = json!({"observedGeneration": 9, "status": {}});
    assert!(api.send("PUT", &path, facade, &[], Some(future)).await.status >= 400);
}

#[tokio::test]
async fn system_objects_are_not_changed() {
    let api = Api::new().await;
    let record = api
        .admin("GET", "/v1alpha1/controlplaneinstances/threeport", None)
        .await
        .expect(200)
        .json();
    assert_eq!(record["metadata"]["managedBy"], "system");
    api.admin("DELETE", "/v1alpha1/controlplaneinstances/threeport", None)
        .await
        .expect(409);
    let body = object(
        "KubernetesRuntimeInstance",
        "local",
        &json!({"definition": "local", "connection": {"inCluster": {}}}),
    );
    api.admin("PUT", "/v1alpha1/kubernetesruntimeinstances/local", body)
        .await
        .expect(409);
}
