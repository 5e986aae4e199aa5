//! docs/reference/chart.md is what values.yaml and its schema say. `make generate` writes it anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::fs;

use serde_json::Value;
use threeport_chart::chart;
use threeport_chart::reference::reference;
use threeport_testbed::paths::project;

fn read(name: &str) -> String {
    fs::read_to_string(chart().join(name)).unwrap()
}

#[test]
fn the_reference_is_what_the_chart_says_of_its_values() {
    let path = project().join("docs/reference/chart.md");
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let written = reference(&read("values.yaml"), &schema).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &written).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == written,
        "{} is out of date: `make generate` writes it anew",
        path.display()
    );
}

/// A leaf of values.yaml that had no row would be missing from the reference without anybody noticing.
#[test]
fn every_value_has_its_row() {
    fn walk(path: &str, value: &Value, rows: &str) {
        let is_shown = rows.contains(&format!("\n| `{path}` | `"));
        match value.as_object() {
            Some(fields) if !is_shown => {
                assert!(!fields.is_empty(), "{path} has no row");
                for (name, value) in fields {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    walk(&path, value, rows);
                }
            }
            _ => assert!(is_shown, "{path} has no row"),
        }
    }
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let rows = fs::read_to_string(project().join("docs/reference/chart.md")).unwrap();
    walk("", &values, &rows);
}
