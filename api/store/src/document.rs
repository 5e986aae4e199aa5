//! Large YAML documents are stored once, by digest; specifications and revisions refer to them.

use sea_orm::Value;
use serde_json::Value as Json;
use threeport_model::digest;

use crate::database::sql::Sql;

/// The field of a specification that may be large.
pub(crate) const FIELD: &str = "yamlDocument";
/// From how many bytes on it is stored apart.
const APART: usize = 4096;

/// A document that is stored apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) digest: String,
    pub(crate) content: String,
}

/// Takes the document out of a specification, where it is large enough.
pub(crate) fn take(spec: &mut Json) -> Option<Document> {
    let fields = spec.as_object_mut()?;
    if fields.get(FIELD)?.as_str()?.len() < APART {
        return None;
    }
    match fields.remove(FIELD) {
        Some(Json::String(content)) => Some(Document {
            digest: digest::of_bytes(content.as_bytes()),
            content,
        }),
        _ => None,
    }
}

/// The statement that stores documents, those apart that are there already.
pub(crate) fn insert(documents: &[&Document], now: i64) -> Option<Sql> {
    if documents.is_empty() {
        return None;
    }
    let mut sql = Sql::new("INSERT INTO document (digest, content, created_at) VALUES ");
    sql.rows(documents.iter().map(|document| {
        Vec::<Value>::from([
            document.digest.clone().into(),
            document.content.clone().into(),
            now.into(),
        ])
    }));
    sql.push(" ON CONFLICT (digest) DO NOTHING");
    Some(sql)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_large_documents_are_stored_apart() {
        let mut small = json!({"yamlDocument": "a: 1"});
        assert_eq!(take(&mut small), None);
        let text = "a: 1\n".repeat(1000);
        let mut large = json!({"yamlDocument": text, "other": 1});
        let document = take(&mut large).unwrap();
        assert_eq!(large, json!({"other": 1}));
        let hydrated = crate::object::row::hydrate(&large.to_string(), Some(&document.content)).unwrap();
        assert_eq!(hydrated["yamlDocument"], text);
    }
}
