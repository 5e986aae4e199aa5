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
    let cases: [(&[&str], &str); 23] = [
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
            &["agent.resources.requests.cpu=-1"],
            "at '/agent/resources/requests/cpu'",
        ),
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
        (&["enabled=often"], "at '/enabled'"),
    ];
    for (settings, wanted) in cases {
        let message = refusal(settings);
        assert!(message.contains(wanted), "{settings:?}: {message}");
    }
}

/// In a file of values `cpu: 0.5` is a number, while `--set` makes a text of it.
#[test]
fn a_part_of_a_core_may_be_a_number() {
    for (way, cores) in [("--set-json", "0.5"), ("--set-json", "2"), ("--set", "0.5")] {
        let setting = format!("api.resources.limits.cpu={cores}");
        let rendered = template("threeport", "threeport-system", &[way, &setting]).unwrap();
        // Kubernetes takes it with quotes and without.
        let is_there = [format!("cpu: {cores}\n"), format!("cpu: \"{cores}\"\n")]
            .iter()
            .any(|line| rendered.contains(line));
        assert!(is_there, "{way} {setting}");
    }
}

/// A parent chart whose dependency has `condition: threeport.enabled` hands the condition down with the values.
#[test]
fn what_a_parent_chart_hands_down_is_taken() {
    for setting in ["enabled=true", "enabled=false", "global.team=web"] {
        template("threeport", "threeport-system", &["--set", setting]).unwrap();
    }
}

#[test]
fn names_that_would_not_fit_are_refused() {
    let message = template(&"a".repeat(41), "x", &[]).unwrap_err();
    assert!(format!("{message:#}").contains("longer than 40"), "{message:#}");
}

/// With --reuse-values there is nothing but what the chart before had: what is new in this one would be rendered as nothing.
#[test]
fn what_the_chart_before_did_not_have_is_missed() {
    for (settings, wanted) in [
        (["rbac=null"], "at '': missing property 'rbac'"),
        (
            ["controllers.concurrency=null"],
            "at '/controllers': missing property 'concurrency'",
        ),
        (
            ["nats.image.version=null"],
            "at '/nats/image': missing property 'version'",
        ),
    ] {
        let message = refusal(&settings);
        assert!(message.contains(wanted), "{settings:?}: {message}");
    }
    // What is empty may be missing: that is the same to the templates.
    template(
        "threeport",
        "threeport-system",
        &["--set", "extraLabels=null,image.tag=null,image.pullSecrets=null"],
    )
    .unwrap();
}

#[test]
fn every_value_has_a_schema_and_every_object_of_the_schema_is_closed() {
    let read = |name: &str| std::fs::read_to_string(chart().join(name)).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    compare("", &values, &schema, &schema);
}

fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value == ""
        || value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}

/// Walks values and schema together; a free-form map is one whose schema describes its values.
fn compare(path: &str, value: &Value, schema: &Value, root: &Value) {
    let reference = schema["$ref"].as_str();
    let schema = match reference {
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
    let required = schema["required"].as_array().into_iter().flatten();
    let required: Vec<&str> = required.filter_map(Value::as_str).collect();
    for (name, value) in fields {
        let path = format!("{path}/{name}");
        let schema = &schema["properties"][name];
        assert!(schema.is_object(), "{path} is not in the schema");
        // Each of these may be left out.
        let is_quantity = reference == Some("#/definitions/quantities");
        assert!(
            is_empty(value) || is_quantity || required.contains(&name.as_str()),
            "{path} may be missing"
        );
        compare(&path, value, schema, root);
    }
}
