//! autoscaling/HorizontalPodAutoscaler: there is nothing to wait for (a cluster without metrics runs the workload all
//! the same), but what it can't do is said.

use serde_json::Value;
use threeport_model::kinds::workload_instance::Health;

use super::{Assessment, condition};

pub(super) fn assess(object: &Value) -> Assessment {
    let unable = ["AbleToScale", "ScalingActive"]
        .into_iter()
        .find_map(|kind| condition(object, kind).filter(super::Condition::is_false));
    unable.map_or_else(Assessment::current, |unable| {
        Assessment::new(Health::Current, unable.why())
    })
}
