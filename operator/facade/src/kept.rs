//! What is kept of each custom resource: itself, as text.
//!
//! There are as many as there are objects, and of each little is looked at for most of the time. Parsed, JSON takes five
//! times what its text does, in hundreds of pieces that keep the pages around them from being given back.
//!
//! What a key is run for is asked far more often, and so is kept beside it.

use std::borrow::Cow;

use kube::{
    ResourceExt,
    core::{DynamicObject, ObjectMeta},
    runtime::reflector::Lookup,
};
use serde_json::Value;
use threeport_model::{KindDescriptor, condition};

use crate::{queue::Purpose, resource};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    name: String,
    purpose: Purpose,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Text(Box<[u8]>),
    /// What text would not give back as it was: a number of more digits than are read exactly, say.
    Parsed(Box<(ObjectMeta, Value)>),
}

impl Content {
    fn of(found: &DynamicObject) -> Self {
        let text = serde_json::to_vec(&(&found.metadata, &found.data)).unwrap_or_default();
        match read(&text) {
            Some((metadata, data)) if metadata == found.metadata && data == found.data => {
                Self::Text(text.into())
            }
            _ => Self::Parsed(Box::new((found.metadata.clone(), found.data.clone()))),
        }
    }
}

fn read(text: &[u8]) -> Option<(ObjectMeta, Value)> {
    serde_json::from_slice(text).ok()
}

impl Kept {
    pub(crate) fn of(found: &DynamicObject) -> Self {
        Self {
            name: found.name_any(),
            purpose: purpose(found),
            content: Content::of(found),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What its key is run for.
    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The resource. Always there: what can't be read again was not made text.
    pub(crate) fn resource(&self, kind: &KindDescriptor) -> Option<DynamicObject> {
        let (metadata, data) = match &self.content {
            Content::Text(text) => read(text)?,
            Content::Parsed(parsed) => (**parsed).clone(),
        };
        let mut found = DynamicObject::new(&self.name, &resource::api_resource(kind));
        (found.metadata, found.data) = (metadata, data);
        Some(found)
    }
}

/// By its name: there is a cache for each kind, of one namespace.
impl Lookup for Kept {
    type DynamicType = ();

    fn kind((): &()) -> Cow<'_, str> {
        Cow::Borrowed("CustomResource")
    }

    fn group((): &()) -> Cow<'_, str> {
        Cow::Borrowed(threeport_model::GROUP)
    }

    fn version((): &()) -> Cow<'_, str> {
        Cow::Borrowed(threeport_model::VERSION)
    }

    fn plural((): &()) -> Cow<'_, str> {
        Cow::Borrowed("customresources")
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.name))
    }

    fn namespace(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn resource_version(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn uid(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// One that says nothing of what its author wants now is new: whoever edits or deletes it is answered as soon as whoever
/// made it.
fn purpose(found: &DynamicObject) -> Purpose {
    let (status, brings) = (resource::status(found), !resource::is_mirror(found));
    let answered = || {
        let conditions = condition::of_status(status);
        condition::find(&conditions, condition::SYNCED)
            .is_some_and(|synced| synced.observed_generation == resource::generation(found))
    };
    Purpose {
        new: status.is_null() || (brings && !answered()),
        brings,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
    use serde_json::json;
    use threeport_model::{find_kind, identity};

    use super::*;

    fn found(content: Value) -> DynamicObject {
        let kind = find_kind("tpwd").unwrap();
        let mut found = DynamicObject::new("web", &resource::api_resource(kind)).within("threeport-system");
        found.metadata.uid = Some("u".to_owned());
        found.metadata.generation = Some(4);
        found.metadata.creation_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        found.data = content;
        found
    }

    #[test]
    fn what_is_kept_comes_back_as_it_was_and_is_text_where_that_says_all() {
        let whole = |found: &DynamicObject| {
            let kept = Kept::of(found);
            let whole = kept.resource(find_kind("tpwd").unwrap());
            (whole.unwrap(), matches!(kept.content, Content::Text(_)))
        };
        let plain = found(json!({"spec": {"a": [1, 1.5, "ü", null]}, "status": {"api": {"id": "x"}}}));
        assert_eq!(whole(&plain), (plain, true));
        // More levels than serde_json reads.
        let deep = (0..200).fold(json!(1), |within, _| json!([within]));
        let deep = found(json!({"spec": deep}));
        assert_eq!(whole(&deep), (deep, false));
    }

    #[test]
    fn an_edit_goes_first_until_it_is_answered_and_what_is_shown_only_where_nothing_is() {
        let status = |generation: i64| {
            json!({"status": {"conditions": [{"type": "Synced", "status": "False", "reason": "Invalid",
                "message": "", "observedGeneration": generation}]}})
        };
        let of = |found: &DynamicObject| (purpose(found).new, purpose(found).brings);
        assert_eq!(of(&found(json!({"spec": {}}))), (true, true), "just made");
        assert_eq!(of(&found(status(3))), (true, true), "edited since");
        assert_eq!(of(&found(status(4))), (false, true));
        let mirror = |content| {
            let mut mirror = found(content);
            mirror
                .labels_mut()
                .insert(identity::MANAGED_BY.to_owned(), "api".to_owned());
            mirror
        };
        assert_eq!(of(&mirror(json!({"spec": {}}))), (true, false));
        assert_eq!(of(&mirror(status(3))), (false, false));
    }
}
