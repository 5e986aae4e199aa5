//! The figures that a control plane is held to: the one place that has them.

use serde::Serialize;

/// A limit that a figure must keep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Limit {
    /// As much or more.
    AtLeast(f64),
    /// As much or less.
    AtMost(f64),
}

impl Limit {
    /// Whether a value keeps it.
    pub(crate) fn is_kept(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }
}

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Wanted {
    /// Missing it is a failure.
    pub(crate) required: Option<Limit>,
    /// Missing it is said.
    pub(crate) aim: Option<Limit>,
}

const fn wanted(required: Option<Limit>, aim: Option<Limit>) -> Wanted {
    Wanted { required, aim }
}

/// Figures that are only reported.
pub(crate) const REPORTED: Wanted = wanted(None, None);

/// Instances per second of a burst, as a part of the loop's.
pub(crate) const BURST: Wanted = wanted(Some(Limit::AtLeast(0.25)), Some(Limit::AtLeast(0.5)));
/// Instances per second of an edited definition, as a part of the loop's.
pub(crate) const EDIT: Wanted = wanted(Some(Limit::AtLeast(0.25)), Some(Limit::AtLeast(0.5)));
/// Instances deleted per second, as a part of the loop's.
pub(crate) const DELETE: Wanted = wanted(Some(Limit::AtLeast(0.5)), None);
/// Milliseconds of a POST with 16 clients, p99.
pub(crate) const POST_P99: Wanted = wanted(Some(Limit::AtMost(50.0)), None);
/// POSTs per second with 16 clients.
pub(crate) const POST_RATE: Wanted = wanted(None, Some(Limit::AtLeast(1500.0)));
/// Milliseconds from commit to custom resource status at ten instances per second, p99.
pub(crate) const MIRROR_P99: Wanted = wanted(Some(Limit::AtMost(1000.0)), None);
/// Milliseconds from create to applied, one at a time, p50.
pub(crate) const UNLOADED_P50: Wanted = wanted(None, Some(Limit::AtMost(40.0)));
/// Milliseconds of CPU of the control plane, its database included, per instance.
pub(crate) const CPU: Wanted = wanted(None, Some(Limit::AtMost(10.0)));
/// MiB of API and operator with 1,000 instances.
pub(crate) const MEMORY: Wanted = wanted(None, Some(Limit::AtMost(150.0)));

/// Instances per second of the loop below which a run says nothing: 177 were seen on two cores.
pub(crate) const LOOP_FLOOR: f64 = 80.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_kept_at_their_very_value() {
        assert!(Limit::AtLeast(0.25).is_kept(0.25) && !Limit::AtLeast(0.25).is_kept(0.249));
        assert!(Limit::AtMost(50.0).is_kept(50.0) && !Limit::AtMost(50.0).is_kept(50.1));
    }
}
