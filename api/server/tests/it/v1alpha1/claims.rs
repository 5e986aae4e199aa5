//! `POST /v1alpha1/claims`, `/renew`, `/complete`, `/inventory`

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Api, CONTROLLERS, definition, instance};

async fn post(api: &Api, path: &str, body: Value) -> crate::harness::Answer {
    api.send("POST", path, CONTROLLERS, &[], Some(body)).await
}

fn request(holder: &str) -> Value {
    json!({"holder": holder, "kinds": ["WorkloadInstance"], "limit": 10, "ttlSeconds": 10})
}

#[tokio::test]
async fn work_is_taken_with_its_world_and_given_back() {
    for api in Api::everywhere().await {
        api.admin(
            "POST",
            "/v1alpha1/apply",
            json!([definition("web", "1"), instance("web", "web")]),
        )
        .await
        .expect(200);
        let claims = post(&api, "/v1alpha1/claims", request("one"))
            .await
            .expect(200)
            .json();
        let claim = &claims["claims"][0];
        assert_eq!(claim["object"]["metadata"]["name"], "web");
        let kinds: Vec<_> = claim["references"]
            .as_array()
            .unwrap()
            .iter()
            .map(|object| object["kind"].clone())
            .collect();
        assert!(kinds.contains(&json!("WorkloadDefinition")), "{kinds:?}");
        assert!(kinds.contains(&json!("KubernetesRuntimeInstance")), "{kinds:?}");
        let others = post(&api, "/v1alpha1/claims", request("two"))
            .await
            .expect(200)
            .json();
        assert_eq!(others["claims"], json!([]));

        let id = &claim["object"]["metadata"]["id"];
        let renew =
            json!({"holder": "one", "ttlSeconds": 10, "claims": [{"id": id, "epoch": claim["epoch"]}]});
        assert_eq!(
            post(&api, "/v1alpha1/claims/renew", renew)
                .await
                .expect(200)
                .json()["renewed"],
            json!([id])
        );
        let runtime = claim["references"]
            .as_array()
            .unwrap()
            .iter()
            .find(|object| object["kind"] == "KubernetesRuntimeInstance");
        let row = json!({
            "id": Uuid::new_v4(), "runtimeId": runtime.unwrap()["metadata"]["id"], "instanceId": id, "version": "v1",
            "kind": "ConfigMap", "namespace": "web", "name": "c",
        });
        let intent = json!({"instanceId": id, "epoch": claim["epoch"], "rows": [row]});
        assert_eq!(
            post(&api, "/v1alpha1/inventory", intent).await.expect(200).json()["conflicts"],
            json!([])
        );
        let complete = json!({
            "id": id, "epoch": claim["epoch"], "token": claim["token"], "next": "done",
            "events": [{"objectId": id, "reason": "Applied", "message": "applied 1 object"}],
            "status": {"observedGeneration": 1, "status": {"observedGeneration": 1, "conditions": []}},
        });
        let answer = post(&api, "/v1alpha1/claims/complete", complete.clone())
            .await
            .expect(200)
            .json();
        assert_eq!(answer["statusWritten"], true);
        let resources = api
            .admin("GET", "/v1alpha1/workloadinstances/web/resources", None)
            .await
            .expect(200)
            .json();
        assert_eq!(resources[0]["name"], "c");
        let events = api
            .admin("GET", "/v1alpha1/workloadinstances/web/events", None)
            .await
            .expect(200)
            .json();
        assert_eq!(events[0]["reason"], "Applied");

        let mut stale = complete;
        stale["epoch"] = json!(claim["epoch"].as_i64().unwrap() - 1);
        let refused = post(&api, "/v1alpha1/claims/complete", stale)
            .await
            .expect(412)
            .json();
        assert_eq!(refused["code"], "PreconditionFailed");
    }
}

#[tokio::test]
async fn what_an_abandoned_deletion_left_is_told_by_the_name_of_what_is_gone() {
    const WEB: &str = "/v1alpha1/workloadinstances/web";
    const EVENTS: &str = "/v1alpha1/workloadinstances/web/events";
    let api = Api::new().await;
    api.admin("GET", EVENTS, None).await.expect(404);
    let both = json!([definition("web", "1"), instance("web", "web")]);
    api.admin("POST", "/v1alpha1/apply", both).await.expect(200);
    api.admin("DELETE", WEB, None).await.expect(202);
    let claims = post(&api, "/v1alpha1/claims", request("one"))
        .await
        .expect(200)
        .json();
    let claim = &claims["claims"][0];
    let id = &claim["object"]["metadata"]["id"];
    let end = json!({
        "id": id, "epoch": claim["epoch"], "token": claim["token"], "next": "done", "finalize": true,
        "events": [{"objectId": id, "reason": "Abandoned", "message": "left Deployment web/api"}],
    });
    post(&api, "/v1alpha1/claims/complete", end).await.expect(200);
    api.admin("GET", WEB, None).await.expect(404);
    let events = api.admin("GET", EVENTS, None).await.expect(200).json();
    assert_eq!(events[0]["message"], "left Deployment web/api");
}
