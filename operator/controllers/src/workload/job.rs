//! Jobs run to their end once per plan hash: a finished one is not run again, not even when its TTL removed it. Pure.

use threeport_model::{kinds::workload_instance::Health, protocol::inventory::InventoryRow};

/// Whether the row is a Job's.
pub(super) fn is_job(row: &InventoryRow) -> bool {
    row.group == "batch" && row.kind == "Job"
}

/// Whether the Job was seen to complete for `hash`.
pub(super) fn is_completed(row: &InventoryRow, hash: &str) -> bool {
    is_job(row) && row.completed_hash.as_deref() == Some(hash)
}

/// Takes note of a completion that counts.
pub(super) fn note_completion(row: &mut InventoryRow, health: Health) {
    if is_job(row) && health == Health::Current {
        row.completed_hash.clone_from(&row.plan_hash);
    }
}
