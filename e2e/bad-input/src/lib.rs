//! Requests that the API must refuse, and what each must be answered: status, code, the first wrong field and its line.
//! The tests of `api/server` ask its router, a story asks the API that is installed. Nothing of it may be stored.
//!
//! Each case is a line of a table: what it is, the request, its body, what must be answered.

mod bodies;
mod documents;
mod requests;
pub mod text;

use threeport_model::{Code, Problem};

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const DEFINITIONS: &str = "/v1alpha1/workloaddefinitions";
const INSTANCES: &str = "/v1alpha1/workloadinstances";
const RUNTIMES: &str = "/v1alpha1/kubernetesruntimedefinitions";
const APPLY: &str = "/v1alpha1/apply";

const MALFORMED: (u16, Code) = (400, Code::Malformed);
const NOT_FOUND: (u16, Code) = (404, Code::NotFound);
const NOT_ALLOWED: (u16, Code) = (405, Code::MethodNotAllowed);
const TOO_LARGE: (u16, Code) = (413, Code::TooLarge);
const UNSUPPORTED: (u16, Code) = (415, Code::UnsupportedMediaType);
const INVALID: (u16, Code) = (422, Code::Invalid);
const NOT_SUPPORTED: (u16, Code) = (422, Code::NotSupported);

/// A request that an administrator sends, and what it must be answered.
pub struct Case {
    /// What is bad about it.
    pub name: &'static str,
    /// As in `POST`.
    pub method: &'static str,
    /// With its query.
    pub path: String,
    /// None where it is empty.
    pub content_type: &'static str,
    /// None where it is empty.
    pub body: Vec<u8>,
    status: u16,
    code: Code,
    field: String,
    line: u64,
}

/// Method, path and content type.
type Request = (&'static str, &'static str, &'static str);

/// A field that is not named is empty, a line that is not named 0.
fn case(
    name: &'static str,
    (method, path, content_type): Request,
    body: impl Into<Vec<u8>>,
    (status, code): (u16, Code),
    field: impl Into<String>,
    line: u64,
) -> Case {
    Case {
        name,
        method,
        path: path.to_owned(),
        content_type,
        body: body.into(),
        status,
        code,
        field: field.into(),
        line,
    }
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = bodies::bodies();
    cases.extend(documents::documents());
    cases.extend(documents::manifests());
    cases.extend(requests::requests());
    cases
}

impl Case {
    /// Fails unless it was answered as it must be, with all that a person needs to go on.
    pub fn check(&self, status: u16, text: &str) -> Result<(), String> {
        let wrong = |why: String| Err(format!("{}: {why}: {status} {text}", self.name));
        let problem: Problem = match serde_json::from_str(text) {
            Ok(problem) => problem,
            Err(error) => return wrong(format!("it is no problem ({error})")),
        };
        let first = problem.errors.first();
        let said = (
            status,
            problem.code,
            first.map_or("", |first| first.field.as_str()),
            first.and_then(|first| first.line).unwrap_or_default(),
        );
        let expected = (self.status, self.code, self.field.as_str(), self.line);
        if said != expected {
            return wrong(format!("it is not {expected:?}"));
        }
        let told = [&problem.detail, &problem.next, &problem.operation_id];
        if problem.status != status || told.iter().any(|text| text.is_empty()) {
            return wrong("it is not complete".to_owned());
        }
        Ok(())
    }
}
