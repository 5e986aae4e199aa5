//! What a person or program gets when something is refused: RFC 9457 `application/problem+json` with a stable
//! code, the field, and what to do next.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why something was refused. Stable: programs branch on it. Reuse one before adding one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Code {
    /// The body is not what it says it is (JSON, YAML, UTF-8).
    Malformed,
    /// A field, parameter, header or name is wrong; see `errors`.
    Invalid,
    /// The kind or the combination is known, but not served by this version.
    NotSupported,
    /// Larger, deeper or more than the limit.
    TooLarge,
    /// The content type is not served.
    UnsupportedMediaType,
    /// No such route or object.
    NotFound,
    /// The route has no such method.
    MethodNotAllowed,
    /// The name or slot is taken.
    AlreadyExists,
    /// The state of the object, or somebody else's, stands against it.
    Conflict,
    /// The object belongs to another owner (Kubernetes, the API, the system).
    OwnedBy,
    /// Something refers to it; `referrers` says what.
    Referenced,
    /// A reference names what does not exist.
    ReferenceNotFound,
    /// A reference names what is being deleted.
    ReferenceDeleting,
    /// `If-Match` or a fence (generation, epoch, token) is out of date.
    PreconditionFailed,
    /// The same idempotency key came with another body.
    IdempotencyMismatch,
    /// No or wrong credentials.
    Unauthenticated,
    /// Known, but not allowed.
    Forbidden,
    /// Too many requests.
    TooManyRequests,
    /// The watch token is older than what is kept: list again. Of a custom resource: its object was deleted.
    Gone,
    /// A part that is needed does not answer; try again.
    Unavailable,
    /// Ours to mend; the operation id finds it in the log.
    Internal,
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldError {
    /// Where: `spec.yamlDocument`, `metadata.name`, `objects[3].spec.definition`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub message: String,
    /// 1-based line in the document that holds it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// 1-based number of the document within a multi-document YAML.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub document: Option<u64>,
}

impl FieldError {
    /// A wrong field without a place in a document.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            line: None,
            document: None,
        }
    }

    /// The same error, seen from further out: `prefix.field`.
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => prefix.to_owned(),
            field if field.starts_with('[') => format!("{prefix}{field}"),
            field => format!("{prefix}.{field}"),
        };
        self
    }
}

/// The body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `https://threeport.io/problems/<code>`: a name, not an address.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code as words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed, on what, why.
    pub detail: String,
    /// Stable, for programs.
    pub code: Code,
    /// Each wrong field.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub errors: Vec<FieldError>,
    /// What to do next.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub next: String,
    /// Finds this very request in the log.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub operation_id: String,
    /// `Kind/name` of what refers to the object, or of what belongs to another owner.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub referrers: Vec<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}: {}", self.code, self.detail)?;
        for error in &self.errors {
            write!(formatter, "\n  {}", error.field)?;
            if let Some(document) = error.document {
                write!(formatter, ", document {document}")?;
            }
            if let Some(line) = error.line {
                write!(formatter, ", line {line}")?;
            }
            write!(formatter, ": {}", error.message)?;
        }
        if !self.next.is_empty() {
            write!(formatter, "\n  next: {}", self.next)?;
        }
        if !self.operation_id.is_empty() {
            write!(formatter, "\n  operation: {}", self.operation_id)?;
        }
        Ok(())
    }
}
