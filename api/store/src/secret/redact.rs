//! Takes secret values out of a specification. Pure.
//!
//! What is a Secret is decided on what the parser reads, by the very rules by which the objects are applied later
//! (`model::manifest`); how a text is cut never decides it. Of a `yamlDocument` only the documents of a part with a
//! Secret are written anew (their comments go), and only where a value has to be taken out; all other bytes stay. What
//! came out is read again and must say the same: else all of it is written anew. `stringData` becomes `data`, as the
//! apiserver does it, and what kubectl remembers of a Secret in an annotation goes.
//!
//! Last of all [`leaks`] looks at the result, and what still has a value in clear is refused.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use threeport_model::{
    FieldError,
    identity::{LAST_APPLIED, SECRET_PLACEHOLDER},
    manifest, yaml,
};
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
    let mut work = Work::new(key);
    if let Some(Value::Array(manifests)) = spec.get_mut("manifests") {
        for (index, object) in manifests.iter_mut().enumerate() {
            let place = FieldError::new(format!("spec.manifests[{index}]"), "");
            work.object(object, &place);
            work.check(object, &place);
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

/// The digest, where the text is a placeholder and nothing else.
fn digest_of(text: &str) -> Option<&str> {
    text.strip_prefix(SECRET_PLACEHOLDER)
        .filter(|digest| is_digest(digest))
}

fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether a Secret in `object` has a value that is no placeholder.
fn leaks(object: &Value) -> bool {
    if manifest::is_list(object) {
        return object["items"]
            .as_array()
            .is_some_and(|items| items.iter().any(leaks));
    }
    if !manifest::is_secret(object) {
        return false;
    }
    let is_placeholder = |value: &Value| value.as_str().is_some_and(|text| digest_of(text).is_some());
    let redacted = match &object["data"] {
        Value::Null => true,
        Value::Object(data) => data.values().all(is_placeholder),
        _ => false,
    };
    !redacted || !object["stringData"].is_null() || !object["metadata"]["annotations"][LAST_APPLIED].is_null()
}

/// Whether a text may hold a Secret at all. What is neither written out nor escaped (`\x53ecret`) nor tagged
/// (`!!binary U2VjcmV0`) is none.
fn may_hold_secret(text: &str) -> bool {
    text.contains("Secret") || text.contains(['\\', '!'])
}

struct Work<'a> {
    key: Option<&'a EncryptionKey>,
    redacted: Redacted,
    errors: Vec<FieldError>,
}

impl<'a> Work<'a> {
    fn new(key: Option<&'a EncryptionKey>) -> Self {
        Self {
            key,
            redacted: Redacted::default(),
            errors: Vec::new(),
        }
    }

    /// The text with its Secrets written anew, or nothing where none has to be.
    fn text(&mut self, text: &str) -> Option<String> {
        if !may_hold_secret(text) {
            return None;
        }
        let field = format!("spec.{}", document::FIELD);
        let documents = match yaml::documents(text) {
            Ok(documents) => documents,
            Err(error) => {
                self.errors.push(error.within(&field));
                return None;
            }
        };
        let mut values = Vec::with_capacity(documents.len());
        let mut changed = false;
        for mut document in documents {
            let place = FieldError {
                line: Some(document.line),
                document: Some(document.number),
                ..FieldError::new(&field, "")
            };
            changed |= self.object(&mut document.value, &place);
            self.check(&document.value, &place);
            values.push(document.value);
        }
        if !changed || !self.errors.is_empty() {
            return None;
        }
        let candidates = [self.by_parts(text), written(values.iter(), true)];
        let rewritten = candidates
            .into_iter()
            .flatten()
            .find(|candidate| says(candidate, &values));
        if rewritten.is_none() {
            let message =
                "holds a Secret in a form that can't be kept without its values; write it in `manifests`";
            self.errors.push(FieldError::new(field, message));
        }
        rewritten
    }

    /// The text with only those parts written anew in which something has to be taken out.
    fn by_parts(&self, text: &str) -> Option<String> {
        let mut result = String::with_capacity(text.len());
        for part in parts(text) {
            if !may_hold_secret(part) {
                result.push_str(part);
                continue;
            }
            let mut work = Work::new(self.key);
            let mut changed = false;
            let mut documents = yaml::documents(part).ok()?;
            for document in &mut documents {
                changed |= work.object(&mut document.value, &FieldError::new("", ""));
            }
            if changed {
                let values = documents.iter().map(|document| &document.value);
                result.push_str(&written(values, part.starts_with("---"))?);
            } else {
                result.push_str(part);
            }
        }
        Some(result)
    }

    /// Whether anything was taken out.
    fn object(&mut self, object: &mut Value, place: &FieldError) -> bool {
        if manifest::is_list(object) {
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
        if !manifest::is_secret(object) {
            return false;
        }
        let before = object.clone();
        self.secret(object, place);
        *object != before
    }

    fn secret(&mut self, secret: &mut Value, place: &FieldError) {
        let Some(fields) = secret.as_object_mut() else {
            return;
        };
        forget_last_applied(fields);
        let mut data = fields.contains_key("data").then(Map::new);
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
            for (name, value) in values {
                let at = format!("{field}.{name}");
                if let Some(value) = self.value(field, &value, place, &at) {
                    data.get_or_insert_default().insert(name, Value::String(value));
                }
            }
        }
        if let Some(data) = data {
            fields.insert("data".to_owned(), Value::Object(data));
        }
    }

    /// The placeholder of a value of `data` or `stringData`; nothing where the value can't be taken.
    fn value(&mut self, field: &str, value: &Value, place: &FieldError, at: &str) -> Option<String> {
        let text = if value.is_null() { Some("") } else { value.as_str() };
        let Some(text) = text else {
            self.error(place, at, "must be a string");
            return None;
        };
        if let Some(digest) = digest_of(text) {
            let error = FieldError {
                field: format!("{}.{at}", place.field),
                message: "is a placeholder, but the object has no such value; write the value itself"
                    .to_owned(),
                ..place.clone()
            };
            self.redacted.kept.insert(digest.to_owned(), error);
            return Some(text.to_owned());
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
            self.error(place, at, "must be base64; use stringData for plain text");
            return None;
        };
        let Some(key) = self.key else {
            self.error(
                place,
                at,
                "can't be stored: this control plane has no encryption key",
            );
            return None;
        };
        let digest = key.digest(&bytes);
        let placeholder = placeholder(&digest);
        self.redacted.values.insert(digest, bytes);
        Some(placeholder)
    }

    /// Refuses what still has a value in clear: nothing should, whatever it looks like.
    fn check(&mut self, object: &Value, place: &FieldError) {
        if self.errors.is_empty() && leaks(object) {
            let message =
                "holds a value of a Secret that can't be taken out; write the Secret as a plain object";
            self.errors.push(FieldError {
                message: message.to_owned(),
                ..place.clone()
            });
        }
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

/// Takes away what kubectl keeps of the object as it was applied last.
fn forget_last_applied(fields: &mut Map<String, Value>) {
    let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    if annotations.remove(LAST_APPLIED).is_some() && annotations.is_empty() {
        metadata.remove("annotations");
    }
}

/// Documents as one text; the first with a marker before it where that is wanted.
fn written<'v>(values: impl Iterator<Item = &'v Value>, marked: bool) -> Option<String> {
    let mut result = String::new();
    for (index, value) in values.enumerate() {
        if index > 0 || marked {
            result.push_str("---\n");
        }
        result.push_str(&yaml::to_string(value).ok()?);
        if !result.ends_with('\n') {
            result.push('\n');
        }
    }
    Some(result)
}

/// Whether a text is read as exactly these documents.
fn says(text: &str, values: &[Value]) -> bool {
    yaml::documents(text).is_ok_and(|documents| documents.iter().map(|document| &document.value).eq(values))
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

    /// However it is written: the value goes, and what stands beside it stays.
    #[test]
    fn a_secret_is_found_in_every_form_in_which_it_is_applied() {
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: stays}\n";
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: hunter2}\n";
        let escaped = secret.replace("Secret", "\"\\x53ecret\"");
        let binary = secret.replace("Secret", "!!binary U2VjcmV0");
        let item = "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: hunter2}}";
        let annotated = secret.replace(
            "name: s",
            "name: s, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"a\": \"hunter2\"}'}",
        );
        for (name, text) in [
            ("escaped", format!("{map}---\n{escaped}")),
            ("tagged", format!("{map}---\n{binary}")),
            (
                "a List without apiVersion",
                format!("{map}---\nkind: List\nitems: [{item}]\n"),
            ),
            (
                "a List",
                format!("{map}---\napiVersion: v1\nkind: List\nitems: [{item}]\n"),
            ),
            ("after an end", format!("{map}...\n{secret}")),
            ("before an end", format!("{secret}...\n{map}")),
            ("lone CR", format!("{map}---\n{secret}").replace('\n', "\r")),
            (
                "lone CR, first",
                format!("{secret}---\n{map}").replace('\n', "\r"),
            ),
            ("CRLF", format!("{map}---\n{secret}").replace('\n', "\r\n")),
            (
                "an alias",
                format!("{map}---\nx: &k Secret\n{}", secret.replace("Secret", "*k")),
            ),
            ("in an annotation", format!("{map}---\n{annotated}")),
        ] {
            let read = |spec: &Value| yaml::documents(spec["yamlDocument"].as_str().unwrap()).unwrap();
            let mut spec = json!({"yamlDocument": text});
            let before = read(&spec).len();
            let redacted =
                redact(&mut spec, Some(&key())).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
            let after = read(&spec);
            assert!(!spec.to_string().contains("hunter2"), "{name}: {spec}");
            assert_eq!(after.len(), before, "{name}: {spec}");
            assert!(
                after
                    .iter()
                    .any(|document| document.value["data"]["a"] == "stays"),
                "{name}: {spec}"
            );
            assert_eq!(redacted.values.len(), 1, "{name}");
        }
    }

    #[test]
    fn what_still_has_a_value_in_clear_is_seen() {
        let secret = |fields: Value| {
            let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
            secret
                .as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            secret
        };
        let hidden = placeholder(&"0".repeat(64));
        assert!(!leaks(&secret(json!({"data": {"a": hidden}}))));
        for fields in [
            json!({"data": {"a": "b25l"}}),
            json!({"data": {"a": format!("{hidden} and more")}}),
            json!({"data": "b25l"}),
            json!({"stringData": {"a": hidden}}),
            json!({"metadata": {"annotations": {LAST_APPLIED: "{}"}}}),
        ] {
            assert!(leaks(&secret(fields.clone())), "{fields}");
            assert!(leaks(&json!({"kind": "List", "items": [secret(fields)]})));
        }
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
