//! Selectors, in Kubernetes' syntax. Pure.

use std::str::FromStr;

use threeport_model::{ManagedBy, name};

use crate::sql::Sql;

/// `app=web,tier!=db,env in (a, b),!legacy,team`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// `metadata.name=web,metadata.managedBy=api`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    pub(crate) name: Option<String>,
    pub(crate) managed_by: Option<ManagedBy>,
}

/// The most requirements in one selector.
const MOST: usize = 32;
/// The most values in all of them.
const MOST_VALUES: usize = 256;

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

/// Cut at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
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

impl LabelSelector {
    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }

    /// Splits off one `key = value`, by which an index can be walked.
    pub(crate) fn driver(&self) -> (Option<(&str, &str)>, impl Iterator<Item = &Requirement>) {
        let index = self
            .requirements
            .iter()
            .position(|found| matches!(found, Requirement::In(_, values) if values.len() == 1));
        let driver = index.and_then(|index| match &self.requirements[index] {
            Requirement::In(key, values) => values.first().map(|value| (key.as_str(), value.as_str())),
            _ => None,
        });
        let rest = self
            .requirements
            .iter()
            .enumerate()
            .filter(move |(found, _)| Some(*found) != index);
        (driver, rest.map(|(_, requirement)| requirement))
    }
}

impl Requirement {
    fn values(&self) -> usize {
        match self {
            Self::In(_, values) | Self::NotIn(_, values) => values.len(),
            Self::Exists(_) | Self::Absent(_) => 0,
        }
    }

    /// Appends the condition on `o`.
    pub(crate) fn push(&self, sql: &mut Sql) {
        let (negated, key, values) = match self {
            Self::In(key, values) => ("", key, Some(values)),
            Self::NotIn(key, values) => ("NOT ", key, Some(values)),
            Self::Exists(key) => ("", key, None),
            Self::Absent(key) => ("NOT ", key, None),
        };
        sql.push(&format!(
            " AND {negated}EXISTS (SELECT 1 FROM label x WHERE x.object_id = o.id AND x.label_key = "
        ));
        sql.bind(key.clone());
        if let Some(values) = values {
            sql.push(" AND x.label_value IN ").list(values);
        }
        sql.push(")");
    }
}

impl FieldSelector {
    /// Whether an object of that name and owner is selected.
    pub fn matches(&self, name: &str, managed_by: ManagedBy) -> bool {
        self.name.as_deref().is_none_or(|wanted| wanted == name)
            && self.managed_by.is_none_or(|wanted| wanted == managed_by)
    }
}

impl FromStr for FieldSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut selector = Self::default();
        for part in split(text) {
            let (field, value) = part
                .split_once("==")
                .or_else(|| part.split_once('='))
                .ok_or_else(|| {
                    format!(
                        "{part:?} is not a requirement; write metadata.name=value or metadata.managedBy=value"
                    )
                })?;
            match field.trim() {
                "metadata.name" => {
                    let value = value.trim();
                    if let Some(problem) = name::problem(value) {
                        return Err(format!("metadata.name {value:?} {problem}"));
                    }
                    selector.name = Some(value.to_owned());
                }
                "metadata.managedBy" => {
                    let owner = ManagedBy::from_word(value.trim());
                    selector.managed_by =
                        Some(owner.ok_or("metadata.managedBy is api, kubernetes or system")?);
                }
                other => {
                    return Err(format!(
                        "{other:?} can't be selected; metadata.name and metadata.managedBy can"
                    ));
                }
            }
        }
        Ok(selector)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn selectors_are_read_as_kubernetes_reads_them() {
        let labels: BTreeMap<String, String> = [("app", "web"), ("env", "b")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,env!=a", true),
            ("env in (a, b),app", true),
            ("env notin (a, b)", false),
            ("!legacy", true),
            ("!app", false),
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
            "!",
            "a;b",
            "a=\0",
            "a!=b c",
            "a notin (\0)",
            &many,
        ] {
            assert!(wrong.parse::<LabelSelector>().is_err(), "{wrong}");
        }
        assert!("metadata.name=a\0".parse::<FieldSelector>().is_err());
        assert!("status.x=1".parse::<FieldSelector>().is_err());
        assert_eq!(
            "metadata.name=web"
                .parse::<FieldSelector>()
                .unwrap()
                .name
                .as_deref(),
            Some("web")
        );
    }
}
