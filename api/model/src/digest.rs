//! Digests: SHA-256 over canonical JSON (object keys sorted, no white space), in lower case hexadecimal.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// SHA-256 of `bytes`, as 64 hexadecimal characters.
pub fn of_bytes(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The digest of a JSON value. `serde_json` keeps maps sorted here (its `preserve_order` must stay off), so that
/// its compact form is canonical.
pub fn of_json(value: &Value) -> String {
    of_bytes(value.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::of_json;

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let other: Value = serde_json::from_str(r#"{"b": 2, "a": {"d": 1, "c": 2}}"#).unwrap();
        assert_eq!(of_json(&json!({"a": {"c": 2, "d": 1}, "b": 2})), of_json(&other));
    }
}
