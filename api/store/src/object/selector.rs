//! Selectors, in Kubernetes' syntax: those of labels as conditions of a statement, and those of fields. Pure.

use std::str::FromStr;

pub use threeport_model::selector::LabelSelector;
use threeport_model::{
    ManagedBy, name,
    selector::{Requirement, split},
};

use crate::database::sql::Sql;

/// `metadata.name=web,metadata.managedBy=api`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    pub(crate) name: Option<String>,
    pub(crate) managed_by: Option<ManagedBy>,
}

/// Splits off one `key = value`, by which an index can be walked.
pub(crate) fn driver(labels: &LabelSelector) -> (Option<(&str, &str)>, impl Iterator<Item = &Requirement>) {
    let requirements = labels.requirements();
    let index = requirements
        .iter()
        .position(|found| matches!(found, Requirement::In(_, values) if values.len() == 1));
    let driver = index.and_then(|index| match &requirements[index] {
        Requirement::In(key, values) => values.first().map(|value| (key.as_str(), value.as_str())),
        _ => None,
    });
    let rest = requirements
        .iter()
        .enumerate()
        .filter(move |(found, _)| Some(*found) != index);
    (driver, rest.map(|(_, requirement)| requirement))
}

/// Appends the condition on `o`.
pub(crate) fn push(requirement: &Requirement, sql: &mut Sql) {
    let (negated, key, values) = match requirement {
        Requirement::In(key, values) => ("", key, Some(values)),
        Requirement::NotIn(key, values) => ("NOT ", key, Some(values)),
        Requirement::Exists(key) => ("", key, None),
        Requirement::Absent(key) => ("NOT ", key, None),
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
    use super::*;

    #[test]
    fn names_and_owners_can_be_selected_and_no_other_field() {
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
