//! Reading YAML and JSON that people wrote: the one reader of files, bodies and workload documents.
//!
//! Duplicate keys are refused, aliases and depth are limited, and an error names the document and the line. The
//! parser is `serde-saphyr`, chosen because it has these limits built in. Booleans are read as kubectl reads them
//! (YAML 1.1: `yes`, `on`, `y`), so that a file means the same to both.

use serde_json::Value;
use serde_saphyr::{Budget, DuplicateKeyPolicy, Options, Spanned};

use crate::problem::FieldError;

/// The deepest nesting that is accepted.
pub const MAX_DEPTH: usize = 64;
/// The most nodes that aliases may stand for in all: a bomb is refused before it costs a tenth of a second.
const MAX_REPLAYED: usize = 20_000;
/// The most documents in one text.
pub const MAX_DOCUMENTS: usize = 2000;

/// One document of a multi-document text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// 1-based position.
    pub number: u64,
    /// 1-based line of its first node.
    pub line: u64,
    /// What it says.
    pub value: Value,
}

/// The documents of `text`, empty ones left out.
pub fn documents(text: &str) -> Result<Vec<Document>, FieldError> {
    let parsed: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| {
            let line = error.location().map(|location| location.line());
            let message = plain(&error.without_snippet().to_string());
            let document = line.map(|line| document_at(text, line));
            FieldError {
                field: String::new(),
                message,
                line,
                document,
            }
        })?;
    let numbered = parsed.into_iter().map(|document| {
        let line = document.referenced.line();
        Document {
            number: document_at(text, line),
            line,
            value: document.value,
        }
    });
    let documents: Vec<Document> = numbered.filter(|document| !document.value.is_null()).collect();
    // Only an escape or a tag (`!!binary`) can make one.
    if text.contains(['\\', '!'])
        && let Some(found) = documents.iter().find(|document| holds_nul(&document.value))
    {
        return Err(FieldError {
            field: String::new(),
            message: "holds a NUL character".to_owned(),
            line: Some(found.line),
            document: Some(found.number),
        });
    }
    Ok(documents)
}

/// No database keeps a NUL in text, and Kubernetes has no use for one.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// What is wrong, without the place (which an error has as fields) and without advice to programmers.
fn plain(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    message.split(", set ").next().unwrap_or(message).to_owned()
}

/// `value` as YAML.
pub fn to_string(value: &impl serde::Serialize) -> Result<String, serde_saphyr::SerializeError> {
    serde_saphyr::to_string(value)
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.max_documents = MAX_DOCUMENTS;
    budget.max_aliases = 1000;
    budget.max_anchors = 1000;
    budget.max_nodes = 1_000_000;
    budget.max_events = 4_000_000;
    budget.max_total_scalar_bytes = 16 << 20;
    budget.max_recorded_anchor_bytes = 1 << 20;
    budget.enforce_alias_anchor_ratio = true;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.alias_limits.max_total_replayed_events = MAX_REPLAYED;
    options.alias_limits.max_replay_stack_depth = 8;
    options
}

fn document_at(text: &str, line: u64) -> u64 {
    let before = text
        .lines()
        .take(usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1));
    let mut count = 1;
    let mut content = false;
    for line in before {
        if line == "---" || line.starts_with("--- ") {
            count += u64::from(content);
            content = true;
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            content = true;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::documents;

    #[test]
    fn documents_are_numbered_and_empty_ones_left_out() {
        let read = documents("---\na: 1\n---\n# nothing\n---\nb: [p, q]\n").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].value["a"], 1);
        assert_eq!(read[1].value["b"][1], "q");
        assert_eq!(read[1].line, 6);
    }

    #[test]
    fn a_duplicate_key_is_refused_with_its_line() {
        let error = documents("a: 1\n---\nb: 1\nb: 2\n").unwrap_err();
        assert_eq!(error.line, Some(4), "{error:?}");
        assert_eq!(error.document, Some(2), "{error:?}");
    }

    #[test]
    fn a_nul_is_refused_with_its_document() {
        for text in [
            "a: 1\n---\nb: [\"x\\0y\"]\n",
            "a: 1\n---\n\"b\\x00\": 1\n",
            "a: 1\n---\nb: !!binary AA==\n",
        ] {
            match documents(text) {
                Err(error) => assert_eq!((error.line, error.document), (Some(3), Some(2)), "{text}"),
                Ok(read) => panic!("{text}: {read:?}"),
            }
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let previous = level - 1;
            let list = vec![format!("*a{previous}"); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        assert!(documents(&bomb).is_err());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(documents(&deep).is_err());
    }
}
