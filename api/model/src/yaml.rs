//! Reading YAML and JSON that people wrote: the one reader of files, bodies and workload documents.
//!
//! Duplicate keys are refused, aliases and depth are limited, and an error names the document and the line. The
//! parser is `serde-saphyr`, chosen because it has these limits built in. Booleans and numbers are read as kubectl reads
//! them (YAML 1.1: `yes`, `on`, `y`; `0440` is octal), so that a file means the same to both.

use serde_json::Value;
use serde_saphyr::{Budget, DuplicateKeyPolicy, Options, Spanned};

use crate::{problem::FieldError, typed};

/// The deepest nesting that is accepted.
pub const MAX_DEPTH: usize = 64;
/// The most nodes (values and keys) in one text: each takes some hundred bytes of memory, however few it has itself.
pub const MAX_NODES: usize = 1_000_000;
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
            let document = line.map(|line| Starts::of(text).document_at(line));
            FieldError {
                field: String::new(),
                message,
                line,
                document,
            }
        })?;
    let starts = Starts::of(text);
    let numbered = parsed.into_iter().map(|document| {
        let line = document.referenced.line();
        Document {
            number: starts.document_at(line),
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
    typed::without_value(message.split(", set ").next().unwrap_or(message))
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
    budget.max_nodes = MAX_NODES;
    budget.max_events = 4_000_000;
    budget.max_total_scalar_bytes = 16 << 20;
    budget.max_recorded_anchor_bytes = 1 << 20;
    budget.enforce_alias_anchor_ratio = true;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    // Without it `0440`, which modes of files are written as, is the decimal 440.0.
    options.legacy_octal_numbers = true;
    options.alias_limits.max_total_replayed_events = MAX_REPLAYED;
    options.alias_limits.max_replay_stack_depth = 8;
    options
}

/// The lines, counted from one, after which a document begins that is not the first.
struct Starts(Vec<u64>);

impl Starts {
    fn of(text: &str) -> Self {
        let mut starts = Vec::new();
        let mut content = false;
        for (number, line) in (1..).zip(text.lines()) {
            if line == "---" || line.starts_with("--- ") {
                if content {
                    starts.push(number);
                }
                content = true;
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                content = true;
            }
        }
        Self(starts)
    }

    /// Which document the line is of, counted from one.
    fn document_at(&self, line: u64) -> u64 {
        let before = self.0.partition_point(|start| *start < line);
        u64::try_from(before).map_or(u64::MAX, |before| before.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{documents, to_string};

    #[test]
    fn documents_are_numbered_and_empty_ones_left_out() {
        let read = documents("---\na: 1\n---\n# nothing\n---\nb: [p, q]\n").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].value["a"], 1);
        assert_eq!(read[1].value["b"][1], "q");
        assert_eq!(read[1].line, 6);
    }

    #[test]
    fn a_mode_that_begins_with_a_zero_is_octal_as_it_is_to_kubectl() {
        let read = |text: &str| documents(&format!("mode: {text}\n")).unwrap().remove(0).value;
        for (text, value) in [
            ("0440", json!(288)),
            ("0o440", json!(288)),
            ("-010", json!(-8)),
            ("0", json!(0)),
            ("440", json!(440)),
            ("0.5", json!(0.5)),
            // No octal number, and to kubectl a decimal one, too.
            ("08", json!(8.0)),
            ("0440s", json!("0440s")),
            ("\"0440\"", json!("0440")),
            ("'0440'", json!("0440")),
            ("!!str 0440", json!("0440")),
        ] {
            assert_eq!(read(text), json!({ "mode": value }), "{text}");
        }
        // A text that looks like one is written such that it stays a text.
        for text in ["0440", "0_440", "0x_10", "-010", "08"] {
            let value = json!({ "mode": text });
            let written = to_string(&value).unwrap();
            let again: Vec<Value> = documents(&written)
                .unwrap()
                .into_iter()
                .map(|document| document.value)
                .collect();
            assert_eq!(again, [value], "{written}");
        }
    }

    /// Of as many documents as may be, in a text as long as may be, no line is counted more than once.
    #[test]
    fn numbering_costs_no_more_than_reading() {
        let comment = "#\n".repeat(2000);
        let text = format!("---\na: 1\n{comment}").repeat(super::MAX_DOCUMENTS);
        let began = std::time::Instant::now();
        let starts = super::Starts::of(&text);
        let once = began.elapsed();
        let began = std::time::Instant::now();
        let lines = (0..super::MAX_DOCUMENTS as u64).map(|index| index * 2002 + 2);
        let numbers: Vec<u64> = lines.map(|line| starts.document_at(line)).collect();
        let all = began.elapsed();
        assert_eq!(numbers, (1..=super::MAX_DOCUMENTS as u64).collect::<Vec<_>>());
        assert!(all < once, "{all:?} after {once:?}");
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
