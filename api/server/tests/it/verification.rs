//! Objects are verified in time, however many there are.

use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use threeport_server::tasks;

use crate::harness::{Api, definition};

/// More than one transaction makes due.
const OBJECTS: usize = 120;

#[tokio::test]
async fn whatever_is_overdue_is_verified_in_one_step() {
    let api = Api::new().await;
    let objects: Vec<Value> = (0..OBJECTS)
        .map(|index| definition(&format!("w{index}"), "1"))
        .collect();
    api.admin("POST", "/v1alpha1/apply", json!(objects))
        .await
        .expect(200);
    let database = Database::connect(&api.url).await.unwrap();
    database
        .execute_unprepared("UPDATE object_status SET verify_at = 1")
        .await
        .unwrap();
    let is_overdue = async || api.store.pending_verify(1).await.unwrap().more();
    assert!(is_overdue().await, "the control");
    tasks::verify(&api.app).await;
    assert!(!is_overdue().await, "some wait for the next step");
}
