//! Secret values are put in the place of their placeholders when an object is sent, and nowhere else. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use threeport_model::{identity::SECRET_PLACEHOLDER, manifest};

/// The object with the values behind its placeholders, or the key whose value is not known.
pub(super) fn reveal(object: &Value, values: &BTreeMap<String, String>) -> Result<Value, String> {
    let mut object = object.clone();
    if !manifest::is_secret(&object) {
        return Ok(object);
    }
    let data = object.get_mut("data").and_then(Value::as_object_mut);
    for (key, value) in data.into_iter().flatten() {
        if let Some(placeholder) = value.as_str().filter(|text| text.starts_with(SECRET_PLACEHOLDER)) {
            *value = json!(values.get(placeholder).ok_or_else(|| key.clone())?);
        }
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_placeholders_of_secrets_are_replaced() {
        let placeholder = format!("{SECRET_PLACEHOLDER}abc");
        let values = BTreeMap::from([(placeholder.clone(), "dmFsdWU=".to_owned())]);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": placeholder, "b": "Yg=="}});
        let revealed = reveal(&secret, &values).unwrap();
        assert_eq!(revealed["data"], json!({"a": "dmFsdWU=", "b": "Yg=="}));
        assert_eq!(reveal(&secret, &BTreeMap::new()), Err("a".to_owned()));
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": placeholder}});
        assert_eq!(reveal(&other, &values).unwrap(), other);
    }
}
