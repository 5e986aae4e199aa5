use schemars::generate::SchemaSettings;
use serde_json::Value;
use threeport_server::{
    openapi,
    router::{Answer, Body, ROUTES},
};

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

/// While an upgrade runs, or does not get to its end, a newer program talks to an older one.
#[test]
fn what_programs_say_to_each_other_may_have_fields_of_a_later_version() {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    for route in ROUTES.iter() {
        if let Body::Json(schema) | Body::Source(schema) = route.body {
            schema(&mut generator);
        }
        if let Answer::Json(_, schema) = route.answer {
            schema(&mut generator);
        }
    }
    let types = generator.take_definitions(true);
    assert!(types.len() > 25, "{}", types.len());
    for (name, schema) in types {
        assert_ne!(schema["additionalProperties"], false, "{name}");
    }
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
