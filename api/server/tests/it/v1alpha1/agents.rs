//! `/v1alpha1/agents`

use serde_json::{Value, json};

use crate::harness::{AGENT, Api};

async fn post(api: &Api, path: &str, body: Value) -> crate::harness::Answer {
    api.send("POST", path, AGENT, &[], Some(body)).await
}

/// An instance of a definition, both `web`, as the API answered it.
async fn instance(api: &Api) -> Value {
    let definition = crate::harness::definition("web", "1");
    api.admin("POST", "/v1alpha1/workloaddefinitions", definition)
        .await
        .expect(201);
    let instance = crate::harness::instance("web", "web");
    let created = api.admin("POST", "/v1alpha1/workloadinstances", instance);
    created.await.expect(201).json()
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

/// What a program printed before it ended is in its pod's message, whatever it is.
#[tokio::test]
async fn a_nul_in_a_message_stops_no_observations() {
    for api in Api::everywhere().await {
        let instance = instance(&api).await;
        let registered = post(&api, "/v1alpha1/agents", json!({"version": "0.1.0"}))
            .await
            .expect(200)
            .json();
        let seen = |name: &str, message: &str| {
            json!({"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "web", "name": name,
                "uid": "u", "instanceId": instance["metadata"]["id"], "resourceVersion": "1", "health": "Failed",
                "ownershipDigest": "ours", "message": message})
        };
        let observations = json!({"epoch": registered["epoch"], "sequence": 1,
            "observations": [seen("a", "exit\0 1"), seen("b", "exit 2")]});
        let runtime = registered["runtimeId"].as_str().unwrap();
        let path = format!("/v1alpha1/agents/{runtime}/observations");
        let answer = post(&api, &path, observations).await.expect(200).json();
        assert_eq!(answer["changed"], 2);
        let resources = api
            .admin("GET", "/v1alpha1/workloadinstances/web/resources", None)
            .await
            .expect(200)
            .json();
        let messages: Vec<&Value> = resources
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &row["observed"]["message"])
            .collect();
        assert_eq!(messages, ["exit 1", "exit 2"]);
    }
}

/// The agent is upgraded before the API that it reports to, or alone. What was refused here it would not say again.
#[tokio::test]
async fn what_a_newer_agent_says_beside_is_left_out_and_the_rest_is_taken() {
    let api = Api::new().await;
    let instance = instance(&api).await;
    let registered = post(&api, "/v1alpha1/agents", json!({"version": "9.0.0", "novel": 1}))
        .await
        .expect(200)
        .json();
    let runtime = registered["runtimeId"].as_str().unwrap();
    let heartbeat = json!({"epoch": registered["epoch"], "novel": 1});
    post(&api, &format!("/v1alpha1/agents/{runtime}/heartbeat"), heartbeat)
        .await
        .expect(200);
    let seen = |name: &str, health: &str| {
        json!({"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "web", "name": name, "uid": "u",
            "instanceId": instance["metadata"]["id"], "resourceVersion": "1", "health": health,
            "ownershipDigest": "ours", "message": "seen", "novel": 1})
    };
    let observations = json!({"epoch": registered["epoch"], "sequence": 1, "novel": 1,
        "observations": [seen("a", "Failed"), seen("b", "Perhaps")]});
    let path = format!("/v1alpha1/agents/{runtime}/observations");
    post(&api, &path, observations).await.expect(200);
    let resources = api
        .admin("GET", "/v1alpha1/workloadinstances/web/resources", None)
        .await
        .expect(200)
        .json();
    let rows = resources.as_array().unwrap().iter();
    let told: Vec<(&Value, &Value)> = rows
        .map(|row| (&row["observed"]["health"], &row["observed"]["message"]))
        .collect();
    let said = json!("seen");
    assert_eq!(told, [(&json!("Failed"), &said), (&json!("Unknown"), &said)]);
}
