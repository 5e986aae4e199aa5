//! What there is to do: pending rows with their claims.

use super::{Step, step};

pub(super) const STEPS: &[Step] = &[
    step(
        16,
        "CREATE TABLE IF NOT EXISTS pending (object_id {uuid} PRIMARY KEY REFERENCES object (id) \
          ON DELETE CASCADE, kind {text} NOT NULL, token {text} NOT NULL, since BIGINT NOT NULL, \
          not_before BIGINT NOT NULL, attempts BIGINT NOT NULL, priority BIGINT NOT NULL, \
          claim_holder {text} NOT NULL, claim_until BIGINT NOT NULL)",
    ),
    step(
        17,
        "CREATE INDEX IF NOT EXISTS pending_class ON pending (kind, priority, not_before, object_id)",
    ),
    step(
        18,
        "CREATE INDEX IF NOT EXISTS pending_due ON pending (not_before, object_id)",
    ),
];
