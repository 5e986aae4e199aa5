//! `PUT|DELETE /v1alpha1/sources/{uid}`

use serde_json::{Value, json};

use crate::harness::{Api, FACADE, definition};

fn source(generation: i64, value: &str) -> Value {
    json!({
        "kind": "WorkloadDefinition", "name": "web", "generation": generation, "spec": definition("web", value)["spec"],
        "labels": {"app": "shop"}, "onBehalfOf": "alice",
    })
}

#[tokio::test]
async fn a_custom_resource_becomes_an_object_that_rest_only_reads() {
    let api = Api::new().await;
    let path = "/v1alpha1/sources/uid-1";
    let applied = api
        .send("PUT", path, FACADE, &[], Some(source(1, "1")))
        .await
        .expect(200);
    assert_eq!(applied.json()["outcome"], "created");
    let object = &applied.json()["object"];
    assert_eq!(object["metadata"]["managedBy"], "kubernetes");
    assert_eq!(
        object["metadata"]["source"],
        json!({"uid": "uid-1", "generation": 1})
    );
    let operation = applied.header("threeport-operation-id").to_owned();
    let operation = api
        .admin("GET", &format!("/v1alpha1/operations/{operation}"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(operation["onBehalfOf"], "alice");

    let refused = api
        .admin("PUT", "/v1alpha1/workloaddefinitions/web", definition("web", "2"))
        .await
        .expect(409)
        .json();
    assert_eq!(refused["code"], "OwnedBy");
    api.send("PUT", path, FACADE, &[], Some(source(3, "3")))
        .await
        .expect(200);
    let stale = api.send("PUT", path, FACADE, &[], Some(source(2, "2"))).await;
    assert!(stale.status == 412 || stale.status == 409, "{}", stale.text);

    api.admin("POST", "/v1alpha1/workloaddefinitions/web/takeover", None)
        .await
        .expect(200);
    api.admin("PUT", "/v1alpha1/workloaddefinitions/web", definition("web", "4"))
        .await
        .expect(200);
}

#[tokio::test]
async fn what_the_api_would_refuse_is_refused_with_its_path() {
    let api = Api::new().await;
    let mut wrong = source(1, "1");
    wrong["spec"]["extra"] = json!(1);
    let refused = api
        .send("PUT", "/v1alpha1/sources/uid-1", FACADE, &[], Some(wrong))
        .await
        .expect(422)
        .json();
    assert_eq!(
        (&refused["code"], &refused["errors"][0]["field"]),
        (&json!("Invalid"), &json!("spec.extra"))
    );
}

#[tokio::test]
async fn a_meant_deletion_is_accepted_and_then_gone() {
    let api = Api::new().await;
    api.send(
        "PUT",
        "/v1alpha1/sources/uid-1",
        FACADE,
        &[],
        Some(source(1, "1")),
    )
    .await
    .expect(200);
    let path = "/v1alpha1/sources/uid-1?kind=WorkloadDefinition&name=web&generation=2";
    api.send("DELETE", path, FACADE, &[], None).await.expect(202);
    api.send("DELETE", path, FACADE, &[], None).await.expect(404);
    let wrong = "/v1alpha1/sources/uid-1?kind=Nonsense&name=web&generation=2";
    api.send("DELETE", wrong, FACADE, &[], None).await.expect(422);
}

#[tokio::test]
async fn a_large_custom_resource_waits_for_room() {
    let api = Api::new().await;
    api.send("GET", "/whoami", FACADE, &[], None).await.expect(200);
    let room = api.app.admission.room(u64::MAX).await.unwrap();
    let large = source(1, &"v".repeat(2 << 20));
    let mut large = std::pin::pin!(api.send("PUT", "/v1alpha1/sources/uid-1", FACADE, &[], Some(large)));
    for number in 0..20 {
        let small = definition(&format!("small-{number}"), "1");
        let small = api.admin("POST", "/v1alpha1/workloaddefinitions", small);
        tokio::select! {
            biased;
            answer = &mut large => panic!("it did not wait: {}", answer.text),
            answer = small => drop(answer.expect(201)),
        }
    }
    drop(room);
    large.await.expect(200);
}
