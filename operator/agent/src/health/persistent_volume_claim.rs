//! PersistentVolumeClaim: bound.

use serde_json::Value;

use super::{Assessment, text};

pub(super) fn assess(object: &Value) -> Assessment {
    match text(object, "/status/phase") {
        "Bound" => Assessment::current(),
        "Lost" => Assessment::failed("its volume is lost"),
        "" => Assessment::in_progress("is not bound yet"),
        phase => Assessment::in_progress(format!("is not bound yet; phase: {phase}")),
    }
}
