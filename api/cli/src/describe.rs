//! An object in full, for people: what is wanted, how it is, what it made, what happened.

use jiff::Timestamp;
use serde_json::Value;
use threeport_model::{
    KindDescriptor, Object, condition,
    kinds::event::{Event, EventType},
    protocol::inventory::InventoryRow,
};

use crate::output::{age, shown, table};

/// The most lines of a specification that are shown.
const MOST_LINES: usize = 60;

/// Everything about one object.
pub struct Description<'a> {
    /// Its kind.
    pub kind: &'a KindDescriptor,
    /// The object.
    pub object: &'a Object,
    /// What it made.
    pub resources: &'a [InventoryRow],
    /// What happened to it, newest first.
    pub events: &'a [Event],
    /// For ages.
    pub now: Timestamp,
}

impl Description<'_> {
    /// As text.
    pub fn render(&self) -> anyhow::Result<String> {
        let mut text = self.head();
        let spec = threeport_model::yaml::to_string(&self.object.spec)?;
        text.push_str(&section("Spec", &cut(&spec)));
        text.push_str(&section("Conditions", &self.conditions()));
        let status = self.rest_of_status()?;
        if !status.is_empty() {
            text.push_str(&section("Status", &cut(&status)));
        }
        if !self.resources.is_empty() {
            text.push_str(&section("Resources", &resources(self.resources)));
        }
        text.push_str(&section("Events", &events(self.events, self.now)));
        Ok(shown(&text))
    }

    fn head(&self) -> String {
        let metadata = &self.object.metadata;
        let ago = |at: Option<Timestamp>| at.map(|at| format!("{at} ({} ago)", age(at, self.now)));
        let pairs = |map: &std::collections::BTreeMap<String, String>| {
            let pairs: Vec<_> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
            (!pairs.is_empty()).then(|| pairs.join(", "))
        };
        let lines = [
            ("Name", Some(metadata.name.clone())),
            ("Kind", Some(self.kind.kind.to_owned())),
            ("Id", metadata.id.map(|id| id.to_string())),
            ("Labels", pairs(&metadata.labels)),
            ("Annotations", pairs(&metadata.annotations)),
            (
                "Managed by",
                metadata.managed_by.map(|owner| owner.as_str().to_owned()),
            ),
            (
                "Generation",
                metadata.generation.map(|generation| generation.to_string()),
            ),
            ("Created", ago(metadata.created_at)),
            (
                "Deletion",
                ago(metadata.deletion_requested_at).map(|at| format!("asked for at {at}")),
            ),
        ];
        let filled = lines.into_iter().filter_map(|(name, value)| Some((name, value?)));
        filled
            .map(|(name, value)| format!("{:<13}{value}\n", format!("{name}:")))
            .collect()
    }

    fn conditions(&self) -> String {
        let conditions = condition::of_status(&self.object.status);
        if conditions.is_empty() {
            return "none yet\n".to_owned();
        }
        let header = ["TYPE", "STATUS", "GENERATION", "SINCE", "REASON", "MESSAGE"]
            .map(str::to_owned)
            .to_vec();
        let rows = conditions.into_iter().map(|condition| {
            vec![
                condition.kind,
                condition.status.as_str().to_owned(),
                condition.observed_generation.to_string(),
                condition
                    .last_transition_time
                    .map(|at| age(at, self.now))
                    .unwrap_or_default(),
                condition.reason,
                condition.message,
            ]
        });
        table(header, rows)
    }

    fn rest_of_status(&self) -> anyhow::Result<String> {
        let Value::Object(mut status) = self.object.status.clone() else {
            return Ok(String::new());
        };
        status.remove("conditions");
        if status.is_empty() {
            Ok(String::new())
        } else {
            Ok(threeport_model::yaml::to_string(&status)?)
        }
    }
}

/// The live objects of an instance.
pub fn resources(rows: &[InventoryRow]) -> String {
    let header = ["KIND", "NAMESPACE", "NAME", "HEALTH", "MESSAGE"]
        .map(str::to_owned)
        .to_vec();
    let rows = rows.iter().map(|row| {
        let group = if row.group.is_empty() {
            String::new()
        } else {
            format!(".{}", row.group)
        };
        vec![
            format!("{}{group}", row.kind),
            row.namespace.clone(),
            row.name.clone(),
            row.observed.health.as_str().to_owned(),
            row.observed.message.clone(),
        ]
    });
    table(header, rows)
}

/// Events, newest first.
pub fn events(events: &[Event], now: Timestamp) -> String {
    if events.is_empty() {
        return "none\n".to_owned();
    }
    let header = ["LAST SEEN", "TYPE", "REASON", "COUNT", "MESSAGE"]
        .map(str::to_owned)
        .to_vec();
    let rows = events.iter().map(|event| {
        let kind = match event.kind {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        vec![
            age(event.last_seen, now),
            kind.to_owned(),
            event.reason.clone(),
            event.count.to_string(),
            event.message.clone(),
        ]
    });
    table(header, rows)
}

fn section(title: &str, body: &str) -> String {
    let indented: String = body.lines().map(|line| format!("  {line}\n")).collect();
    format!("{title}:\n{indented}")
}

fn cut(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    if lines.len() <= MOST_LINES {
        return text.to_owned();
    }
    let left = lines.len() - MOST_LINES;
    format!(
        "{}\n... {left} more lines; see all with `get -o yaml`\n",
        lines[..MOST_LINES].join("\n")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use threeport_model::find_kind;

    use super::*;

    #[test]
    fn a_description_says_what_is_wrong_and_cuts_what_is_long() {
        let kind = find_kind("tpwd").unwrap();
        let lines: String = (0..500).map(|number| format!("line {number}\n")).collect();
        let mut object = Object::new(kind.kind, "web", json!({"yamlDocument": lines}));
        object.status = json!({
            "conditions": [{"type": "Ready", "status": "False", "reason": "Failed", "message": "pod web-1: no image",
                            "observedGeneration": 2}],
            "images": [{"repository": "r", "reference": "1"}],
        });
        let note = "\u{1b}[2Jnote".to_owned();
        object.metadata.annotations.insert("note".to_owned(), note);
        let now = Timestamp::UNIX_EPOCH;
        let text = Description {
            kind,
            object: &object,
            resources: &[],
            events: &[],
            now,
        }
        .render()
        .unwrap();
        assert!(
            text.contains("pod web-1: no image") && text.contains("repository: r"),
            "{text}"
        );
        assert!(
            text.contains("more lines") && !text.contains("line 499"),
            "{text}"
        );
        assert!(text.contains("note=\\u{1b}[2Jnote"), "{text:?}");
    }
}
