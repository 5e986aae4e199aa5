//! What bad input is made of.

use serde_json::Value;
use threeport_model::yaml::MAX_DEPTH;

/// A ConfigMap in YAML, three lines of it.
pub fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

/// A ConfigMap with aliases that stand for aliases: more nodes in all than any memory holds. In its eighth line they become
/// more than the API takes.
pub fn bomb() -> String {
    let first = format!("{}a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n", map("a"));
    (1..12).fold(first, |text, level| {
        let list = vec![format!("*a{}", level - 1); 10].join(",");
        format!("{text}a{level}: &a{level} [{list}]\n")
    })
}

/// Lists in lists.
pub fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// So many labels in JSON, each of some seventy bytes.
pub(crate) fn labels(count: usize) -> String {
    let labels = (0..count).map(|index| (format!("label-{index}"), "x".repeat(60)));
    labels.collect::<Value>().to_string()
}

/// So many numbers, with commas between.
pub(crate) fn numbers(count: usize) -> String {
    vec!["0"; count].join(",")
}

/// The place at which the API refuses lists in lists: below `field`, whose own path has so many segments.
pub fn too_deep(field: &str, segments: usize) -> String {
    format!("{field}{}", "[0]".repeat(MAX_DEPTH + 1 - segments))
}

/// A WorkloadDefinition in YAML with one manifest, which begins in its sixth line.
pub fn definition(name: &str, manifest: &str) -> String {
    let manifest = manifest.trim_end().replace('\n', "\n    ");
    format!(
        "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {{name: {name}}}\n\
         spec:\n  manifests:\n  - {manifest}\n"
    )
}

/// An object in JSON, of metadata and a specification in JSON.
pub(crate) fn envelope(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion": "threeport.io/v1alpha1", "kind": "{kind}", "metadata": {metadata}, "spec": {spec}}}"#
    )
}

/// A KubernetesRuntimeDefinition of that metadata.
pub(crate) fn runtime(metadata: &str) -> String {
    envelope("KubernetesRuntimeDefinition", metadata, "{}")
}
