//! The ownership digest: what of a live object is ours, as server-side apply records it, and which plan it was of.
//!
//! Every foreign change of a field that we own takes the field out of our `managedFields` entry, so the digest of
//! that entry, together with uid and plan hash, detects drift without comparing values. Status and other managers'
//! fields don't matter. The controller computes it from the answer to its apply, the agent from what it watches;
//! both by this function.
//!
//! The entry alone can't tell our own writes apart: a replica that was paused and writes an older revision late owns the
//! same fields. So every apply says by [`PLAN_HASH`] what it was of, and the digest has that in it. Objects without the
//! annotation have the digest that they always had, so an upgrade writes to none of them.

use serde_json::{Value, json};

use crate::{digest, identity::PLAN_HASH};

/// The digest of `manager`'s apply entry (without a subresource) in an object's `metadata`, or nothing where there is
/// none.
pub fn of_metadata(metadata: &Value, manager: &str) -> Option<String> {
    let entry = metadata["managedFields"].as_array()?.iter().find(|entry| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        text("manager") == manager && text("operation") == "Apply" && text("subresource").is_empty()
    })?;
    let fields = entry.get("fieldsV1").unwrap_or(&Value::Null);
    Some(match &metadata["annotations"][PLAN_HASH] {
        Value::Null => digest::of_json(fields),
        plan => digest::of_json(&json!([fields, plan])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(operation: &str, image: bool, plan: Option<&str>) -> Value {
        let owned = if image {
            json!({"f:image": {}, "f:name": {}})
        } else {
            json!({"f:name": {}})
        };
        let fields = json!([
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:image": {}}},
            {"manager": "threeport-x", "operation": operation, "time": "2026-01-01T00:00:00Z", "fieldsV1": owned},
        ]);
        json!({"managedFields": fields, "annotations": plan.map(|plan| json!({PLAN_HASH: plan}))})
    }

    fn of(metadata: &Value) -> Option<String> {
        of_metadata(metadata, "threeport-x")
    }

    #[test]
    fn a_field_that_was_taken_from_us_changes_the_digest() {
        let whole = of(&metadata("Apply", true, None));
        assert!(whole.is_some());
        assert_ne!(whole, of(&metadata("Apply", false, None)));
        assert_eq!(None, of(&metadata("Update", true, None)));
        assert_eq!(None, of_metadata(&metadata("Apply", true, None), "threeport-y"));
    }

    #[test]
    fn an_apply_of_another_plan_changes_the_digest_and_having_none_keeps_it() {
        let one = of(&metadata("Apply", true, Some("1")));
        assert_eq!(one, of(&metadata("Apply", true, Some("1"))));
        assert_ne!(one, of(&metadata("Apply", true, Some("2"))));
        let fields = json!({"f:image": {}, "f:name": {}});
        assert_eq!(of(&metadata("Apply", true, None)), Some(digest::of_json(&fields)));
    }
}
