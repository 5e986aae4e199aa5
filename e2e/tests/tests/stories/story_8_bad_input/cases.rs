//! What kubectl is given, who refuses it and in which words.

use anyhow::Result;
use serde_json::{Value, json};
use threeport_bad_input::text::{bomb, definition, map, nested, too_deep};
use threeport_e2e::workload;
use threeport_model::{API_VERSION, Code, KindDescriptor};

use crate::steps::kind;

pub(super) const APPLY: &str = "apply -f -";
/// Takes no copy of the document into an annotation.
const CREATE: &str = "create -f -";
/// Of two equal keys in a file kubectl takes the last, and nobody sees the other; this passes the file on as it is.
const CREATE_AS_IT_IS: &str = "create --raw \
    /apis/threeport.io/v1alpha1/namespaces/NAMESPACE/workloadinstances?fieldValidation=Strict -f -";

/// What kubectl is given.
pub(super) struct Input {
    pub(super) what: &'static str,
    /// What must not come of it: kind and name.
    pub(super) object: Value,
    pub(super) text: String,
}

impl Input {
    fn new(what: &'static str, kind: &str, name: &str, text: String) -> Self {
        let object = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}});
        Self { what, object, text }
    }

    pub(super) fn json(what: &'static str, object: &Value) -> Self {
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self::new(what, &word(kind), &word(name), object.to_string())
    }

    /// A WorkloadDefinition in YAML, with one manifest.
    fn yaml(what: &'static str, name: &str, manifest: &str) -> Self {
        Self::new(what, "WorkloadDefinition", name, definition(name, manifest))
    }

    pub(super) fn kind(&self) -> Result<&'static KindDescriptor> {
        kind(self.object["kind"].as_str().unwrap_or_default())
    }

    pub(super) fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// As kubectl takes it.
    pub(super) fn resource(&self) -> Result<String> {
        Ok(format!("{}/{}", self.kind()?.singular, self.name()))
    }
}

/// What kubectl or the apiserver refuses.
pub(super) struct ByCluster {
    pub(super) command: &'static str,
    pub(super) input: Input,
    /// All of them must be said; of those with `|` between them one.
    pub(super) words: &'static [&'static str],
}

/// What Threeport's API refuses.
pub(super) struct ByThreeport {
    pub(super) input: Input,
    pub(super) code: Code,
    pub(super) field: String,
    /// 0 where there is none.
    pub(super) line: u64,
}

fn document(name: &str, text: &str) -> Value {
    let mut object = workload::definition(name, &[]);
    object["spec"] = json!({"yamlDocument": text});
    object
}

fn deep(levels: usize) -> String {
    format!("{}data: {}\n", map("a"), nested(levels))
}

