//! What a facade is told.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use kube::core::{Expression, Selector};

use crate::Metrics;

/// Clients, place and limits of a facade.
#[derive(Clone)]
pub struct FacadeOptions {
    /// The control plane's API, as role facade.
    pub api: threeport_client::Client,
    /// The cluster that the control plane runs in.
    pub kube: kube::Client,
    /// The namespace that is served: the control plane's own.
    pub namespace: String,
    /// Which objects are mirrored, by their labels; [`parse_selector`] reads one. Objects that Kubernetes manages
    /// are custom resources in any case.
    pub mirror_selector: Selector,
    /// How often everything is compared, without being told of a change.
    pub list_interval: Duration,
    /// How many objects are worked on at once. What is shown should not hold up what is done: few at once are fast
    /// enough for any change that a person makes, and merge what comes faster.
    pub concurrency: usize,
    /// Counters and histograms.
    pub metrics: Metrics,
    /// Becomes true once definitions are installed and custom resources are known: for the readiness probe.
    pub ready: Arc<AtomicBool>,
}

impl FacadeOptions {
    /// Options with the usual limits: everything mirrored, compared every 5 minutes, 4 at once.
    pub fn new(
        api: threeport_client::Client,
        kube: kube::Client,
        namespace: impl Into<String>,
        metrics: Metrics,
    ) -> Self {
        Self {
            api,
            kube,
            namespace: namespace.into(),
            mirror_selector: Selector::default(),
            list_interval: Duration::from_secs(300),
            concurrency: 4,
            metrics,
            ready: Arc::default(),
        }
    }
}

/// A selector that can't be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to parse selector requirement {0:?}: write key=value, key!=value, key or !key, separated by commas"
)]
pub struct ParseSelectorError(String);

/// Reads `team=web,tier!=test,owned,!legacy`; an empty text selects everything.
pub fn parse_selector(text: &str) -> Result<Selector, ParseSelectorError> {
    let requirements = text
        .split(',')
        .map(str::trim)
        .filter(|requirement| !requirement.is_empty());
    requirements.map(requirement).collect()
}

fn requirement(text: &str) -> Result<Expression, ParseSelectorError> {
    let wrong = || ParseSelectorError(text.to_owned());
    let key = |key: &str| {
        let key = key.trim();
        let valid = !key.is_empty() && !key.contains(['=', '!', ' ', '(', ')']);
        valid.then(|| key.to_owned()).ok_or_else(wrong)
    };
    if let Some((left, value)) = text.split_once("!=") {
        return Ok(Expression::NotEqual(key(left)?, value.trim().to_owned()));
    }
    if let Some((left, value)) = text.split_once('=') {
        let value = value.trim_start_matches('=').trim();
        return Ok(Expression::Equal(key(left)?, value.to_owned()));
    }
    match text.strip_prefix('!') {
        Some(absent) => Ok(Expression::DoesNotExist(key(absent)?)),
        None => Ok(Expression::Exists(key(text)?)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::core::SelectorExt;

    use super::parse_selector;

    #[test]
    fn selectors_are_read_as_kubectl_reads_them() {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let web = labels(&[("team", "web"), ("owned", "")]);
        for (text, matches) in [
            ("", true),
            ("team=web", true),
            ("team==web, owned", true),
            ("team!=web", false),
            ("!owned", false),
            ("team=web,!legacy", true),
        ] {
            assert_eq!(parse_selector(text).unwrap().matches(&web), matches, "{text:?}");
        }
        for bad in ["=x", "team in (a b)", "!"] {
            assert!(parse_selector(bad).is_err(), "{bad:?}");
        }
    }
}
