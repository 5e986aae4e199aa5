//! Where the time goes between a change and its status in `kubectl get`: one histogram in all parts.
//!
//! ```text
//! commit (API) -> notify, claim, load, apply (controllers) -> observed (agent, API) -> complete (controllers) -> mirrored (facade)
//! ```

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// A part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the request's being taken to the commit of its transaction.
    Commit,
    /// From being due to being claimed, by the database's clock.
    Notify,
    /// The claim request.
    Claim,
    /// Reading what the claim doesn't hold.
    Load,
    /// Writing to the target.
    Apply,
    /// From the target's having taken an apply to the claim that brings an observation of it.
    Observed,
    /// The complete request.
    Complete,
    /// From the change of object or status in the database to its being written into the custom resource.
    Mirrored,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Notify => "notify",
            Self::Claim => "claim",
            Self::Load => "load",
            Self::Apply => "apply",
            Self::Observed => "observed",
            Self::Complete => "complete",
            Self::Mirrored => "mirrored",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: String,
    stage: &'static str,
}

/// `threeport_stage_seconds{kind,stage}`: one per process, whose parts share it. Clones are the same.
#[derive(Clone, Debug)]
pub struct Stages(Family<Labels, Histogram, fn() -> Histogram>);

impl Default for Stages {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 2.0, 16))
        }))
    }
}

impl Stages {
    /// Shows them in `registry`, under `threeport_stage_seconds` less the prefix that it adds.
    pub fn register(&self, registry: &mut Registry, name: &str) {
        let help = "Time per part of the way from a change to its status, by kind and stage: commit, notify, claim, \
                    load, apply, observed, complete, mirrored";
        registry.register(name, help, self.0.clone());
    }

    /// A part of the way is done.
    pub fn observe(&self, kind: &str, stage: Stage, took: Duration) {
        let labels = Labels {
            kind: kind.to_owned(),
            stage: stage.as_str(),
        };
        self.0.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
