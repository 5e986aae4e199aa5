//! Takes secret values out of a specification. Pure.
//!
//! Of a `yamlDocument` only a Secret's own document is written anew (its comments go), and only where a value has to be
//! taken out; all other bytes stay. `stringData` becomes `data`, as the apiserver does it.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use threeport_model::{FieldError, identity::SECRET_PLACEHOLDER, yaml};
use zeroize::Zeroizing;

use super::seal::EncryptionKey;
use crate::document;

/// What was taken out of a specification.
#[derive(Debug, Default)]
pub(crate) struct Redacted {
    /// Values by digest.
    pub(crate) values: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// Digests of placeholders that were there already: the object must have their values.
    pub(crate) kept: BTreeMap<String, FieldError>,
}

/// Replaces the values of Secrets in `spec` by placeholders.
pub(crate) fn redact(spec: &mut Value, key: Option<&EncryptionKey>) -> Result<Redacted, Vec<FieldError>> {
    let mut work = Work {
        key,
        redacted: Redacted::default(),
        errors: Vec::new(),
    };
    if let Some(Value::Array(manifests)) = spec.get_mut("manifests") {
        for (index, manifest) in manifests.iter_mut().enumerate() {
            work.object(manifest, &FieldError::new(format!("spec.manifests[{index}]"), ""));
        }
    }
    if let Some(Value::String(text)) = spec.get_mut(document::FIELD)
        && let Some(rewritten) = work.text(text)
    {
        *text = rewritten;
    }
    if work.errors.is_empty() {
        Ok(work.redacted)
    } else {
        Err(work.errors)
    }
}

/// The digests of all placeholders in a specification.
pub(crate) fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let digests = text.split(SECRET_PLACEHOLDER).skip(1);
    digests.filter_map(|rest| rest.get(..64).filter(|digest| is_digest(digest)))
}

/// The placeholder of a digest.
pub(crate) fn placeholder(digest: &str) -> String {
    format!("{SECRET_PLACEHOLDER}{digest}")
}

fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

struct Work<'a> {
    key: Option<&'a EncryptionKey>,
    redacted: Redacted,
    errors: Vec<FieldError>,
}

impl Work<'_> {
    /// The text with its Secrets written anew, or nothing where none has to be.
    fn text(&mut self, text: &str) -> Option<String> {
        let mut result = String::with_capacity(text.len());
        let mut changed = false;
        let mut line = 0;
        for part in parts(text) {
            match self.part(part, line) {
                Some(rewritten) => {
                    changed = true;
                    result.push_str(&rewritten);
                }
                None => result.push_str(part),
            }
            line += part.lines().count() as u64;
        }
        changed.then_some(result)
    }

    fn part(&mut self, part: &str, line: u64) -> Option<String> {
        // What does not parse was refused before it came here; what has no such word, however escaped, is no Secret.
        if !part.contains("Secret") && !part.contains('\\') {
            return None;
        }
        let mut documents = yaml::documents(part).ok()?.into_iter();
        let mut document = documents.next()?;
        let place = FieldError {
            field: format!("spec.{}", document::FIELD),
            message: String::new(),
            line: Some(line + document.line),
            document: None,
        };
        if !self.object(&mut document.value, &place) {
            return None;
        }
        let written = yaml::to_string(&document.value).ok()?;
        let newline = if written.ends_with('\n') { "" } else { "\n" };
        let marker = if part.starts_with("---") { "---\n" } else { "" };
        Some(format!("{marker}{written}{newline}"))
    }

    /// Whether anything was taken out.
    fn object(&mut self, object: &mut Value, place: &FieldError) -> bool {
        let is = |kind: &str| object["kind"] == kind && object["apiVersion"] == "v1";
        if is("List") {
            let Some(Value::Array(items)) = object.get_mut("items") else {
                return false;
            };
            let mut changed = false;
            for (index, item) in items.iter_mut().enumerate() {
                let place = FieldError {
                    field: format!("{}.items[{index}]", place.field),
                    ..place.clone()
                };
                changed |= self.object(item, &place);
            }
            return changed;
        }
        is("Secret") && self.secret(object, place)
    }

    fn secret(&mut self, secret: &mut Value, place: &FieldError) -> bool {
        let Some(fields) = secret.as_object_mut() else {
            return false;
        };
        let mut changed = false;
        let mut data = Map::new();
        for field in ["data", "stringData"] {
            let values = match fields.remove(field) {
                None => continue,
                Some(Value::Null) => Map::new(),
                Some(Value::Object(values)) => values,
                Some(_) => {
                    self.error(place, field, "must be a map of strings");
                    continue;
                }
            };
            changed |= field == "stringData";
            for (name, value) in values {
                let at = format!("{field}.{name}");
                let Some(text) = (if value.is_null() { Some("") } else { value.as_str() }) else {
                    self.error(place, &at, "must be a string");
                    continue;
                };
                if let Some(digest) = text
                    .strip_prefix(SECRET_PLACEHOLDER)
                    .filter(|digest| is_digest(digest))
                {
                    let error = FieldError {
                        field: format!("{}.{at}", place.field),
                        message: "is a placeholder, but the object has no such value; write the value itself"
                            .to_owned(),
                        ..place.clone()
                    };
                    self.redacted.kept.insert(digest.to_owned(), error);
                    data.insert(name, Value::String(text.to_owned()));
                    continue;
                }
                let decoded = if field == "data" {
                    let packed: String = text
                        .chars()
                        .filter(|character| !character.is_ascii_whitespace())
                        .collect();
                    STANDARD.decode(packed).map(Zeroizing::new).ok()
                } else {
                    Some(Zeroizing::new(text.as_bytes().to_vec()))
                };
                let Some(bytes) = decoded else {
                    self.error(place, &at, "must be base64; use stringData for plain text");
                    continue;
                };
                let Some(key) = self.key else {
                    self.error(
                        place,
                        &at,
                        "can't be stored: this control plane has no encryption key",
                    );
                    continue;
                };
                changed = true;
                let digest = key.digest(&bytes);
                data.insert(name, Value::String(placeholder(&digest)));
                self.redacted.values.insert(digest, bytes);
            }
        }
        if !data.is_empty() {
            fields.insert("data".to_owned(), Value::Object(data));
        }
        changed
    }

    fn error(&mut self, place: &FieldError, field: &str, message: &str) {
        let field = format!("{}.{field}", place.field);
        self.errors.push(FieldError {
            field,
            message: message.to_owned(),
            ..place.clone()
        });
    }
}

