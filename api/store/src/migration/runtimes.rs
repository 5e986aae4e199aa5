//! What there is in the runtimes: inventory, agents, what they watch.

use super::{Step, step};

pub(super) const STEPS: &[Step] = &[
    step(
        19,
        "CREATE TABLE IF NOT EXISTS inventory (id {uuid} PRIMARY KEY, runtime_id {uuid} NOT NULL \
          REFERENCES object (id), instance_id {uuid} NOT NULL REFERENCES object (id), api_group {text} NOT NULL, \
          version {text} NOT NULL, kind {text} NOT NULL, plural {text} NOT NULL, namespace {text} NOT NULL, \
          name {text} NOT NULL, leftover BIGINT NOT NULL, uid {text}, plan_hash {text}, ownership_digest {text}, \
          applied_resource_version {text}, completed_hash {text}, healed_at {text} NOT NULL, \
          observed_health {text} NOT NULL, observed_message {text} NOT NULL, observed_uid {text}, \
          observed_resource_version {text}, observed_ownership_digest {text}, observed_images {text} NOT NULL, \
          observed_epoch BIGINT NOT NULL, observed_sequence BIGINT NOT NULL, observed_managers {text} NOT NULL, \
          seen_at BIGINT)",
    ),
    step(
        20,
        "CREATE UNIQUE INDEX IF NOT EXISTS inventory_identity ON inventory \
          (runtime_id, api_group, kind, namespace, name) WHERE leftover = 0",
    ),
    step(
        21,
        "CREATE UNIQUE INDEX IF NOT EXISTS inventory_instance ON inventory \
          (instance_id, runtime_id, api_group, kind, namespace, name)",
    ),
    step(
        22,
        "CREATE INDEX IF NOT EXISTS inventory_kind ON inventory (runtime_id, api_group, kind, observed_epoch)",
    ),
    step(
        23,
        "CREATE TABLE IF NOT EXISTS agent (runtime_id {uuid} PRIMARY KEY REFERENCES object (id) \
          ON DELETE CASCADE, epoch BIGINT NOT NULL, version {text} NOT NULL, registered_at BIGINT NOT NULL, \
          last_seen BIGINT NOT NULL)",
    ),
    step(
        24,
        "CREATE TABLE IF NOT EXISTS watched_kind (runtime_id {uuid} NOT NULL REFERENCES object (id) \
          ON DELETE CASCADE, api_group {text} NOT NULL, kind {text} NOT NULL, version {text} NOT NULL, \
          closed_epoch BIGINT NOT NULL, PRIMARY KEY (runtime_id, api_group, kind))",
    ),
    step(
        40,
        "CREATE TABLE IF NOT EXISTS former_resource (instance_id {uuid} NOT NULL REFERENCES object (id) \
          ON DELETE CASCADE, runtime_id {uuid} NOT NULL, api_group {text} NOT NULL, kind {text} NOT NULL, \
          namespace {text} NOT NULL, name {text} NOT NULL, removed_at BIGINT NOT NULL, \
          PRIMARY KEY (instance_id, runtime_id, api_group, kind, namespace, name))",
    ),
];
