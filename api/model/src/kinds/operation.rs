//! Operation: who did what. Read through the API only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One write by one actor: all that it did committed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The operation id that answers and logs carry.
    pub id: Uuid,
    /// As authenticated, as in `admin` or `system:serviceaccount:threeport-system:threeport-facade`.
    pub actor: String,
    /// On whose behalf, where the actor is a facade and the cluster could tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub on_behalf_of: Option<String>,
    /// As in `POST /v1alpha1/apply`.
    pub route: String,
    /// The objects that it changed.
    pub objects: Vec<ChangedObject>,
    /// When it committed.
    pub at: jiff::Timestamp,
}

/// An object that an operation changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedObject {
    /// Its id.
    pub id: Uuid,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What was done with it.
    pub change: ChangeKind,
    /// The generation that it got.
    pub generation: i64,
}

/// What an operation did with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// It was not there.
    Created,
    /// Its specification, labels, annotations or owner changed.
    Updated,
    /// Its deletion was asked for.
    Deleted,
}

impl ChangeKind {
    /// The word that JSON and the database use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// A desired state that an object once had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The generation.
    pub generation: i64,
    /// The operation that made it.
    pub operation_id: Uuid,
    /// Its actor.
    pub actor: String,
    /// When.
    pub at: jiff::Timestamp,
    /// The specification; secret values as keyed digests.
    pub spec: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_called_as_in_json() {
        for change in [ChangeKind::Created, ChangeKind::Updated, ChangeKind::Deleted] {
            assert_eq!(serde_json::to_value(change).unwrap(), change.as_str());
        }
    }
}
