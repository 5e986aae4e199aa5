//! The same request with the same key happens once.

use serde_json::json;

use crate::harness::{ADMIN, Api, FACADE, definition};

const PATH: &str = "/v1alpha1/workloaddefinitions";
const REPLAYED: &str = "idempotency-replayed";

#[tokio::test]
async fn a_repetition_gets_the_first_answer() {
    for api in Api::everywhere().await {
        let key = [("idempotency-key", "k1")];
        let first = api
            .send("POST", PATH, ADMIN, &key, Some(definition("web", "1")))
            .await
            .expect(201);
        let again = api
            .send("POST", PATH, ADMIN, &key, Some(definition("web", "1")))
            .await
            .expect(201);
        assert_eq!(first.json()["metadata"]["id"], again.json()["metadata"]["id"]);
        assert_eq!((first.header(REPLAYED), again.header(REPLAYED)), ("", "true"));
        let operations = api.admin("GET", "/v1alpha1/operations", None).await.json();
        let creates = operations
            .as_array()
            .unwrap()
            .iter()
            .filter(|operation| operation["actor"] == "admin");
        assert_eq!(creates.count(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_was_kept_says_so() {
    let api = Api::new().await;
    let item = format!("{PATH}/web");
    let take_over = format!("{item}/takeover");
    let merge = ("content-type", "application/merge-patch+json");
    let plain = ("content-type", "application/json");
    let label = json!({"metadata": {"labels": {"app": "shop"}}});
    for (method, path, media, body) in [
        ("POST", "/v1alpha1/apply", plain, Some(definition("web", "1"))),
        ("PUT", item.as_str(), plain, Some(definition("web", "2"))),
        ("PATCH", item.as_str(), merge, Some(label)),
        ("POST", take_over.as_str(), plain, None),
        ("DELETE", item.as_str(), plain, None),
    ] {
        let once = [media, ("idempotency-key", "k1")];
        let first = api.send(method, path, ADMIN, &once, body.clone()).await;
        let again = api.send(method, path, ADMIN, &once, body.clone()).await;
        assert!(first.status < 300, "{method}: {}", first.text);
        assert_eq!(
            (first.status, first.header("etag")),
            (again.status, again.header("etag")),
            "{method}"
        );
        assert_eq!(
            (first.header(REPLAYED), again.header(REPLAYED)),
            ("", "true"),
            "{method}"
        );
    }
}

#[tokio::test]
async fn another_body_is_refused() {
    let api = Api::new().await;
    let key = [("idempotency-key", "k1")];
    api.send("POST", PATH, ADMIN, &key, Some(definition("web", "1")))
        .await
        .expect(201);
    let refused = api
        .send("POST", PATH, ADMIN, &key, Some(definition("web", "2")))
        .await
        .expect(422);
    assert_eq!(refused.json()["code"], "IdempotencyMismatch");
}

#[tokio::test]
async fn keys_are_of_one_actor_and_one_route() {
    let api = Api::new().await;
    let key = [("idempotency-key", "k1")];
    api.send("POST", PATH, ADMIN, &key, Some(definition("web", "1")))
        .await
        .expect(201);
    api.send("POST", PATH, FACADE, &key, Some(definition("other", "1")))
        .await
        .expect(201);
    let body = Some(definition("web", "2"));
    let path = format!("{PATH}/web");
    api.send("PUT", &path, ADMIN, &key, body.clone())
        .await
        .expect(200);
    let again = api.send("PUT", &path, ADMIN, &key, body).await.expect(200);
    assert_eq!(again.json()["metadata"]["generation"], 2);
}

#[tokio::test]
async fn a_refusal_is_not_kept() {
    let api = Api::new().await;
    let key = [("idempotency-key", "k1")];
    let wrong = definition("Web", "1");
    api.send("POST", PATH, ADMIN, &key, Some(wrong)).await.expect(422);
    api.send("POST", PATH, ADMIN, &key, Some(definition("web", "1")))
        .await
        .expect(201);
}

#[tokio::test]
async fn repetitions_at_the_same_time_happen_once() {
    for api in Api::everywhere().await {
        let key = [("idempotency-key", "k1")];
        let sends = (0..10).map(|_| api.send("POST", PATH, ADMIN, &key, Some(definition("web", "1"))));
        let answers = futures::future::join_all(sends).await;
        let ids: std::collections::BTreeSet<_> = answers
            .into_iter()
            .map(|answer| answer.expect(201).json()["metadata"]["id"].to_string())
            .collect();
        assert_eq!(ids.len(), 1);
    }
}
