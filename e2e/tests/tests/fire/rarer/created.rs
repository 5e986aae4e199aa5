//! What our accounts create on a way, from its beginning until all is well: the workload's objects, and mirrors of what
//! came through REST.

use std::collections::BTreeMap;

use threeport_e2e::plane::NAMESPACE;

use super::{Scene, Way};

impl Scene {
    /// How often each object must be created, as [`crate::check::creates`] names it: once, but for a Job that is changed.
    pub(super) fn created_by_us(&self) -> BTreeMap<String, usize> {
        let name = &self.name;
        let mirror = |plural: &str, name: &str| format!("{plural}.threeport.io {NAMESPACE}/{name}");
        let definition = (mirror("workloaddefinitions", name), 1);
        let instance = (mirror("workloadinstances", name), 1);
        let namespace = (format!("namespaces. {name}/{name}"), 1);
        let map = (format!("configmaps. {name}/web"), 1);
        let job = |times| (format!("jobs.batch {name}/job"), times);
        let created = match self.way {
            // A namespace and a ConfigMap were there.
            Way::Adopt => vec![definition, instance],
            Way::Orphan | Way::Guest | Way::Apply | Way::Relay | Way::Register | Way::Unreadable => {
                vec![definition, instance, namespace, map]
            }
            Way::LastLodger => {
                let lodger = format!("{name}-lodger");
                let theirs = [
                    (mirror("workloaddefinitions", &lodger), 1),
                    (mirror("workloadinstances", &lodger), 1),
                    (format!("configmaps. {name}/lodger"), 1),
                ];
                let mut created = vec![definition, instance, namespace, map];
                created.extend(theirs);
                created
            }
            Way::Job | Way::SlowJob => vec![definition, instance, namespace, job(2)],
            Way::Again => vec![definition, instance, namespace, map, job(1)],
            Way::Event => vec![definition],
            // Nothing comes of what is refused, and what `kubectl` wrote is its own.
            Way::Refused | Way::TakeOver | Way::Record => Vec::new(),
        };
        created.into_iter().collect()
    }
}
