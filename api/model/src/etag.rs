//! The ETag of an object: which object it is, and which version of it.
//!
//! The version alone would not do, since each object's begin with 1: who read an object that was then deleted, and made anew
//! by somebody else under the same name, would write over that one.

use std::fmt;

use uuid::Uuid;

use crate::Object;

/// One version of one object. In the headers `ETag` and `If-Match`: `"<id>.<resourceVersion>"`, quotes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Etag {
    /// The object. Absent in an ETag of a former release, which had the version alone.
    pub id: Option<Uuid>,
    /// Its `metadata.resourceVersion`.
    pub resource_version: i64,
}

impl Etag {
    /// The ETag of an object as the server answered it.
    pub fn of(object: &Object) -> Self {
        Self {
            id: object.metadata.id,
            resource_version: object.metadata.resource_version.unwrap_or_default(),
        }
    }

    /// Reads a header that has one ETag.
    pub fn from_header(text: &str) -> Option<Self> {
        let text = text.strip_prefix('"')?.strip_suffix('"')?;
        let (id, version) = match text.split_once('.') {
            Some((id, version)) => (Some(Uuid::try_parse(id).ok()?), version),
            None => (None, text),
        };
        Some(Self {
            id,
            resource_version: version.parse().ok()?,
        })
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(formatter, "\"{id}.{}\"", self.resource_version),
            None => write!(formatter, "\"{}\"", self.resource_version),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_etag_is_read_as_it_is_written_and_says_which_object() {
        let mut object = Object::new("WorkloadDefinition", "web", Value::Null);
        object.metadata.id = Some(Uuid::from_u128(7));
        object.metadata.resource_version = Some(3);
        let etag = Etag::of(&object);
        let text = etag.to_string();
        assert_eq!(text, r#""00000000-0000-0000-0000-000000000007.3""#);
        assert_eq!(Etag::from_header(&text), Some(etag));
        object.metadata.id = Some(Uuid::from_u128(8));
        assert_ne!(Etag::of(&object), etag);
        let former = Etag {
            id: None,
            resource_version: 3,
        };
        assert_eq!(Etag::from_header(r#""3""#), Some(former));
        assert_ne!(former, etag);
        for wrong in [
            "",
            "\"",
            "3",
            r#""""#,
            r#""x""#,
            r#""x.3""#,
            r#"".3""#,
            r#"W/"3""#,
            r#""3", "4""#,
            r#""00000000-0000-0000-0000-000000000007.""#,
            r#""00000000-0000-0000-0000-000000000007.3.3""#,
        ] {
            assert_eq!(Etag::from_header(wrong), None, "{wrong}");
        }
    }
}
