//! Which changes of custom resources are our own: their echo wakes nobody.
//!
//! The watch brings back each write of ours. A run for it would read the object once more and find nothing to do, so what
//! was written is remembered until it comes back. It may come back before it is remembered; then there is such a run, which
//! is all that happens.
//!
//! What not to do: don't remember what another write is to follow on, for that is what the echo brings.

use kube::core::DynamicObject;

use crate::{queue::Key, remembered::Remembered};

/// The newest resourceVersion that we wrote of each resource, until its echo was heard.
#[derive(Debug, Default)]
pub(crate) struct Echoes(Remembered<String>);

impl Echoes {
    /// We wrote this, and have nothing more to do.
    pub(crate) fn expect(&self, key: Key, written: &DynamicObject) {
        if let Some(version) = &written.metadata.resource_version {
            self.0.set(key, version.clone());
        }
    }

    /// Whether a change that was heard of is what we wrote last.
    pub(crate) fn heard(&self, key: &Key, heard: &DynamicObject) -> bool {
        let ours = self.0.get(key);
        let is_ours = ours.is_some() && ours == heard.metadata.resource_version;
        if is_ours {
            self.0.forget(key);
        }
        is_ours
    }

    /// The resource is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.0.forget(key);
    }
}

#[cfg(test)]
mod tests {
    use threeport_model::find_kind;

    use super::*;
    use crate::resource;

    #[test]
    fn only_what_we_wrote_last_is_an_echo_and_once() {
        let kind = find_kind("tpwi").unwrap();
        let (key, echoes) = (Key::new(kind, "web"), Echoes::default());
        let version = |version: &str| {
            let mut found = DynamicObject::new("web", &resource::api_resource(kind));
            found.metadata.resource_version = Some(version.to_owned());
            found
        };
        assert!(!echoes.heard(&key, &version("1")));
        echoes.expect(key.clone(), &version("2"));
        assert!(!echoes.heard(&key, &version("1")), "somebody else's before it");
        assert!(echoes.heard(&key, &version("2")));
        assert!(!echoes.heard(&key, &version("2")), "a list says it again");
        echoes.expect(key.clone(), &version("3"));
        echoes.forget(&key);
        assert!(!echoes.heard(&key, &version("3")));
    }
}
