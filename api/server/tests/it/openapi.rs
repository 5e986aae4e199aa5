use serde_json::Value;
use threeport_server::openapi;

use crate::harness::Api;

/// After a change of kinds, protocol or routes: `threeport-api generate openapi > api/server/openapi.json`.
#[test]
fn the_checked_in_document_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let checked_in: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(
        checked_in == openapi::document(),
        "api/server/openapi.json is out of date: run threeport-api generate openapi > api/server/openapi.json"
    );
}

#[test]
fn every_reference_leads_somewhere() {
    let document = openapi::document();
    let mut seen = 0;
    check(&document, &document, &mut seen);
    assert!(seen > 100, "{seen}");
}

fn check(document: &Value, value: &Value, seen: &mut usize) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                *seen += 1;
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            map.values().for_each(|value| check(document, value, seen));
        }
        Value::Array(items) => items.iter().for_each(|value| check(document, value, seen)),
        _ => {}
    }
}

#[tokio::test]
async fn it_is_served_to_everybody() {
    let api = Api::new().await;
    let served = api
        .send("GET", "/openapi.json", "", &[], None)
        .await
        .expect(200)
        .json();
    assert_eq!(served["openapi"], "3.1.0");
    let page = api.send("GET", "/docs", "", &[], None).await.expect(200);
    assert!(page.text.contains("/v1alpha1/apply"));
}
