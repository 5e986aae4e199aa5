//! Bad input: a 4xx with code, field and line; nothing stored; nothing in the log at error level. Each case is a line:
//! what it is, the request, its body, what must be answered, the first wrong field, and its line where one is known.

use serde_json::Value;

use crate::harness::{ADMIN, Api, definition, errors_logged};

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const DEFINITIONS: &str = "/v1alpha1/workloaddefinitions";
const INSTANCES: &str = "/v1alpha1/workloadinstances";
const RUNTIMES: &str = "/v1alpha1/kubernetesruntimedefinitions";
const APPLY: &str = "/v1alpha1/apply";

struct Case {
    name: &'static str,
    request: (&'static str, &'static str, &'static str),
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    field: &'static str,
    line: u64,
}

fn case(
    name: &'static str,
    request: (&'static str, &'static str, &'static str),
    body: impl Into<Vec<u8>>,
    (status, code): (u16, &'static str),
    field: &'static str,
    line: u64,
) -> Case {
    Case {
        name,
        request,
        body: body.into(),
        status,
        code,
        field,
        line,
    }
}

const MALFORMED: (u16, &str) = (400, "Malformed");
const INVALID: (u16, &str) = (422, "Invalid");
const TOO_LARGE: (u16, &str) = (413, "TooLarge");
const NOT_SUPPORTED: (u16, &str) = (422, "NotSupported");

fn envelope(kind: &str, metadata: &str, spec: &str) -> String {
    format!(
        r#"{{"apiVersion": "threeport.io/v1alpha1", "kind": "{kind}", "metadata": {metadata}, "spec": {spec}}}"#
    )
}

fn runtime(metadata: &str) -> String {
    envelope("KubernetesRuntimeDefinition", metadata, "{}")
}

fn document(text: &str) -> String {
    envelope(
        "WorkloadDefinition",
        r#"{"name": "web"}"#,
        &serde_json::json!({"yamlDocument": text}).to_string(),
    )
}

fn bomb() -> String {
    let mut bomb =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let list = vec![format!("*a{}", level - 1); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    bomb
}

#[rustfmt::skip]
fn bodies() -> Vec<Case> {
    let post = ("POST", RUNTIMES, JSON);
    let yaml = ("POST", RUNTIMES, YAML);
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
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
        case("deep", post, deep.clone(), MALFORMED, "", 1),
        case("deep YAML", yaml, deep.clone(), MALFORMED, "", 1),
        case("deep spec", post, envelope("WorkloadDefinition", r#"{"name": "a"}"#, &deep), MALFORMED, "", 1),
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

#[rustfmt::skip]
fn documents() -> Vec<Case> {
    let post = ("POST", DEFINITIONS, JSON);
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    vec![
        case("nothing in it", post, document(""), INVALID, "spec", 0),
        case("both forms", post, envelope("WorkloadDefinition", r#"{"name": "a"}"#, r#"{"manifests": [], "yamlDocument": ""}"#), INVALID, "spec", 0),
        case("not YAML", post, document("a: [\n"), INVALID, "spec.yamlDocument", 1),
        case("duplicate key", post, document(&format!("{map}kind: B\n")), INVALID, "spec.yamlDocument", 4),
        case("alias bomb", post, document(&bomb()), INVALID, "spec.yamlDocument", 8),
        case("without a name", post, document(&format!("{map}---\napiVersion: v1\nkind: ConfigMap\n")), INVALID, "spec.yamlDocument.metadata.name", 5),
        case("twice the same object", post, document(&format!("{map}---\n{map}")), INVALID, "spec.yamlDocument", 5),
        case("one of ours", post, document("apiVersion: threeport.io/v1alpha1\nkind: X\nmetadata: {name: a}\n"), INVALID, "spec.yamlDocument.apiVersion", 1),
        case("a document of more than 8 MiB", post, document(&format!("{map}data: {{a: \"{}\"}}\n", "x".repeat(8 << 20))), TOO_LARGE, "spec.yamlDocument", 0),
        case("a digest of nothing", ("POST", APPLY, JSON), document(&format!("threeport.io/document:sha256:{}", "0".repeat(64))), INVALID, "spec.yamlDocument", 0),
    ]
}

#[rustfmt::skip]
fn requests() -> Vec<Case> {
    let good = || runtime(r#"{"name": "a"}"#);
    vec![
        case("no content type", ("POST", RUNTIMES, ""), good(), (415, "UnsupportedMediaType"), "", 0),
        case("another content type", ("POST", RUNTIMES, "text/plain"), good(), (415, "UnsupportedMediaType"), "", 0),
        case("another charset", ("POST", RUNTIMES, "application/json; charset=latin1"), good(), (415, "UnsupportedMediaType"), "", 0),
        case("a patch as JSON", ("PATCH", "/v1alpha1/kubernetesruntimedefinitions/local", JSON), "{}", (415, "UnsupportedMediaType"), "", 0),
        case("unknown parameter", ("POST", "/v1alpha1/kubernetesruntimedefinitions?dry-run=true", JSON), good(), INVALID, "dry-run", 0),
        case("a parameter twice", ("GET", "/v1alpha1/workloadinstances?limit=1&limit=2", ""), "", INVALID, "limit", 0),
        case("limit 0", ("GET", "/v1alpha1/workloadinstances?limit=0", ""), "", INVALID, "limit", 0),
        case("limit 100000", ("GET", "/v1alpha1/workloadinstances?limit=100000", ""), "", INVALID, "limit", 0),
        case("a limit that is no number", ("GET", "/v1alpha1/workloadinstances?limit=x", ""), "", INVALID, "limit", 0),
        case("a bad token", ("GET", "/v1alpha1/workloadinstances?continue=%22x", ""), "", INVALID, "continue", 0),
        case("a bad selector", ("GET", "/v1alpha1/workloadinstances?labelSelector=a%20b", ""), "", INVALID, "labelSelector", 0),
        case("a bad field selector", ("GET", "/v1alpha1/workloadinstances?fieldSelector=spec.x%3D1", ""), "", INVALID, "fieldSelector", 0),
        case("a token with a NUL", ("GET", "/v1alpha1/workloadinstances?continue=AA", ""), "", INVALID, "continue", 0),
        case("a selector with a NUL", ("GET", "/v1alpha1/workloadinstances?labelSelector=a%3D%00", ""), "", INVALID, "labelSelector", 0),
        case("a list of values with a NUL", ("GET", "/v1alpha1/workloadinstances?labelSelector=a%20notin%20(b,%00)", ""), "", INVALID, "labelSelector", 0),
        case("a field selector with a NUL", ("GET", "/v1alpha1/workloadinstances?fieldSelector=metadata.name%3Da%00", ""), "", INVALID, "fieldSelector", 0),
        case("a NUL in the path", ("GET", "/v1alpha1/workloadinstances/a%00", ""), "", INVALID, "name", 0),
        case("a source with a NUL", ("PUT", "/v1alpha1/sources/%00", JSON), r#"{"kind": "KubernetesRuntimeDefinition", "name": "a", "generation": 1, "spec": {}}"#, INVALID, "uid", 0),
        case("deleting a source with a NUL", ("DELETE", "/v1alpha1/sources/%00?kind=WorkloadInstance&name=a&generation=1", ""), "", INVALID, "uid", 0),
        case("deleting a source of a NUL", ("DELETE", "/v1alpha1/sources/u?kind=WorkloadInstance&name=%00&generation=1", ""), "", INVALID, "name", 0),
        case("a bad watch token", ("GET", "/v1alpha1/watch?since=x", ""), "", INVALID, "since", 0),
        case("a watch of nonsense", ("GET", "/v1alpha1/watch?kinds=Nonsense", ""), "", INVALID, "kinds", 0),
        case("a bad propagation", ("DELETE", "/v1alpha1/workloadinstances/a?propagation=all", ""), "", INVALID, "propagation", 0),
        case("a bad name in the path", ("GET", "/v1alpha1/workloadinstances/A_b", ""), "", INVALID, "name", 0),
        case("no such kind", ("GET", "/v1alpha1/nonsense", ""), "", (404, "NotFound"), "", 0),
        case("no such object", ("GET", "/v1alpha1/workloadinstances/nobody", ""), "", (404, "NotFound"), "", 0),
        case("no such route", ("GET", "/v2/x", ""), "", (404, "NotFound"), "", 0),
        case("no such method", ("DELETE", APPLY, ""), "", (405, "MethodNotAllowed"), "", 0),
        case("an invented method", ("FETCH", INSTANCES, ""), "", (405, "MethodNotAllowed"), "", 0),
        case("another name than the path's", ("PUT", "/v1alpha1/kubernetesruntimedefinitions/b", JSON), good(), INVALID, "metadata.name", 0),
        case("replacing nothing", ("PUT", "/v1alpha1/kubernetesruntimedefinitions/a", JSON), good(), (404, "NotFound"), "", 0),
        case("an unknown reference", ("POST", INSTANCES, JSON), envelope("WorkloadInstance", r#"{"name": "a"}"#, r#"{"definition": "none"}"#), (422, "ReferenceNotFound"), "spec.definition", 0),
        case("an id that is none", ("GET", "/v1alpha1/operations/x", ""), "", INVALID, "id", 0),
        case("unknown field of a protocol", ("POST", "/v1alpha1/claims", JSON), r#"{"holder": "a", "kinds": [], "limit": 1, "ttlSeconds": 10, "x": 1}"#, INVALID, "x", 0),
        case("too many claims", ("POST", "/v1alpha1/claims", JSON), r#"{"holder": "a", "kinds": [], "limit": 65, "ttlSeconds": 10}"#, TOO_LARGE, "", 0),
        case("a claim for a day", ("POST", "/v1alpha1/claims", JSON), r#"{"holder": "a", "kinds": [], "limit": 1, "ttlSeconds": 86400}"#, INVALID, "ttlSeconds", 0),
        case("half an apply", ("POST", APPLY, JSON), format!("[{}, {}]", good(), runtime(r#"{"name": "B"}"#)), INVALID, "objects[1].metadata.name", 0),
        case("an apply of nothing", ("POST", APPLY, JSON), "[]", MALFORMED, "", 0),
        case("a bad dryRun", ("POST", "/v1alpha1/apply?dryRun=maybe", JSON), good(), INVALID, "dryRun", 0),
    ]
}

/// More values than a statement takes parameters.
fn many_values() -> Case {
    let path = format!(
        "/v1alpha1/workloadinstances?labelSelector=a%20in%20({})",
        ",".repeat(20_000)
    );
    case(
        "a selector of 20,000 values",
        ("GET", path.leak(), ""),
        "",
        INVALID,
        "labelSelector",
        0,
    )
}

/// A NUL in a document that is large enough to be stored as text of its own.
fn nul_in_a_large_document() -> Case {
    let text = format!(
        "apiVersion: v1\\nkind: ConfigMap\\nmetadata: {{name: a}}\\ndata: {{a: {}\\0}}\\n",
        "x".repeat(5000)
    );
    let body = format!(
        "apiVersion: threeport.io/v1alpha1\nkind: WorkloadDefinition\nmetadata: {{name: web}}\nspec:\n  yamlDocument: \"{text}\"\n"
    );
    case(
        "a NUL in a large document",
        ("POST", DEFINITIONS, YAML),
        body,
        MALFORMED,
        "",
        1,
    )
}

async fn everything(api: &Api) -> Vec<Value> {
    let mut all = Vec::new();
    for kind in threeport_model::kinds::ALL {
        all.push(
            api.admin("GET", &format!("/v1alpha1/{}", kind.plural), None)
                .await
                .expect(200)
                .json()["items"]
                .clone(),
        );
    }
    all.push(
        api.admin("GET", "/v1alpha1/operations", None)
            .await
            .expect(200)
            .json(),
    );
    all
}

#[tokio::test]
async fn bad_input_is_refused_and_leaves_nothing() {
    for api in Api::everywhere().await {
        is_refused_and_leaves_nothing(&api).await;
    }
}

async fn is_refused_and_leaves_nothing(api: &Api) {
    let errors = errors_logged();
    let before = everything(api).await;
    let mut wrong = Vec::new();
    let more = [many_values(), nul_in_a_large_document()];
    for case in bodies()
        .into_iter()
        .chain(documents())
        .chain(requests())
        .chain(more)
    {
        let (method, path, content_type) = case.request;
        let headers: Vec<_> = (!content_type.is_empty())
            .then_some(("content-type", content_type))
            .into_iter()
            .collect();
        let answer = api.raw(method, path, ADMIN, &headers, case.body).await;
        let problem: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let first = &problem["errors"][0];
        let code = problem["code"].as_str().unwrap_or_default();
        let field = first["field"].as_str().unwrap_or_default();
        let line = first["line"].as_u64().unwrap_or_default();
        let complete = ["next", "operationId", "detail"]
            .iter()
            .all(|key| problem[*key].as_str().is_some_and(|text| !text.is_empty()));
        let right = (answer.status, code) == (case.status, case.code)
            && (field == case.field || (case.field.is_empty() && code != "Invalid"))
            && (line == case.line || case.line == 0);
        if !right || !complete {
            wrong.push(format!("{}: {} {}", case.name, answer.status, answer.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(everything(api).await, before);
    assert_eq!(errors_logged(), errors, "errors were logged");
    // The control: this way of looking does see a write.
    api.admin("POST", DEFINITIONS, definition("web", "1"))
        .await
        .expect(201);
    assert_ne!(everything(api).await, before);
    tracing::error!("seen");
    assert_eq!(errors_logged(), errors + 1);
}
