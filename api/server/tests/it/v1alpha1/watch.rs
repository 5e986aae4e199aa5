//! `GET /v1alpha1/watch`

use std::time::Duration;

use futures::StreamExt;
use sea_orm::{ConnectionTrait, Database};
use serde_json::Value;

use crate::harness::{ADMIN, Api, definition, instance};

const DEADLINE: Duration = Duration::from_secs(10);

/// Events as they come: name, token, data.
struct Events {
    body: axum::body::BodyDataStream,
    text: String,
}

impl Events {
    async fn open(api: &Api, path: &str) -> Self {
        let response = api.open("GET", path, ADMIN, &[], Vec::new()).await;
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    async fn next(&mut self) -> (String, String, Value) {
        tokio::time::timeout(DEADLINE, async {
            loop {
                if let Some(end) = self.text.find("\n\n") {
                    let frame: String = self.text.drain(..end + 2).collect();
                    let field = |name: &str| {
                        let found = frame.lines().find_map(|line| line.strip_prefix(name));
                        found
                            .unwrap_or_default()
                            .trim_start_matches([':', ' '])
                            .to_owned()
                    };
                    if !field("data").is_empty() {
                        return (
                            field("event"),
                            field("id"),
                            serde_json::from_str(&field("data")).unwrap(),
                        );
                    }
                    continue;
                }
                let chunk = self.body.next().await.expect("the stream ended").unwrap();
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        })
        .await
        .expect("no event came")
    }

    /// The next event that is no bookmark.
    async fn change(&mut self) -> (String, String, Value) {
        loop {
            let event = self.next().await;
            if event.0 != "bookmark" {
                return event;
            }
        }
    }

    async fn ended(&mut self) -> bool {
        tokio::time::timeout(DEADLINE, async { while self.body.next().await.is_some() {} })
            .await
            .is_ok()
    }
}

#[tokio::test]
async fn changes_come_as_they_happen() {
    for api in Api::everywhere().await {
        let mut events =
            Events::open(&api, "/v1alpha1/watch?kinds=WorkloadDefinition,WorkloadInstance").await;
        api.admin("POST", "/v1alpha1/workloaddefinitions", definition("web", "1"))
            .await
            .expect(201);
        let (name, _, data) = events.change().await;
        assert_eq!(
            (name.as_str(), data["object"]["metadata"]["name"].as_str()),
            ("changed", Some("web"))
        );
        api.admin("DELETE", "/v1alpha1/workloaddefinitions/web", None)
            .await
            .expect(202);
        let (name, _, data) = events.change().await;
        assert_eq!(
            (name.as_str(), data["name"].as_str(), data["type"].as_str()),
            ("removed", Some("web"), Some("removed"))
        );
    }
}

/// What is kept for watchers is small; they get all of it nevertheless, as it happens and from the past.
#[tokio::test]
async fn a_large_object_comes_whole() {
    for api in Api::everywhere().await {
        let path = "/v1alpha1/watch?kinds=WorkloadDefinition";
        let mut events = Events::open(&api, path).await;
        let (_, token, _) = events.next().await;
        let value = "v".repeat(100 << 10);
        for (name, value) in [("large", value.as_str()), ("small", "v")] {
            let path = "/v1alpha1/workloaddefinitions";
            api.admin("POST", path, definition(name, value)).await.expect(201);
        }
        for mut events in [events, Events::open(&api, &format!("{path}&since={token}")).await] {
            for (name, value) in [("large", value.as_str()), ("small", "v")] {
                let (_, _, data) = events.change().await;
                let object = &data["object"];
                assert_eq!(object["metadata"]["name"], name);
                let found = object["spec"]["manifests"][0]["data"]["v"].as_str();
                assert!(found == Some(value), "{name} has another value");
            }
        }
    }
}

#[tokio::test]
async fn a_large_object_that_cannot_be_read_ends_no_watch() {
    let api = Api::new().await;
    let path = "/v1alpha1/watch?kinds=WorkloadDefinition";
    let (_, token, _) = Events::open(&api, path).await.next().await;
    let create = async |name: &str, value: &str| {
        let path = "/v1alpha1/workloaddefinitions";
        api.admin("POST", path, definition(name, value)).await.expect(201);
    };
    create("large", &"v".repeat(100 << 10)).await;
    create("small", "v").await;
    let database = Database::connect(&api.url).await.unwrap();
    let damage = "UPDATE object SET spec = '{' || spec WHERE name = 'large'";
    let damaged = database.execute_unprepared(damage).await.unwrap();
    assert_eq!(damaged.rows_affected(), 1);
    let item = "/v1alpha1/workloaddefinitions/large";
    api.admin("GET", item, None).await.expect(500);
    let mut events = Events::open(&api, &format!("{path}&since={token}")).await;
    assert_eq!(events.change().await.2["object"]["metadata"]["name"], "small");
    create("later", "v").await;
    while events.change().await.2["object"]["metadata"]["name"] != "later" {}
}

#[tokio::test]
async fn only_the_wanted_kinds_come() {
    let api = Api::new().await;
    let mut events = Events::open(&api, "/v1alpha1/watch?kinds=WorkloadInstance").await;
    api.admin("POST", "/v1alpha1/workloaddefinitions", definition("web", "1"))
        .await
        .expect(201);
    api.admin("POST", "/v1alpha1/workloadinstances", instance("web", "web"))
        .await
        .expect(201);
    let (_, _, data) = events.change().await;
    assert_eq!(data["object"]["kind"], "WorkloadInstance");
}

#[tokio::test]
async fn what_leaves_a_selector_is_sent_as_removed() {
    let api = Api::new().await;
    let labelled = |team: &str| {
        let mut object = definition("web", "1");
        object["metadata"]["labels"] = serde_json::json!({"team": team});
        object
    };
    let path = "/v1alpha1/watch?kinds=WorkloadDefinition&labelSelector=team%3Da&fieldSelector=metadata.managedBy%3Dapi";
    let mut events = Events::open(&api, path).await;
    let item = "/v1alpha1/workloaddefinitions/web";
    for (method, path, team, expected) in [
        ("POST", "/v1alpha1/workloaddefinitions", "a", "changed"),
        ("PUT", item, "b", "removed"),
        ("PUT", item, "a", "changed"),
    ] {
        assert!(api.admin(method, path, labelled(team)).await.status < 300);
        let (name, _, data) = events.change().await;
        let seen = data["name"]
            .as_str()
            .or_else(|| data["object"]["metadata"]["name"].as_str());
        assert_eq!((name.as_str(), seen), (expected, Some("web")), "{team}: {data}");
    }
    let refused = api
        .admin("GET", "/v1alpha1/watch?labelSelector=a%20b", None)
        .await;
    refused.expect(422);
}

#[tokio::test]
async fn a_watch_goes_on_from_its_token() {
    for api in Api::everywhere().await {
        let list = api
            .admin("GET", "/v1alpha1/workloaddefinitions", None)
            .await
            .json();
        let token = list["watchToken"].as_str().unwrap().to_owned();
        for name in ["a", "b"] {
            api.admin("POST", "/v1alpha1/workloaddefinitions", definition(name, "1"))
                .await
                .expect(201);
        }
        let mut events = Events::open(
            &api,
            &format!("/v1alpha1/watch?kinds=WorkloadDefinition&since={token}"),
        )
        .await;
        for name in ["a", "b"] {
            assert_eq!(events.change().await.2["object"]["metadata"]["name"], name);
        }
        let (name, token, _) = events.next().await;
        assert_eq!(name, "bookmark");
        api.admin("POST", "/v1alpha1/workloaddefinitions", definition("c", "1"))
            .await
            .expect(201);
        let mut events = Events::open(
            &api,
            &format!("/v1alpha1/watch?kinds=WorkloadDefinition&since={token}"),
        )
        .await;
        // At least once: the overlap repeats what is young.
        while events.change().await.2["object"]["metadata"]["name"] != "c" {}
    }
}

#[tokio::test]
async fn a_token_that_is_too_old_is_gone() {
    let api = Api::new().await;
    let list = api
        .admin("GET", "/v1alpha1/workloaddefinitions", None)
        .await
        .expect(200)
        .json();
    let token = list["watchToken"].as_str().unwrap().to_owned();
    let incarnation = token.split('-').next().unwrap();
    let ancient = format!("{incarnation}-1-{}", uuid::Uuid::nil().simple());
    let refused = api
        .admin("GET", &format!("/v1alpha1/watch?since={ancient}"), None)
        .await
        .expect(410)
        .json();
    assert_eq!(refused["code"], "Gone");
}

#[tokio::test]
async fn watches_are_bounded_and_end_with_the_process() {
    let api = Api::with(threeport_server::limits::Admission::new(1000, 512, 1)).await;
    let mut first = Events::open(&api, "/v1alpha1/watch").await;
    api.admin("GET", "/v1alpha1/watch", None).await.expect(503);
    api.shutdown.cancel();
    assert!(first.ended().await);
    assert!(
        api.admin("GET", "/metrics", None)
            .await
            .expect(200)
            .text
            .contains("threeport_watchers 0")
    );
}
