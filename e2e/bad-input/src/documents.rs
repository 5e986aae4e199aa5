//! WorkloadDefinitions whose Kubernetes objects are wrong, in either of their two forms.

use serde_json::json;
use threeport_model::{manifest::MAX_OBJECTS, yaml::MAX_NODES};

use crate::{
    APPLY, Case, DEFINITIONS, INVALID, JSON, MALFORMED, TOO_LARGE, YAML, case,
    text::{bomb, definition, envelope, map, nested, numbers, too_deep},
};

/// A definition in JSON, of a specification in JSON.
fn of_spec(spec: &str) -> String {
    envelope("WorkloadDefinition", r#"{"name": "web"}"#, spec)
}

fn document(text: &str) -> String {
    of_spec(&json!({"yamlDocument": text}).to_string())
}

/// Of objects in JSON.
fn of_manifests(objects: &str) -> String {
    of_spec(&format!(r#"{{"manifests": [{objects}]}}"#))
}

/// A NUL in a document that is large enough to be stored as text of its own.
fn nul_in_a_large_document() -> String {
    let text = format!(
        "apiVersion: v1\\nkind: ConfigMap\\nmetadata: {{name: a}}\\ndata: {{a: {}\\0}}\\n",
        "x".repeat(5000)
    );
    format!(
        "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {{name: web}}\nspec:\n  yamlDocument: \"{text}\"\n"
    )
}

#[rustfmt::skip]
pub(crate) fn documents() -> Vec<Case> {
    let post = ("POST", DEFINITIONS, JSON);
    let map = map("a");
    vec![
        case("nothing in it", post, document(""), INVALID, "spec", 0),
        case("both forms", post, of_spec(r#"{"manifests": [], "yamlDocument": ""}"#), INVALID, "spec", 0),
        case("not YAML", post, document("a: [\n"), INVALID, "spec.yamlDocument", 1),
        case("a duplicate key in a document", post, document(&format!("{map}kind: B\n")), INVALID, "spec.yamlDocument", 4),
        case("an alias bomb in a document", post, document(&bomb()), INVALID, "spec.yamlDocument", 8),
        case("a deep document", post, document(&format!("{map}data: {}\n", nested(2000))), INVALID, "spec.yamlDocument", 4),
        case("without a name", post, document(&format!("{map}---\napiVersion: v1\nkind: ConfigMap\n")), INVALID, "spec.yamlDocument.metadata.name", 5),
        case("twice the same object", post, document(&format!("{map}---\n{map}")), INVALID, "spec.yamlDocument", 5),
        case("one of ours", post, document("apiVersion: threeport.io/v1alpha1\nkind: X\nmetadata: {name: a}\n"), INVALID, "spec.yamlDocument.apiVersion", 1),
        case("a document of more than 8 MiB", post, document(&format!("{map}data: {{a: \"{}\"}}\n", "x".repeat(8 << 20))), TOO_LARGE, "spec.yamlDocument", 0),
        case("a List of more than there may be, none an object", post, document(&format!("kind: List\nitems: [{}]\n", numbers(MAX_OBJECTS + 1))), INVALID, "spec", 0),
        case("a digest of nothing", ("POST", APPLY, JSON), document(&format!("threeport.io/document:sha256:{}", "0".repeat(64))), INVALID, "spec.yamlDocument", 0),
        case("a NUL in a large document", ("POST", DEFINITIONS, YAML), nul_in_a_large_document(), MALFORMED, "", 1),
    ]
}

#[rustfmt::skip]
pub(crate) fn manifests() -> Vec<Case> {
    let post = ("POST", DEFINITIONS, JSON);
    let map = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}"#;
    vec![
        case("no manifest", post, of_manifests(""), INVALID, "spec", 0),
        case("manifests that are no list", post, of_spec(r#"{"manifests": {}}"#), INVALID, "spec.manifests", 0),
        case("a manifest that is no object", post, of_manifests(&format!(r#"{map}, "a""#)), INVALID, "spec.manifests[1]", 0),
        case("a manifest without apiVersion", post, of_manifests(r#"{"kind": "ConfigMap", "metadata": {"name": "a"}}"#), INVALID, "spec.manifests[0].apiVersion", 0),
        case("a manifest of a strange version", post, of_manifests(&map.replace("v1", "/v1")), INVALID, "spec.manifests[0].apiVersion", 0),
        case("a manifest without a kind", post, of_manifests(&format!(r#"{map}, {{"apiVersion": "v1", "metadata": {{"name": "b"}}}}"#)), INVALID, "spec.manifests[1].kind", 0),
        case("a manifest with generateName", post, of_manifests(&map.replace("name", "generateName")), INVALID, "spec.manifests[0].metadata.name", 0),
        case("a manifest of a name that Kubernetes can't have", post, of_manifests(&map.replace(r#""a""#, &format!("\"{}\"", "a".repeat(4000)))), INVALID, "spec.manifests[0].metadata.name", 0),
        case("twice the same manifest", post, of_manifests(&format!("{map}, {map}")), INVALID, "spec.manifests[1]", 0),
        case("a manifest of ours", post, of_manifests(&map.replace("v1", "threeport.io/v1alpha1")), INVALID, "spec.manifests[0].apiVersion", 0),
        case("a List without items", post, of_manifests(r#"{"kind": "List"}"#), INVALID, "spec.manifests[0].items", 0),
        case("a List in a List", post, of_manifests(&format!(r#"{{"kind": "List", "items": [{map}, {{"kind": "List", "items": []}}]}}"#)), INVALID, "spec.manifests[0].items[1]", 0),
        case("a duplicate key in a manifest", post, of_manifests("{\"apiVersion\": \"v1\",\n\"kind\": \"A\",\n\"kind\": \"B\"}"), MALFORMED, "spec.manifests[0].kind", 3),
        case("a deep manifest", post, of_manifests(&format!("{{\"kind\": \"A\",\n\"data\": {}}}", nested(2000))), MALFORMED, too_deep("spec.manifests[0].data", 4), 2),
        case("more values than a body may have", post, of_manifests(&format!("{}0", "0,".repeat(MAX_NODES))), MALFORMED, format!("spec.manifests[{}]", MAX_NODES - 13), 1),
        case("more manifests than there may be, none an object", post, of_manifests(&numbers(MAX_OBJECTS + 1)), INVALID, "spec", 0),
        case("an alias bomb in a manifest", ("POST", DEFINITIONS, YAML), definition("web", &bomb()), MALFORMED, "", 13),
    ]
}