pub(super) fn refused_by_the_cluster() -> Vec<ByCluster> {
    let case = |command, input, words| ByCluster {
        command,
        input,
        words,
    };
    let instance = |name, more: Value| workload::instance(name, "bad", &more);
    let mut unknown = instance("bad-unknown", json!({}));
    unknown["speck"] = json!({});
    unknown["metadata"]["nom"] = json!("a");
    let twice = instance("bad-own-twice", json!({})).to_string();
    let twice = twice.replace(r#""definition":"bad""#, r#""definition":"a","definition":"b""#);
    let large = document(
        "bad-large",
        &format!("{}data: {{a: {}}}\n", map("a"), "x".repeat(10 << 20)),
    );
    vec![
        case(
            APPLY,
            Input::json("a bad name", &document("Bad_Name", &map("a"))),
            &["metadata.name", "Bad_Name", "RFC 1123"],
        ),
        case(
            APPLY,
            Input::json(
                "a wrong type",
                &instance("bad-type", json!({"suspend": "perhaps"})),
            ),
            &["spec.suspend", "must be of type boolean"],
        ),
        case(
            APPLY,
            Input::json(
                "a word of no list",
                &instance("bad-word", json!({"deletionPolicy": "Maybe"})),
            ),
            &["spec.deletionPolicy", "Unsupported value: \"Maybe\""],
        ),
        case(
            APPLY,
            Input::json("unknown fields around the specification", &unknown),
            &["unknown field \"speck\"", "unknown field \"metadata.nom\""],
        ),
        case(
            APPLY,
            Input::json(
                "a manifest that is no object",
                &workload::definition("bad-manifest", &[json!("a")]),
            ),
            &["spec.manifests[0]", "must be of type object"],
        ),
        case(
            CREATE_AS_IT_IS,
            Input::new("a duplicate key", "WorkloadInstance", "bad-own-twice", twice),
            &["strict decoding error", "duplicate field \"spec.definition\""],
        ),
        case(
            APPLY,
            Input::yaml("an alias bomb", "bad-own-bomb", &bomb()),
            &["error parsing STDIN", "document contains excessive aliasing"],
        ),
        case(
            APPLY,
            Input::yaml("deeper than kubectl reads", "bad-own-deepest", &deep(10_001)),
            &["error parsing STDIN", "line 9: exceeded max depth of 10000"],
        ),
        case(
            CREATE,
            Input::json("10 MiB", &large),
            &["RequestEntityTooLarge", "limit is 3145728"],
        ),
        case(
            APPLY,
            Input::json("10 MiB, applied", &large),
            &["limit is 3145728|request is too large"],
        ),
    ]
}

pub(super) fn refused_by_threeport() -> Vec<ByThreeport> {
    let case = |input, code, field: &str, line| ByThreeport {
        input,
        code,
        field: field.to_owned(),
        line,
    };
    let instance =
        |what, name, definition, more: Value| Input::json(what, &workload::instance(name, definition, &more));
    // As a document of text, which has lines, and as manifests in a list.
    let text = |what, name, text: &str, field, line| {
        case(
            Input::json(what, &document(name, text)),
            Code::Invalid,
            field,
            line,
        )
    };
    let list = |what, name, manifests: &[Value], field| {
        let definition = workload::definition(name, manifests);
        case(Input::json(what, &definition), Code::Invalid, field, 0)
    };
    let one = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let kindless = json!({"apiVersion": "v1", "metadata": {"name": "b"}});
    let own = json!({"apiVersion": API_VERSION, "kind": "X", "metadata": {"name": "a"}});
    let lists = json!({"apiVersion": "v1", "kind": "List", "items": [{"kind": "List", "items": []}]});
    let within = "spec.yamlDocument";
    vec![
        case(
            instance("an unknown field", "bad-field", "bad", json!({"runtyme": "x"})),
            Code::Invalid,
            "spec.runtyme",
            0,
        ),
        case(
            instance("no definition", "bad-empty", "", json!({})),
            Code::Invalid,
            "spec.definition",
            0,
        ),
        case(
            Input::yaml("deep nesting", "bad-own-deep", &deep(2000)),
            Code::Malformed,
            &too_deep("spec.manifests[0].data", 4),
            0,
        ),
        text(
            "a duplicate key in the document",
            "bad-twice",
            &format!("{}data: {{a: b}}\ndata: {{a: c}}\n", map("a")),
            within,
            5,
        ),
        text("an alias bomb in the document", "bad-bomb", &bomb(), within, 8),
        text("deep nesting in the document", "bad-deep", &deep(2000), within, 4),
        text("a malformed document", "bad-yaml", "a: [1, 2\nb: }", within, 2),
        text(
            "one object twice",
            "bad-double",
            &format!("{0}---\n{0}", map("a")),
            within,
            5,
        ),
        text(
            "an object without a kind",
            "bad-kind",
            &format!("{}---\napiVersion: v1\nmetadata: {{name: b}}\n", map("a")),
            "spec.yamlDocument.kind",
            5,
        ),
        text(
            "a threeport object",
            "bad-own",
            "apiVersion: threeport.io/v1alpha1\nkind: X\nmetadata: {name: a}\n",
            "spec.yamlDocument.apiVersion",
            1,
        ),
        list(
            "one manifest twice",
            "bad-list-double",
            &[one.clone(), one.clone()],
            "spec.manifests[1]",
        ),
        list(
            "a manifest without a kind",
            "bad-list-kind",
            &[one, kindless],
            "spec.manifests[1].kind",
        ),
        list(
            "a threeport object as manifest",
            "bad-list-own",
            &[own],
            "spec.manifests[0].apiVersion",
        ),
        list(
            "a List in a List",
            "bad-list-list",
            &[lists],
            "spec.manifests[0].items[0]",
        ),
    ]
}
