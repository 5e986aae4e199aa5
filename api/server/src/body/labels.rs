//! Labels and annotations: keys and values as Kubernetes takes them, because mirrors carry them.
//!
//! Keys of our own domain are the server's: a file that `kubectl get -o yaml` printed has them, so they are accepted
//! and left out. So is what kubectl keeps in annotations.

use std::collections::BTreeMap;

use serde_json::Value;
use threeport_model::{
    FieldError, GROUP,
    identity::LAST_APPLIED,
    name,
    object::{annotations_problem, labels_problem},
};

use super::MAX_WRONG;

/// `metadata.labels`, without the server's own.
pub fn labels(value: &Value, errors: &mut Vec<FieldError>) -> BTreeMap<String, String> {
    let labels = strings("metadata.labels", value, errors);
    let wrong = labels.iter().filter_map(|(key, value)| {
        let problem = value_problem(value)?;
        Some(FieldError::new(format!("metadata.labels[{key:?}]"), problem))
    });
    errors.extend(wrong.take(MAX_WRONG));
    errors.extend(labels_problem(&labels));
    labels
}

/// `metadata.annotations`, without the server's own.
pub fn annotations(value: &Value, errors: &mut Vec<FieldError>) -> BTreeMap<String, String> {
    let annotations = strings("metadata.annotations", value, errors);
    errors.extend(annotations_problem(&annotations));
    annotations
}

fn strings(field: &str, value: &Value, errors: &mut Vec<FieldError>) -> BTreeMap<String, String> {
    let mut strings = BTreeMap::new();
    match value {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| !is_server_owned(key)) {
                if errors.len() >= MAX_WRONG {
                    break;
                }
                let at = || format!("{field}[{key:?}]");
                if let Some(problem) = key_problem(key) {
                    errors.push(FieldError::new(at(), format!("the key {problem}")));
                } else if let Some(text) = value.as_str() {
                    strings.insert(key.clone(), text.to_owned());
                } else {
                    errors.push(FieldError::new(
                        at(),
                        "must be a string (quote numbers and booleans)",
                    ));
                }
            }
        }
        _ => errors.push(FieldError::new(field, "must be a map of strings")),
    }
    strings
}

fn is_server_owned(key: &str) -> bool {
    key == LAST_APPLIED || key.split_once('/').is_some_and(|(prefix, _)| prefix == GROUP)
}

fn key_problem(key: &str) -> Option<String> {
    let (prefix, word) = match key.split_once('/') {
        Some((prefix, word)) => (Some(prefix), word),
        None => (None, key),
    };
    if let Some(prefix) = prefix
        && (prefix.len() > 253 || prefix.split('.').any(|part| name::problem(part).is_some()))
    {
        return Some("must have a DNS name before the '/'".to_owned());
    }
    if word.is_empty() {
        Some("must not be empty".to_owned())
    } else {
        value_problem(word)
    }
}

fn value_problem(value: &str) -> Option<String> {
    let inner = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let outer = |character: char| character.is_ascii_alphanumeric();
    if value.len() > 63 {
        return Some(format!("must be at most 63 characters, has {}", value.len()));
    }
    if value.is_empty() || (value.chars().all(inner) && value.starts_with(outer) && value.ends_with(outer)) {
        return None;
    }
    Some(
        "must consist of letters, digits, '-', '_' and '.', and start and end with a letter or digit"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_and_values_are_those_of_kubernetes() {
        let mut errors = Vec::new();
        let good = json!({"a": "", "app.kubernetes.io/name": "X_1.y-z", "threeport.io/managed-by": "api"});
        assert_eq!(labels(&good, &mut errors).len(), 2);
        assert_eq!(errors, vec![]);
        for bad in [
            json!({"": "x"}),
            json!({"a b": "x"}),
            json!({"a": "-x"}),
            json!({"a": 1}),
            json!({"A/b/c": "x"}),
        ] {
            let mut errors = Vec::new();
            labels(&bad, &mut errors);
            assert_eq!(errors.len(), 1, "{bad}");
        }
    }

    #[test]
    fn of_very_many_that_are_wrong_the_first_are_looked_for() {
        for (prefix, value) in [("a", json!("-")), ("a", json!(1)), ("a b", json!(""))] {
            let wrong: Value = (0..10 * MAX_WRONG)
                .map(|index| (format!("{prefix}{index}"), value.clone()))
                .collect();
            let mut errors = Vec::new();
            labels(&wrong, &mut errors);
            assert_eq!(errors.len(), MAX_WRONG, "{prefix:?}: {value}");
        }
    }
}
