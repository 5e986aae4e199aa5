//! Requests that are wrong whatever their body is: content type, query, path, and what they refer to.

use threeport_model::Code;

use crate::{
    APPLY, Case, INSTANCES, INVALID, JSON, MALFORMED, NOT_ALLOWED, NOT_FOUND, RUNTIMES, TOO_LARGE,
    UNSUPPORTED, case,
    text::{envelope, numbers, runtime},
};

#[rustfmt::skip]
pub(crate) fn requests() -> Vec<Case> {
    let good = || runtime(r#"{"name": "a"}"#);
    vec![
        case("no content type", ("POST", RUNTIMES, ""), good(), UNSUPPORTED, "", 0),
        case("another content type", ("POST", RUNTIMES, "text/plain"), good(), UNSUPPORTED, "", 0),
        case("another charset", ("POST", RUNTIMES, "application/json; charset=latin1"), good(), UNSUPPORTED, "", 0),
        case("a patch as JSON", ("PATCH", "/v1alpha1/kubernetesruntimedefinitions/local", JSON), "{}", UNSUPPORTED, "", 0),
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
        case("no such kind", ("GET", "/v1alpha1/nonsense", ""), "", NOT_FOUND, "", 0),
        case("no such object", ("GET", "/v1alpha1/workloadinstances/nobody", ""), "", NOT_FOUND, "", 0),
        case("no such route", ("GET", "/v2/x", ""), "", NOT_FOUND, "", 0),
        case("no such method", ("DELETE", APPLY, ""), "", NOT_ALLOWED, "", 0),
        case("an invented method", ("FETCH", INSTANCES, ""), "", NOT_ALLOWED, "", 0),
        case("another name than the path's", ("PUT", "/v1alpha1/kubernetesruntimedefinitions/b", JSON), good(), INVALID, "metadata.name", 0),
        case("replacing nothing", ("PUT", "/v1alpha1/kubernetesruntimedefinitions/a", JSON), good(), NOT_FOUND, "", 0),
        case("an unknown reference", ("POST", INSTANCES, JSON), envelope("WorkloadInstance", r#"{"name": "a"}"#, r#"{"definition": "none"}"#), (422, Code::ReferenceNotFound), "spec.definition", 0),
        case("an id that is none", ("GET", "/v1alpha1/operations/x", ""), "", INVALID, "id", 0),
        // A field that is not known is taken here: controllers may be newer than the API (threeport_model::protocol).
        case("a wrong type in a protocol", ("POST", "/v1alpha1/claims", JSON), r#"{"holder": 1, "kinds": [], "limit": 1, "ttlSeconds": 10}"#, INVALID, "holder", 0),
        case("too many claims", ("POST", "/v1alpha1/claims", JSON), r#"{"holder": "a", "kinds": [], "limit": 65, "ttlSeconds": 10}"#, TOO_LARGE, "", 0),
        case("a claim for a day", ("POST", "/v1alpha1/claims", JSON), r#"{"holder": "a", "kinds": [], "limit": 1, "ttlSeconds": 86400}"#, INVALID, "ttlSeconds", 0),
        case("half an apply", ("POST", APPLY, JSON), format!("[{}, {}]", good(), runtime(r#"{"name": "B"}"#)), INVALID, "objects[1].metadata.name", 0),
        case("an apply of nothing", ("POST", APPLY, JSON), "[]", MALFORMED, "", 0),
        case("an apply of more than there may be, none an object", ("POST", APPLY, JSON), format!("[{}]", numbers(1001)), TOO_LARGE, "", 0),
        case("a bad dryRun", ("POST", "/v1alpha1/apply?dryRun=maybe", JSON), good(), INVALID, "dryRun", 0),
        many_values(),
    ]
}

/// More values than a statement takes parameters.
fn many_values() -> Case {
    Case {
        path: format!("{INSTANCES}?labelSelector=a%20in%20({})", ",".repeat(20_000)),
        ..case(
            "a selector of 20,000 values",
            ("GET", INSTANCES, ""),
            "",
            INVALID,
            "labelSelector",
            0,
        )
    }
}
