//! `/v1alpha1/agents`

use serde_json::{Value, json};

use crate::harness::{AGENT, Api};

async fn post(api: &Api, path: &str, body: Value) -> crate::harness::Answer {
    api.send("POST", path, AGENT, &[], Some(body)).await
}

#[tokio::test]
async fn an_older_epoch_is_a_conflict() {
    let api = Api::new().await;
    let register = json!({"version": "0.1.0"});
    let first = post(&api, "/v1alpha1/agents", register.clone())
        .await
        .expect(200)
        .json();
    assert_eq!(first["controlPlaneId"], api.store.control_plane_id().to_string());
    let runtime = first["runtimeId"].as_str().unwrap().to_owned();
    let heartbeat = format!("/v1alpha1/agents/{runtime}/heartbeat");
    let beat = post(&api, &heartbeat, json!({"epoch": first["epoch"]}))
        .await
        .expect(200)
        .json();
    assert_eq!(beat["watchesRevision"], first["watches"]["revision"]);
    let second = post(&api, "/v1alpha1/agents", register).await.expect(200).json();
    assert!(second["epoch"].as_i64() > first["epoch"].as_i64());
    let refused = post(&api, &heartbeat, json!({"epoch": first["epoch"]}))
        .await
        .expect(409)
        .json();
    assert_eq!(
        (&refused["code"], &refused["next"]),
        (&json!("Conflict"), &json!("register anew"))
    );
    let watches = api
        .send(
            "GET",
            &format!("/v1alpha1/agents/{runtime}/watches"),
            AGENT,
            &[],
            None,
        )
        .await
        .expect(200);
    assert_eq!(watches.json(), second["watches"]);
    let observations = json!({"epoch": second["epoch"], "sequence": 1, "observations": []});
    let path = format!("/v1alpha1/agents/{runtime}/observations");
    assert_eq!(
        post(&api, &path, observations).await.expect(200).json()["changed"],
        0
    );
    post(&api, "/v1alpha1/agents/x/heartbeat", json!({"epoch": 1}))
        .await
        .expect(422);
}
