//! The ownership digest: what of a live object is ours, as server-side apply records it.
//!
//! Every foreign change of a field that we own takes the field out of our `managedFields` entry, so the digest of
//! that entry, together with uid and plan hash, detects drift without comparing values. Status and other managers'
//! fields don't matter. The controller computes it from the answer to its apply, the agent from what it watches;
//! both by this function.

use serde_json::Value;

use crate::digest;

/// The digest of `manager`'s apply entry in an object's `metadata.managedFields` (without a subresource), or
/// nothing where there is none.
pub fn of_managed_fields(managed_fields: &Value, manager: &str) -> Option<String> {
    managed_fields.as_array()?.iter().find_map(|entry| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        let ours =
            text("manager") == manager && text("operation") == "Apply" && text("subresource").is_empty();
        ours.then(|| digest::of_json(entry.get("fieldsV1").unwrap_or(&Value::Null)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of_managed_fields;

    fn fields(operation: &str, image: bool) -> serde_json::Value {
        let owned = if image {
            json!({"f:image": {}, "f:name": {}})
        } else {
            json!({"f:name": {}})
        };
        json!([
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:image": {}}},
            {"manager": "threeport-x", "operation": operation, "time": "2026-01-01T00:00:00Z", "fieldsV1": owned},
        ])
    }

    #[test]
    fn a_field_that_was_taken_from_us_changes_the_digest() {
        let whole = of_managed_fields(&fields("Apply", true), "threeport-x");
        assert!(whole.is_some());
        assert_ne!(whole, of_managed_fields(&fields("Apply", false), "threeport-x"));
        assert_eq!(None, of_managed_fields(&fields("Update", true), "threeport-x"));
        assert_eq!(None, of_managed_fields(&fields("Apply", true), "threeport-y"));
    }
}
