//! Objects that several control planes of one cluster share: definitions and the admission policy. Each operator
//! applies its own version; the rule by which they don't fight is here.

use std::{cmp::Ordering, collections::BTreeMap};

use anyhow::Context;
use kube::{Api, Resource, ResourceExt, api::PostParams};
use semver::{BuildMetadata, Version};
use serde::{Serialize, de::DeserializeOwned};
use threeport_crds::{HASH_ANNOTATION, VERSION_ANNOTATION};
use threeport_failpoint::around;

use crate::{
    resource::{FIELD_MANAGER, is_conflict, is_forbidden},
    writes,
};

/// What to do with a shared object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is what we would write.
    Keep,
    /// It is from a later version, which our version can live with.
    KeepNewer,
    /// It has our version, but somebody else's content.
    KeepOther,
    /// It is older, or not made by an operator.
    Update,
}

/// The newest version wins; the same version with another hash is left, and warned about.
pub(crate) fn decide(found: &BTreeMap<String, String>, ours: &BTreeMap<String, String>) -> Decision {
    let hash = |annotations: &BTreeMap<String, String>| annotations.get(HASH_ANNOTATION).cloned();
    match version(found).cmp(&version(ours)) {
        Ordering::Less => Decision::Update,
        Ordering::Greater => Decision::KeepNewer,
        Ordering::Equal if hash(found) == hash(ours) => Decision::Keep,
        Ordering::Equal => Decision::KeepOther,
    }
}

/// By the order of semantic versions, in which a build's metadata says nothing of what is newer. One that can't be read is
/// older than any.
fn version(annotations: &BTreeMap<String, String>) -> Option<Version> {
    let mut version = Version::parse(annotations.get(VERSION_ANNOTATION)?).ok()?;
    version.build = BuildMetadata::EMPTY;
    Some(version)
}

/// Creates or updates `ours` by the rule. Where that is not allowed, what is there has to be new enough; else the
/// error says what to run.
pub(crate) async fn install<K>(api: &Api<K>, ours: &K, by_hand: &str) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let what = format!("{} {}", K::kind(&()), ours.name_any());
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    for _ in 0..10 {
        let found = match api.get_opt(&ours.name_any()).await {
            Err(error) if is_forbidden(&error) => anyhow::bail!(
                "the operator may not read {what}; grant it that, as the chart's role of the facade does, and run: {by_hand}"
            ),
            found => found.with_context(|| format!("failed to read {what}"))?,
        };
        let written = match &found {
            None => around(writes::SHARED_CREATE, api.create(&parameters, ours)).await,
            Some(found) => match decide(found.annotations(), ours.annotations()) {
                Decision::Keep => return Ok(()),
                Decision::KeepNewer => {
                    tracing::info!("{what} is from a newer version and stays");
                    return Ok(());
                }
                Decision::KeepOther => {
                    tracing::warn!(
                        "{what} has this version but other content and stays; {by_hand} replaces it"
                    );
                    return Ok(());
                }
                Decision::Update => {
                    let mut update = ours.clone();
                    update.meta_mut().resource_version = found.resource_version();
                    let name = ours.name_any();
                    around(writes::SHARED_REPLACE, api.replace(&name, &parameters, &update)).await
                }
            },
        };
        match written {
            Ok(_) => {
                tracing::info!("wrote {what}");
                return Ok(());
            }
            Err(error) if is_conflict(&error) => {}
            Err(error) if is_forbidden(&error) => {
                anyhow::bail!(
                    "{what} is missing or too old, and the operator may not write it; run: {by_hand}"
                )
            }
            Err(error) => return Err(error).with_context(|| format!("failed to write {what}")),
        }
    }
    anyhow::bail!("failed to write {what}: somebody else keeps writing it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(version: &str, hash: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (VERSION_ANNOTATION.to_owned(), version.to_owned()),
            (HASH_ANNOTATION.to_owned(), hash.to_owned()),
        ])
    }

    #[test]
    fn the_newest_version_wins_and_an_equal_one_stays() {
        let ours = annotations("0.10.0", "a");
        assert_eq!(decide(&ours, &ours), Decision::Keep);
        assert_eq!(decide(&annotations("0.10.0", "b"), &ours), Decision::KeepOther);
        assert_eq!(decide(&annotations("0.9.9", "a"), &ours), Decision::Update);
        assert_eq!(decide(&annotations("0.11.0", "b"), &ours), Decision::KeepNewer);
        assert_eq!(decide(&BTreeMap::new(), &ours), Decision::Update);
        assert_eq!(decide(&annotations("none", "a"), &ours), Decision::Update);
    }

    #[test]
    fn a_release_candidate_comes_before_its_release_and_after_what_was_released_before() {
        let ours = annotations("0.2.0-rc.2", "a");
        assert_eq!(decide(&ours, &ours), Decision::Keep);
        for (found, decision) in [
            ("0.1.9", Decision::Update),
            ("0.2.0-rc.1", Decision::Update),
            ("0.2.0-rc.2", Decision::KeepOther),
            ("0.2.0-rc.2+build.7", Decision::KeepOther),
            ("0.2.0-rc.10", Decision::KeepNewer),
            ("0.2.0", Decision::KeepNewer),
            ("0.2", Decision::Update),
        ] {
            assert_eq!(decide(&annotations(found, "b"), &ours), decision, "{found}");
        }
        let released = annotations("0.1.9", "a");
        assert_eq!(
            decide(&ours, &released),
            Decision::KeepNewer,
            "it is not taken back"
        );
    }
}
