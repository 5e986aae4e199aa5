//! What happened: operations, revisions, events; and the secret values.

use super::{Step, step};

pub(super) const STEPS: &[Step] = &[
    step(
        25,
        "CREATE TABLE IF NOT EXISTS operation (id {uuid} PRIMARY KEY, actor {text} NOT NULL, \
          on_behalf_of {text}, route {text} NOT NULL, created_at BIGINT NOT NULL, changes {text} NOT NULL, \
          idempotency_key {text}, body_digest {text}, answer {text})",
    ),
    step(
        26,
        "CREATE UNIQUE INDEX IF NOT EXISTS operation_key ON operation (actor, route, idempotency_key) \
          WHERE idempotency_key IS NOT NULL",
    ),
    step(
        27,
        "CREATE INDEX IF NOT EXISTS operation_created ON operation (created_at, id)",
    ),
    step(
        28,
        "CREATE TABLE IF NOT EXISTS revision (object_id {uuid} NOT NULL REFERENCES object (id) ON DELETE CASCADE, \
          generation BIGINT NOT NULL, operation_id {uuid} NOT NULL, actor {text} NOT NULL, \
          created_at BIGINT NOT NULL, spec {text} NOT NULL, document {text} REFERENCES document (digest), \
          PRIMARY KEY (object_id, generation))",
    ),
    step(
        29,
        "CREATE INDEX IF NOT EXISTS revision_created ON revision (created_at, object_id, generation)",
    ),
    step(
        30,
        "CREATE INDEX IF NOT EXISTS revision_document ON revision (document) WHERE document IS NOT NULL",
    ),
    step(
        31,
        "CREATE TABLE IF NOT EXISTS event (id {uuid} PRIMARY KEY, object_id {uuid} NOT NULL, \
          object_kind {text} NOT NULL, object_name {text} NOT NULL, kind {text} NOT NULL, reason {text} NOT NULL, \
          message {text} NOT NULL, message_digest {text} NOT NULL, count BIGINT NOT NULL, \
          first_seen BIGINT NOT NULL, last_seen BIGINT NOT NULL)",
    ),
    step(
        32,
        "CREATE UNIQUE INDEX IF NOT EXISTS event_equal ON event (object_id, message_digest)",
    ),
    step(
        33,
        "CREATE INDEX IF NOT EXISTS event_object ON event (object_id, last_seen, id)",
    ),
    step(
        34,
        "CREATE INDEX IF NOT EXISTS event_seen ON event (last_seen, id)",
    ),
    step(
        35,
        "CREATE TABLE IF NOT EXISTS secret_value (object_id {uuid} NOT NULL REFERENCES object (id) \
          ON DELETE CASCADE, digest {text} NOT NULL, key_id {text} NOT NULL, nonce {bytes} NOT NULL, \
          ciphertext {bytes} NOT NULL, generation BIGINT NOT NULL, PRIMARY KEY (object_id, digest))",
    ),
    step(
        36,
        "CREATE INDEX IF NOT EXISTS operation_answer ON operation (created_at) WHERE idempotency_key IS NOT NULL",
    ),
    step(
        37,
        "CREATE INDEX IF NOT EXISTS object_deleted ON object (origin, kind, name, deleted_at) \
          WHERE deleted_at IS NOT NULL",
    ),
    step(
        39,
        "CREATE TABLE IF NOT EXISTS unused_kind (runtime_id {uuid} NOT NULL REFERENCES object (id) \
          ON DELETE CASCADE, api_group {text} NOT NULL, kind {text} NOT NULL, since BIGINT NOT NULL, \
          PRIMARY KEY (runtime_id, api_group, kind))",
    ),
];
