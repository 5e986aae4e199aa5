//! JSON as a type. What serde says of JSON that is none quotes the value, and that may be a Secret's: what is said here
//! names what kind of value was found, and the path says where.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::problem::FieldError;

/// The most characters of a path, and of what is said of it.
const LONGEST: usize = 500;
/// What serde's messages that quote a value begin with.
const QUOTING: [&str; 3] = ["invalid type: ", "invalid value: ", "unknown variant "];

/// `value` as a `T`; an error names the path from `value` on.
pub fn from_json<T: DeserializeOwned>(value: &Value) -> Result<T, FieldError> {
    // To keep the path takes longer than to read, and is of use only where there is an error.
    T::deserialize(value).or_else(|_| with_path(value))
}

fn with_path<T: DeserializeOwned>(value: &Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        FieldError::new(short(&field), without_value(&error.into_inner().to_string()))
    })
}

/// What serde says without the value that it quotes, and no longer than somebody reads.
pub(crate) fn without_value(message: &str) -> String {
    if !QUOTING.iter().any(|start| message.starts_with(start)) {
        return short(message);
    }
    // The expectation is ours and stands last. What is before may hold anything, these words too.
    match message.rsplit_once(", expected ") {
        Some((found, expected)) => short(&format!("{}, expected {expected}", unquoted(found))),
        None => short(unquoted(message)),
    }
}

fn unquoted(text: &str) -> &str {
    text.split(['"', '`']).next().unwrap_or_default().trim_end()
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{FieldError, find_kind};

    fn refused(kind: &str, spec: &Value) -> FieldError {
        (find_kind(kind).unwrap().normalize)(spec).unwrap_err().remove(0)
    }

    #[test]
    fn a_value_of_the_wrong_type_is_not_quoted() {
        let secret = "data: {password: \"s3cr3t`\"}, expected \"s3cr3t\", expected `s3cr3t\n";
        for (kind, spec, field, message) in [
            (
                "tpwd",
                json!({"manifests": secret}),
                "spec.manifests",
                "invalid type: string, expected a sequence",
            ),
            (
                "tpwi",
                json!({"definition": 739}),
                "spec.definition",
                "invalid type: integer, expected a string",
            ),
            (
                "tpwi",
                json!({"definition": {"a": secret}}),
                "spec.definition",
                "invalid type: map, expected a string",
            ),
            (
                "tpwi",
                json!({"definition": "web", "deletionPolicy": secret}),
                "spec.deletionPolicy",
                "unknown variant, expected `Delete` or `Orphan`",
            ),
            (
                "KubernetesRuntimeDefinition",
                json!({"nodeMaximum": u64::MAX}),
                "spec.nodeMaximum",
                "invalid value: integer, expected i64",
            ),
        ] {
            assert_eq!(refused(kind, &spec), FieldError::new(field, message));
        }
    }

    #[test]
    fn what_is_said_of_a_field_has_an_end() {
        let long = refused("tpwi", &json!({"definition": "web", "ö".repeat(10_000): 1}));
        assert!(long.message.starts_with("unknown field `ö"), "{}", long.message);
        for text in [&long.field, &long.message] {
            let length = text.trim_start_matches("spec.").chars().count();
            assert_eq!(length, super::LONGEST + "...".len(), "{text}");
        }
        let short = refused("tpwd", &json!({"typo": 1}));
        assert_eq!(
            short.message,
            "unknown field `typo`, expected `manifests` or `yamlDocument`"
        );
    }
}
