//! The schema refuses what would not work, and says where.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use serde_json::Value;
use threeport_chart::{chart, template};

fn refusal(settings: &[&str]) -> String {
    let arguments = settings
        .iter()
        .flat_map(|setting| ["--set", setting])
        .collect::<Vec<_>>();
    match template("threeport", "threeport-system", &arguments) {
        Ok(_) => panic!("{settings:?} was accepted"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn wrong_values_are_refused_with_their_path() {
    let cases: [(&[&str], &str); 21] = [
        (&["apii.replicas=1"], "'apii' not allowed"),
        (&["api.replica=1"], "at '/api'"),
        (&["api.replicas=0"], "at '/api/replicas'"),
        (&["api.replicas=two"], "at '/api/replicas'"),
        (&["api.replicas=2"], "an SQLite database belongs to one process"),
        (&["database.mode=mysql"], "at '/database/mode'"),
        (&["database.mode=external"], "at '/database/external/secretName'"),
        (&["database.sqlite.size=much"], "at '/database/sqlite/size'"),
        (&["api.service.type=Public"], "at '/api/service/type'"),
        (&["api.service.nodePort=70000"], "at '/api/service/nodePort'"),
        (&["api.ingress.enabled=true"], "at '/api/ingress"),
        (
            &["api.ingress.enabled=true", "api.ingress.host=a.example.com"],
            "at '/api/ingress/tlsSecretName'",
        ),
        (&["image.pullPolicy=Sometimes"], "at '/image/pullPolicy'"),
        (
            &["controllers.sweepInterval=often"],
            "at '/controllers/sweepInterval'",
        ),
        (&["agent.replicas=2"], "at '/agent/replicas'"),
        (
            &["nats.resources.limits.memory=lots"],
            "at '/nats/resources/limits/memory'",
        ),
        // Half a byte of memory, which Kubernetes takes with a warning.
        (
            &["api.resources.limits.memory=512m"],
            "at '/api/resources/limits/memory'",
        ),
        // The programs and the API's stream would not start with these.
        (
            &["controllers.sweepInterval=0s"],
            "at '/controllers/sweepInterval'",
        ),
        (&["nats.memoryStore=63Mi"], "at '/nats/memoryStore'"),
        // What the Deployment selects its pods by would be another.
        (
            &[r"extraLabels.app\.kubernetes\.io/component=web"],
            "at '/extraLabels/app.kubernetes.io~1component'",
        ),
        (&["extraLabels.team=a b"], "at '/extraLabels/team'"),
    ];
    for (settings, wanted) in cases {
        let message = refusal(settings);
        assert!(message.contains(wanted), "{settings:?}: {message}");
    }
}

#[test]
fn names_that_would_not_fit_are_refused() {
    let message = template(&"a".repeat(41), "x", &[]).unwrap_err();
    assert!(format!("{message:#}").contains("longer than 40"), "{message:#}");
}

#[test]
fn every_value_has_a_schema_and_every_object_of_the_schema_is_closed() {
    let read = |name: &str| std::fs::read_to_string(chart().join(name)).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    compare("", &values, &schema, &schema);
}

/// Walks values and schema together; a free-form map is one whose schema describes its values.
fn compare(path: &str, value: &Value, schema: &Value, root: &Value) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    let Some(fields) = value.as_object() else {
        return;
    };
    if schema["additionalProperties"].is_object() {
        return;
    }
    assert_eq!(
        schema["additionalProperties"], false,
        "{path} accepts unknown fields"
    );
    for (name, value) in fields {
        let path = format!("{path}/{name}");
        let schema = &schema["properties"][name];
        assert!(schema.is_object(), "{path} is not in the schema");
        compare(&path, value, schema, root);
    }
}