/// The text cut before each line that starts a document. `---` at the start of a line is a marker wherever it stands:
/// YAML forbids it within scalars.
fn parts(text: &str) -> Vec<&str> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker && at > 0 {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(text.len());
    starts
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .filter(|part| !part.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> EncryptionKey {
        EncryptionKey::from_base64(&STANDARD.encode([3; 32])).unwrap()
    }

    #[test]
    fn values_of_manifests_become_placeholders() {
        let mut spec = json!({"manifests": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "plain"}},
            {"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
                 "data": {"a": "b25l", "b": "dHdv"}, "stringData": {"b": "three"}}]},
        ]});
        let redacted = redact(&mut spec, Some(&key())).unwrap();
        assert_eq!(spec["manifests"][0]["data"]["a"], "plain");
        let secret = &spec["manifests"][1]["items"][0];
        assert_eq!(secret["data"]["a"], placeholder(&key().digest(b"one")));
        assert_eq!(secret["data"]["b"], placeholder(&key().digest(b"three")));
        assert!(secret.get("stringData").is_none());
        assert_eq!(redacted.values[&key().digest(b"three")].as_slice(), b"three");
        assert!(!spec.to_string().contains("b25l"));
    }

    #[test]
    fn of_a_text_only_the_secrets_own_document_is_written_anew() {
        let before = "# about web\napiVersion: v1\nkind: ConfigMap # not a Secret\nmetadata: {name: c}\n";
        let secret =
            "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: hunter2\n";
        let after = "--- # third\napiVersion: v1\nkind: ConfigMap\nmetadata: {name:   d}\ndata:\n  x: |\n    a --- b\n";
        let mut spec = json!({"yamlDocument": format!("{before}{secret}{after}")});
        let redacted = redact(&mut spec, Some(&key())).unwrap();
        let text = spec["yamlDocument"].as_str().unwrap();
        assert!(text.starts_with(before) && text.ends_with(after), "{text}");
        assert!(
            !text.contains("hunter2") && text.contains(&placeholder(&key().digest(b"hunter2"))),
            "{text}"
        );
        assert_eq!(redacted.values.len(), 1);
        assert_eq!(placeholders(text).collect::<Vec<_>>(), [key().digest(b"hunter2")]);
        assert_eq!(yaml::documents(text).unwrap().len(), 3);
        let once = spec.clone();
        let again = redact(&mut spec, Some(&key())).unwrap();
        assert_eq!(spec, once, "what comes back changes nothing");
        assert!(again.values.is_empty() && again.kept.len() == 1);
    }

    #[test]
    fn an_escaped_kind_is_a_secret_too() {
        let text = "apiVersion: v1\nkind: \"\\x53ecret\"\nmetadata: {name: s}\nstringData: {a: hunter2}\n";
        let mut spec = json!({"yamlDocument": text});
        redact(&mut spec, Some(&key())).unwrap();
        assert!(!spec.to_string().contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_stored_is_refused_with_its_place() {
        let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data});
        let mut spec = json!({"manifests": [secret(json!({"a": "not base64!"}))]});
        let errors = redact(&mut spec, Some(&key())).unwrap_err();
        assert_eq!(errors[0].field, "spec.manifests[0].data.a");
        assert!(!errors[0].message.contains("not base64!"));
        let mut spec = json!({"yamlDocument": "a: 1\n---\napiVersion: v1\nkind: Secret\ndata: {a: [1]}\n"});
        assert_eq!(redact(&mut spec, Some(&key())).unwrap_err()[0].line, Some(3));
        let mut spec = json!({"manifests": [secret(json!({"a": "b25l"}))]});
        assert!(
            redact(&mut spec, None).unwrap_err()[0]
                .message
                .contains("encryption key")
        );
    }
}
