//! `GET /v1alpha1/operations[/{id}]`

use crate::harness::{Api, definition};

#[tokio::test]
async fn a_write_is_found_by_its_operation_id() {
    let api = Api::new().await;
    let created = api
        .admin("POST", "/v1alpha1/workloaddefinitions", definition("web", "1"))
        .await
        .expect(201);
    let id = created.header("threeport-operation-id").to_owned();
    let operation = api
        .admin("GET", &format!("/v1alpha1/operations/{id}"), None)
        .await
        .expect(200)
        .json();
    assert_eq!(operation["actor"], "admin");
    assert_eq!(operation["route"], "POST /v1alpha1/workloaddefinitions");
    assert_eq!(operation["objects"][0]["name"], "web");
    let newest = api
        .admin("GET", "/v1alpha1/operations?limit=1", None)
        .await
        .expect(200);
    assert_eq!(newest.json()[0]["id"], id);
    assert!(!newest.header("threeport-continue").is_empty());
}
