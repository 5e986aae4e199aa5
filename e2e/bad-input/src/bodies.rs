//! Bodies that are no object, or one that no kind takes.

use crate::{
    Case, INVALID, JSON, MALFORMED, NOT_SUPPORTED, RUNTIMES, TOO_LARGE, YAML, case,
    text::{bomb, envelope, labels, nested, runtime, too_deep},
};

#[rustfmt::skip]
pub(crate) fn bodies() -> Vec<Case> {
    let post = ("POST", RUNTIMES, JSON);
    let yaml = ("POST", RUNTIMES, YAML);
    let deep = nested(5000);
    let good = "apiVersion: threeport.io/v1alpha1\nkind: KubernetesRuntimeDefinition\nmetadata: {name: a}\n";
    vec![
        case("empty", post, "", MALFORMED, "", 0),
        case("white space", yaml, " \n", MALFORMED, "", 0),
        case("only comments", yaml, "# nothing\n---\n", MALFORMED, "", 0),
        case("cut off", post, r#"{"apiVersion": "#, MALFORMED, "apiVersion", 1),
        case("trailing", post, format!("{} x", runtime(r#"{"name": "a"}"#)), MALFORMED, "", 1),
        case("not UTF-8", post, b"{\"a\": \"\xff\"}".to_vec(), MALFORMED, "", 0),
        case("not UTF-8 in YAML", yaml, b"a: \xff".to_vec(), MALFORMED, "", 0),
        case("NUL", post, runtime(r#"{"name": "a", "labels": {"a": "\u0000"}}"#), MALFORMED, "metadata.labels.a", 1),
        case("a number", post, "1", INVALID, "", 0),
        case("an array", post, "[]", INVALID, "", 0),
        case("deep", post, deep.clone(), MALFORMED, too_deep("", 0), 1),
        case("deep YAML", yaml, deep.clone(), MALFORMED, "", 1),
        case("deep spec", post, envelope("WorkloadDefinition", r#"{"name": "a"}"#, &deep), MALFORMED, too_deep("spec", 1), 1),
        case("duplicate key", post, "{\"kind\": \"A\",\n\"kind\": \"B\"}", MALFORMED, "kind", 2),
        case("duplicate key below", post, runtime("{\"name\": \"a\",\n \"name\": \"b\"}"), MALFORMED, "metadata.name", 2),
        case("duplicate key in YAML", yaml, format!("{good}kind: B\n"), MALFORMED, "", 4),
        case("bad YAML", yaml, "a: [\n", MALFORMED, "", 1),
        case("alias bomb", yaml, bomb(), MALFORMED, "", 8),
        case("several documents", yaml, format!("{good}---\n{good}"), MALFORMED, "", 0),
        case("10 MiB", post, runtime(&format!(r#"{{"name": "{}"}}"#, "a".repeat(10 << 20))), TOO_LARGE, "", 0),
        case("no apiVersion", post, r#"{"kind": "KubernetesRuntimeDefinition", "metadata": {"name": "a"}}"#, INVALID, "apiVersion", 0),
        case("another apiVersion", yaml, good.replace("v1alpha1", "v1"), INVALID, "apiVersion", 0),
        case("unknown kind", post, envelope("Nonsense", r#"{"name": "a"}"#, "{}"), INVALID, "kind", 0),
        case("a plural as kind", post, envelope("kubernetesruntimedefinitions", r#"{"name": "a"}"#, "{}"), INVALID, "kind", 0),
        case("the kind of another path", post, envelope("WorkloadInstance", r#"{"name": "a"}"#, r#"{"definition": "a"}"#), INVALID, "kind", 0),
        case("no metadata", post, r#"{"apiVersion": "threeport.io/v1alpha1", "kind": "KubernetesRuntimeDefinition"}"#, INVALID, "metadata", 0),
        case("no name", post, runtime("{}"), INVALID, "metadata.name", 0),
        case("generateName", post, runtime(r#"{"name": "a", "generateName": "b"}"#), INVALID, "metadata.generateName", 0),
        case("a name in capitals", post, runtime(r#"{"name": "A"}"#), INVALID, "metadata.name", 0),
        case("a long name", post, runtime(&format!(r#"{{"name": "{}"}}"#, "a".repeat(64))), INVALID, "metadata.name", 0),
        case("a name that is a path", post, runtime(r#"{"name": "../a"}"#), INVALID, "metadata.name", 0),
        case("another namespace", post, runtime(r#"{"name": "a", "namespace": "default"}"#), INVALID, "metadata.namespace", 0),
        case("a label that is a number", post, runtime(r#"{"name": "a", "labels": {"a": 1}}"#), INVALID, "metadata.labels[\"a\"]", 0),
        case("a bad label key", post, runtime(r#"{"name": "a", "labels": {"a b": "c"}}"#), INVALID, "metadata.labels[\"a b\"]", 0),
        case("labels of more than 16 KiB", post, runtime(&format!(r#"{{"name": "a", "labels": {}}}"#, labels(300))), INVALID, "metadata.labels", 0),
        case("unknown metadata", post, runtime(r#"{"name": "a", "nom": "b"}"#), INVALID, "metadata.nom", 0),
        case("unknown field", post, r#"{"apiVersion": "threeport.io/v1alpha1", "kind": "KubernetesRuntimeDefinition", "metadata": {"name": "a"}, "speck": {}}"#, INVALID, "speck", 0),
        case("unknown field in spec", post, envelope("KubernetesRuntimeDefinition", r#"{"name": "a"}"#, r#"{"nodes": 1}"#), INVALID, "spec.nodes", 0),
        case("a wrong type", post, envelope("KubernetesRuntimeDefinition", r#"{"name": "a"}"#, r#"{"nodeMaximum": "many"}"#), INVALID, "spec.nodeMaximum", 0),
        case("out of range", post, envelope("KubernetesRuntimeDefinition", r#"{"name": "a"}"#, r#"{"nodeMaximum": 0}"#), INVALID, "spec.nodeMaximum", 0),
        case("not served", post, envelope("KubernetesRuntimeDefinition", r#"{"name": "a"}"#, r#"{"infraProvider": "eks"}"#), NOT_SUPPORTED, "spec.infraProvider", 0),
        case("a kubeconfig", ("POST", "/v1alpha1/kubernetesruntimeinstances", JSON), envelope("KubernetesRuntimeInstance", r#"{"name": "a"}"#, r#"{"definition": "local", "connection": {"kubeconfig": {"secret": "a"}}}"#), NOT_SUPPORTED, "spec.connection.kubeconfig", 0),
        case("Amazon EKS", ("POST", "/v1alpha1/kubernetesruntimeinstances", JSON), envelope("KubernetesRuntimeInstance", r#"{"name": "a"}"#, r#"{"definition": "local", "connection": {"eks": {}}}"#), NOT_SUPPORTED, "spec.connection.eks", 0),
        case("a child control plane", ("POST", "/v1alpha1/controlplaneinstances", JSON), envelope("ControlPlaneInstance", r#"{"name": "child"}"#, r#"{"definition": "default", "runtime": "local", "namespace": "child"}"#), NOT_SUPPORTED, "metadata.name", 0),
    ]
}
