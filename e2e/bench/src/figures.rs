//! The figures that a control plane is held to: the one place that has them.

use serde::Serialize;

use crate::arguments::Part;

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

/// A figure that is required of PostgreSQL: where the part that measures it is wanted, and it is not there, it is missed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Required {
    pub(crate) part: Part,
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) wanted: Wanted,
}

/// Instances per second of a burst, as a part of the loop's.
pub(crate) const BURST: Required = Required {
    part: Part::Burst,
    name: "burst: of the loop's rate",
    unit: "",
    wanted: wanted(Some(Limit::AtLeast(0.25)), Some(Limit::AtLeast(0.5))),
};
/// Instances deleted per second, as a part of the loop's.
pub(crate) const DELETE: Required = Required {
    part: Part::Burst,
    name: "delete: of the loop's rate",
    unit: "",
    wanted: wanted(Some(Limit::AtLeast(0.5)), None),
};
/// Instances per second of an edited definition, as a part of the loop's.
pub(crate) const EDIT: Required = Required {
    part: Part::Edit,
    name: "edit: of the loop's rate",
    unit: "",
    wanted: wanted(Some(Limit::AtLeast(0.25)), Some(Limit::AtLeast(0.5))),
};
/// A POST with 16 clients.
pub(crate) const POST_P99: Required = Required {
    part: Part::Requests,
    name: "POST, 16 clients: p99",
    unit: "ms",
    wanted: wanted(Some(Limit::AtMost(50.0)), None),
};
/// From commit to custom resource status at ten instances per second.
pub(crate) const MIRROR_P99: Required = Required {
    part: Part::Latency,
    name: "10/s: commit to custom resource status, p99",
    unit: "ms",
    wanted: wanted(Some(Limit::AtMost(1000.0)), None),
};
/// All of them.
pub(crate) const ALL_REQUIRED: [Required; 5] = [BURST, DELETE, EDIT, POST_P99, MIRROR_P99];

/// POSTs per second with 16 clients.
pub(crate) const POST_RATE: Wanted = wanted(None, Some(Limit::AtLeast(1500.0)));
/// Milliseconds from create to applied, one at a time, p50.
pub(crate) const UNLOADED_P50: Wanted = wanted(None, Some(Limit::AtMost(40.0)));
/// Milliseconds of CPU of the control plane, its database included, per instance.
pub(crate) const CPU: Wanted = wanted(None, Some(Limit::AtMost(10.0)));
/// MiB of API and operator with 1,000 instances.
pub(crate) const MEMORY: Wanted = wanted(None, Some(Limit::AtMost(150.0)));

/// What the loop reaches per second below which a run says nothing of what is compared with it: 177 instances were seen
/// on two cores, where the controller manager's own work came afterwards.
pub(crate) const LOOP_FLOOR: f64 = 80.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_kept_at_their_very_value() {
        assert!(Limit::AtLeast(0.25).is_kept(0.25) && !Limit::AtLeast(0.25).is_kept(0.249));
        assert!(Limit::AtMost(50.0).is_kept(50.0) && !Limit::AtMost(50.0).is_kept(50.1));
    }

    #[test]
    fn what_is_called_required_has_a_limit_and_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            ALL_REQUIRED.iter().map(|required| required.name).collect();
        assert_eq!(names.len(), ALL_REQUIRED.len());
        assert!(
            ALL_REQUIRED
                .iter()
                .all(|required| required.wanted.required.is_some())
        );
    }
}
