//! The JSONPath that columns use, which is the one that CRDs take: `.a.b`, `.list[?(@.type=="Ready")].status`.

use serde_json::Value;

/// What `path` finds in `value`, as a cell of a table; empty where it finds nothing.
pub fn text(value: &Value, path: &str) -> String {
    match find(value, path) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// What `path` finds in `value`.
pub fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let Some(rest) = path.strip_prefix('.') else {
        return path.is_empty().then_some(value);
    };
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (key, rest) = rest.split_at(end);
    let value = value.get(key)?;
    let Some(filter) = rest.strip_prefix("[?(@.") else {
        return find(value, rest);
    };
    let (filter, rest) = filter.split_once(")]")?;
    let (field, wanted) = filter.split_once("==")?;
    let wanted = wanted.trim().trim_matches('"');
    let found = value
        .as_array()?
        .iter()
        .find(|item| item.get(field.trim()).and_then(Value::as_str) == Some(wanted));
    find(found?, rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::kinds;

    use super::*;

    #[test]
    fn paths_find_fields_and_filtered_items() {
        let value =
            json!({"a": {"b": 3, "c": "x"}, "list": [{"type": "A", "s": 1}, {"type": "B", "s": "two"}]});
        for (path, found) in [
            (".a.b", "3"),
            (".a.c", "x"),
            (".a.d", ""),
            (".a.c.e", ""),
            (".list[?(@.type==\"B\")].s", "two"),
            (".list[?(@.type==\"C\")].s", ""),
            (".a[?(@.type==\"B\")].s", ""),
        ] {
            assert_eq!(text(&value, path), found, "{path}");
        }
    }

    #[test]
    fn every_column_of_every_kind_can_be_read() {
        for column in kinds::ALL.iter().flat_map(|kind| kind.columns) {
            // A path that is not understood finds nothing even in an object that has everything.
            let mut value = json!({"type": "Ready", "leaf": true});
            let keys = column
                .path
                .split(['.', '['])
                .filter(|key| !key.is_empty() && !key.starts_with('?'));
            for key in keys
                .filter(|key| !key.contains('='))
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
            {
                let inner = if key == "conditions" {
                    json!([value])
                } else {
                    value
                };
                value = json!({key: inner, "type": "Ready"});
            }
            assert!(find(&value, column.path).is_some(), "{}: {value}", column.path);
        }
    }
}
