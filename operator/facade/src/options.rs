//! What a facade is told.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use threeport_model::selector::LabelSelector;

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
    /// Which objects are mirrored, by their labels. Objects that Kubernetes manages are custom resources in any case.
    pub mirror_selector: LabelSelector,
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
            mirror_selector: LabelSelector::default(),
            list_interval: Duration::from_secs(300),
            concurrency: 4,
            metrics,
            ready: Arc::default(),
        }
    }
}
