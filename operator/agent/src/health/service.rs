//! Service: one of type LoadBalancer needs its cluster address. As in kstatus the balancer's own address is not
//! waited for: a cluster without load balancers serves the Service all the same, by its cluster address and node
//! port; the message says that there is none.

use serde_json::Value;

use super::{Assessment, text};
use threeport_model::kinds::workload_instance::Health;

pub(super) fn assess(object: &Value) -> Assessment {
    if text(object, "/spec/type") != "LoadBalancer" {
        return Assessment::current();
    }
    if text(object, "/spec/clusterIP").is_empty() {
        return Assessment::in_progress("has no cluster address yet");
    }
    let ingress = object
        .pointer("/status/loadBalancer/ingress")
        .and_then(Value::as_array);
    if ingress.is_none_or(Vec::is_empty) {
        return Assessment::new(Health::Current, "has no load balancer address");
    }
    Assessment::current()
}
