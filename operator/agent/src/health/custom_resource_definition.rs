//! CustomResourceDefinition: its names are accepted and it is served.

use serde_json::Value;

use super::{Assessment, condition};

pub(super) fn assess(object: &Value) -> Assessment {
    if let Some(names) = condition(object, "NamesAccepted").filter(super::Condition::is_false) {
        return Assessment::failed(names.why());
    }
    match condition(object, "Established") {
        Some(established) if established.is_true() => Assessment::current(),
        Some(established) => Assessment::in_progress(established.why()),
        None => Assessment::in_progress("is not established yet"),
    }
}
