//! docs/reference/chart.md: every value with its default, what is allowed and what it is for, from the two files that say
//! so. The comments of values.yaml become text, so each has to stand right above what it is about.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const INTRODUCTION: &str = "# The chart's values\n\nGenerated from `helm/threeport/values.yaml` and \
                            `values.schema.json`, which refuses every other value. See also \
                            [how to expose the API](../how-to/expose-the-api.md) and [how to use an external \
                            PostgreSQL](../how-to/external-postgresql.md).\n";

/// A line of values.yaml that has a key, with the comment above it.
struct Entry<'a> {
    path: Vec<&'a str>,
    comment: String,
}

/// The reference as Markdown.
pub fn reference(values: &str, schema: &Value) -> Result<String> {
    let defaults: Value = serde_saphyr::from_str(values).context("failed to parse values.yaml")?;
    let mut text = INTRODUCTION.to_owned();
    for entry in entries(values)? {
        let pointer = format!("/{}", entry.path.join("/"));
        let default = defaults
            .pointer(&pointer)
            .with_context(|| format!("{pointer} has no value"))?;
        let rule = rule(schema, &entry.path)?;
        let is_section = entry.path.len() == 1;
        if is_section {
            writeln!(text, "\n## {}\n", entry.path[0])?;
            if !entry.comment.is_empty() {
                writeln!(text, "{}\n", entry.comment)?;
            }
            writeln!(
                text,
                "| value | default | allowed | what it is |\n| --- | --- | --- | --- |"
            )?;
        }
        if is_leaf(default, rule) {
            let what = if is_section { "" } else { &entry.comment };
            let allowed = allowed(rule, schema);
            let row = format!("| `{}` | `{default}` | {allowed} | {what}", entry.path.join("."));
            writeln!(text, "{} |", row.trim_end())?;
        } else if !is_section && !entry.comment.is_empty() {
            writeln!(text, "| `{}` | | | {} |", entry.path.join("."), entry.comment)?;
        }
    }
    Ok(text)
}

/// The keys of a block-style YAML file in order. Its first comment is the file's own.
fn entries(values: &str) -> Result<Vec<Entry<'_>>> {
    let mut found = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut comment = String::new();
    for line in values.lines() {
        let content = line.trim_start();
        let depth = (line.len() - content.len()) / 2;
        if content.is_empty() {
            comment.clear();
        } else if let Some(words) = content.strip_prefix('#') {
            let separator = if comment.is_empty() { "" } else { " " };
            comment = format!("{comment}{separator}{}", words.trim());
        } else {
            let (key, _) = content
                .split_once(':')
                .with_context(|| format!("{line:?} has no key"))?;
            ensure!(depth <= path.len(), "{line:?} is indented too far");
            path.truncate(depth);
            path.push(key);
            found.push(Entry {
                path: path.clone(),
                comment: std::mem::take(&mut comment).replace('|', "\\|"),
            });
        }
    }
    Ok(found)
}

/// What the schema says of a value.
fn rule<'a>(schema: &'a Value, path: &[&str]) -> Result<&'a Value> {
    let mut rule = schema;
    for name in path {
        rule = &resolve(rule, schema)["properties"][name];
        ensure!(rule.is_object(), "{} is not in the schema", path.join("."));
    }
    Ok(rule)
}

fn resolve<'a>(rule: &'a Value, schema: &'a Value) -> &'a Value {
    let target = rule["$ref"]
        .as_str()
        .map(|reference| reference.trim_start_matches('#'));
    target.and_then(|pointer| schema.pointer(pointer)).unwrap_or(rule)
}

/// Whether a row shows it: what has fields of its own is shown by theirs, but for free-form maps and resources.
fn is_leaf(default: &Value, rule: &Value) -> bool {
    default.as_object().is_none_or(serde_json::Map::is_empty)
        || rule["additionalProperties"].is_object()
        || is_resources(rule)
}

fn is_resources(rule: &Value) -> bool {
    rule["$ref"]
        .as_str()
        .is_some_and(|name| name.ends_with("/quantities"))
}

/// A rule in words.
fn allowed(rule: &Value, schema: &Value) -> String {
    let named = rule["$ref"].as_str().and_then(|name| name.rsplit('/').next());
    let rule = resolve(rule, schema);
    if named == Some("quantities") {
        return "`cpu`, `memory`, `ephemeral-storage`".to_owned();
    }
    if let Some(description) = rule["description"].as_str() {
        return description.to_owned();
    }
    if let Some(choices) = rule["enum"].as_array() {
        let choices = choices
            .iter()
            .filter_map(Value::as_str)
            .map(|choice| format!("`{choice}`"));
        return choices.collect::<Vec<_>>().join(", ");
    }
    let kind = match &rule["type"] {
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" or "),
        kind => kind.as_str().unwrap_or_default().to_owned(),
    };
    let bounds = match (rule["minimum"].as_i64(), rule["maximum"].as_i64()) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) => format!(", at least {least}"),
        _ => String::new(),
    };
    let pattern = rule["pattern"]
        .as_str()
        .map(|pattern| pattern.replace('|', "\\|"));
    let pattern = pattern
        .map(|pattern| format!(" like `{pattern}`"))
        .unwrap_or_default();
    format!("{kind}{bounds}{pattern}")
}
