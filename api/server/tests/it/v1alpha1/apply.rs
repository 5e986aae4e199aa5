//! `POST /v1alpha1/apply`

use serde_json::json;

use crate::harness::{ADMIN, Api, definition, instance};

const PATH: &str = "/v1alpha1/apply";

fn outcomes(answer: &serde_json::Value) -> Vec<String> {
    let results = answer["results"].as_array().unwrap();
    results
        .iter()
        .map(|result| result["outcome"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn objects_come_in_any_order_and_again_change_nothing() {
    for api in Api::everywhere().await {
        let body = json!([instance("web", "web"), definition("web", "1")]);
        let first = api.admin("POST", PATH, body.clone()).await.expect(200);
        assert_eq!(outcomes(&first.json()), ["created", "created"]);
        assert_eq!(
            first.json()["operationId"],
            first.header("threeport-operation-id")
        );
        let again = api.admin("POST", PATH, body).await.expect(200).json();
        assert_eq!(outcomes(&again), ["unchanged", "unchanged"]);
        let list = json!({"kind": "List", "apiVersion": "v1", "items": [instance("web", "web"), definition("web", "2")]});
        let changed = api.admin("POST", PATH, list).await.expect(200).json();
        assert_eq!(outcomes(&changed), ["unchanged", "configured"]);
    }
}

#[tokio::test]
async fn all_or_nothing() {
    for api in Api::everywhere().await {
        let body = json!([
            definition("a", "1"),
            definition("b", "1"),
            instance("c", "nothing")
        ]);
        let refused = api.admin("POST", PATH, body).await.expect(422).json();
        assert_eq!(refused["code"], "ReferenceNotFound");
        let list = api
            .admin("GET", "/v1alpha1/workloaddefinitions", None)
            .await
            .json();
        assert_eq!(list["items"], json!([]));
    }
}

#[tokio::test]
async fn a_dry_run_answers_the_same_and_stores_nothing() {
    let api = Api::new().await;
    let body = json!([instance("web", "web"), definition("web", "1")]);
    let dry = api
        .admin("POST", &format!("{PATH}?dryRun=true"), body.clone())
        .await
        .expect(200)
        .json();
    assert_eq!(
        (outcomes(&dry), &dry["dryRun"]),
        (vec!["created".to_owned(); 2], &json!(true))
    );
    let list = api
        .admin("GET", "/v1alpha1/workloaddefinitions", None)
        .await
        .json();
    assert_eq!(list["items"], json!([]));
    let real = api.admin("POST", PATH, body).await.expect(200).json();
    assert_eq!(outcomes(&real), outcomes(&dry));
}

#[tokio::test]
async fn yaml_documents_are_applied_together() {
    let api = Api::new().await;
    let text = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {name: web}\nspec:\n  \
                yamlDocument: |\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: c}\n---\n\
                apiVersion: threeport.io/v1alpha1\nkind: WorkloadInstance\nmetadata: {name: web}\nspec: {definition: web}\n";
    let yaml = [("content-type", "application/yaml")];
    let answer = api
        .raw("POST", PATH, ADMIN, &yaml, text.into())
        .await
        .expect(200)
        .json();
    assert_eq!(outcomes(&answer), ["created", "created"]);
}

#[tokio::test]
async fn what_a_mirror_shows_by_digest_means_what_is_stored() {
    let api = Api::new().await;
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{a: {}}}\n",
        "x".repeat(300 << 10)
    );
    let body = crate::harness::object("WorkloadDefinition", "large", &json!({"yamlDocument": text}));
    let stored =
        api.admin("POST", PATH, body.clone()).await.expect(200).json()["results"][0]["object"].clone();
    let mut mirrored = body;
    mirrored["spec"] = threeport_model::document::mirrored(&stored["spec"]);
    assert!(mirrored.to_string().len() < 500);
    let again = api
        .admin("POST", PATH, json!([mirrored]))
        .await
        .expect(200)
        .json();
    assert_eq!(outcomes(&again), ["unchanged"]);
}
