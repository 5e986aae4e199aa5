//! Selectors of labels, in Kubernetes' syntax.
//!
//! What not to do: don't write a second parser; `tptctl --selector`, the API's `labelSelector` and the facade's
//! `--mirror-selector` take the same.

use std::{collections::BTreeMap, str::FromStr};

/// `app=web,tier!=db,env in (a, b),!legacy,team`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// What is asked of one label. All of a selector's must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// It is there and has one of the values.
    In(String, Vec<String>),
    /// It has none of the values, or is not there.
    NotIn(String, Vec<String>),
    /// It is there.
    Exists(String),
    /// It is not there.
    Absent(String),
}

/// The most requirements in one selector.
const MOST: usize = 32;
/// The most values in all of them.
const MOST_VALUES: usize = 256;

impl LabelSelector {
    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// What is asked, in the order in which it was written.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

impl Requirement {
    fn values(&self) -> usize {
        match self {
            Self::In(_, values) | Self::NotIn(_, values) => values.len(),
            Self::Exists(_) | Self::Absent(_) => 0,
        }
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for part in split(text) {
            requirements.push(requirement(part)?);
        }
        if requirements.len() > MOST {
            return Err(format!(
                "has {} requirements, more than {MOST}",
                requirements.len()
            ));
        }
        let values: usize = requirements.iter().map(Requirement::values).sum();
        if values > MOST_VALUES {
            return Err(format!("has {values} values, more than {MOST_VALUES}"));
        }
        Ok(Self { requirements })
    }
}

/// A selector's parts: cut at commas outside of parentheses.
pub fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let parts = text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn requirement(part: &str) -> Result<Requirement, String> {
    let wrong = || {
        format!(
            "{part:?} is not a requirement; write key=value, key!=value, key in (a,b), key notin (a,b), key or !key"
        )
    };
    if let Some(name) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(key(name).ok_or_else(wrong)?));
    }
    if let Some(list) = part.strip_suffix(')') {
        let (head, values) = list.split_once('(').ok_or_else(wrong)?;
        let values: Vec<String> = values.split(',').map(value).collect::<Result<_, _>>()?;
        let mut words = head.split_whitespace();
        let name = words.next().and_then(key).ok_or_else(wrong)?;
        return match (words.next(), words.next()) {
            (Some("in"), None) => Ok(Requirement::In(name, values)),
            (Some("notin"), None) => Ok(Requirement::NotIn(name, values)),
            _ => Err(wrong()),
        };
    }
    if let Some((name, text)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(
            key(name).ok_or_else(wrong)?,
            vec![value(text)?],
        ));
    }
    if let Some((name, text)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(key(name).ok_or_else(wrong)?, vec![value(text)?]));
    }
    Ok(Requirement::Exists(key(part).ok_or_else(wrong)?))
}

fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
    (!text.is_empty() && text.chars().all(allowed)).then(|| text.to_owned())
}

/// A label's value: of the characters that one can have, or empty.
fn value(text: &str) -> Result<String, String> {
    let text = text.trim();
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} can't be the value of a label"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kubernetes_reads_them() {
        let labels: BTreeMap<String, String> = [("app", "web"), ("env", "b"), ("owned", "")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,env!=a", true),
            ("app==web, owned", true),
            ("app!=web", false),
            ("env in (a, b),app", true),
            ("env notin (a, b)", false),
            ("!legacy", true),
            ("app=web,!legacy", true),
            ("!app", false),
            ("!owned", false),
            ("tier!=db", true),
            ("tier=db", false),
            ("example.com/x notin (1)", true),
        ] {
            assert_eq!(
                text.parse::<LabelSelector>().unwrap().matches(&labels),
                expected,
                "{text}"
            );
        }
        let many = format!("a in ({})", ",".repeat(MOST_VALUES));
        for wrong in [
            "=x",
            "a in b",
            "a b",
            "a in (x",
            "a in (x y)",
            "!",
            "a;b",
            "a=\0",
            "a!=b c",
            "a notin (\0)",
            &many,
        ] {
            assert!(wrong.parse::<LabelSelector>().is_err(), "{wrong}");
        }
    }
}
