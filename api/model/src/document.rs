//! How a large document is shown where only its digest has room: in a mirror.
//!
//! etcd takes objects of about 1.5 MB, and a mirror is written with each change; so a specification of a
//! WorkloadDefinition over [`LIMIT`] is shown with a digest in the place of its document. Who sends that digest back
//! (`kubectl get -o yaml | tptctl apply -f -`) means the document that is stored.

use serde_json::{Value, json};

use crate::digest;

/// The largest document that is mirrored in full, in bytes.
pub const LIMIT: usize = 200 << 10;
/// What a digest in the place of a document starts with; 64 hexadecimal characters follow.
pub const DIGEST_PREFIX: &str = "threeport.io/document:sha256:";

/// The specification as a mirror shows it: itself, or with a digest in `yamlDocument` in the place of a document or
/// of manifests that are too large.
pub fn mirrored(spec: &Value) -> Value {
    let text = spec
        .get("yamlDocument")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let text = text.or_else(|| spec.get("manifests").map(Value::to_string));
    match (text, spec) {
        (Some(text), Value::Object(fields)) if text.len() > LIMIT => {
            let mut shown = fields.clone();
            shown.remove("manifests");
            let digest = digest::of_bytes(text.as_bytes());
            shown.insert(
                "yamlDocument".to_owned(),
                json!(format!("{DIGEST_PREFIX}{digest}")),
            );
            Value::Object(shown)
        }
        _ => spec.clone(),
    }
}

/// Whether a specification shows a digest in the place of its document.
pub fn shows_digest(spec: &Value) -> bool {
    let document = spec.get("yamlDocument").and_then(Value::as_str);
    document.is_some_and(|text| text.starts_with(DIGEST_PREFIX))
}

/// Whether `submitted` is what a mirror shows of `stored`, and so means no change.
pub fn is_mirrored(submitted: &Value, stored: &Value) -> bool {
    shows_digest(submitted) && *submitted == mirrored(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_documents_are_shown_by_digest() {
        let small = json!({"yamlDocument": "a"});
        assert_eq!(mirrored(&small), small);
        assert!(!is_mirrored(&small, &small));
        for large in [
            json!({"yamlDocument": "x".repeat(LIMIT + 1)}),
            json!({"manifests": [{"data": "x".repeat(LIMIT + 1)}]}),
        ] {
            let shown = mirrored(&large);
            assert!(shown.to_string().len() < 200, "{shown}");
            assert!(shown.get("manifests").is_none());
            assert!(is_mirrored(&shown, &large));
            assert!(!is_mirrored(&shown, &small));
        }
    }
}
