//! What is wanted: objects, their status, labels, references, documents.

use super::{Step, step};

pub(super) const STEPS: &[Step] = &[
    step(
        1,
        "CREATE TABLE IF NOT EXISTS control_plane (id BIGINT PRIMARY KEY, control_plane_id {uuid} NOT NULL, \
          incarnation {uuid} NOT NULL, created_at BIGINT NOT NULL)",
    ),
    step(
        2,
        "CREATE TABLE IF NOT EXISTS document (digest {text} PRIMARY KEY, content {text} NOT NULL, \
          created_at BIGINT NOT NULL)",
    ),
    step(
        3,
        "CREATE TABLE IF NOT EXISTS object (id {uuid} PRIMARY KEY, origin {uuid} NOT NULL, kind {text} NOT NULL, \
          name {text} NOT NULL, generation BIGINT NOT NULL, resource_version BIGINT NOT NULL, \
          spec {text} NOT NULL, document {text} REFERENCES document (digest), labels {text} NOT NULL, \
          annotations {text} NOT NULL, managed_by {text} NOT NULL, source_uid {text}, \
          source_generation BIGINT, source_former {text}, slot {text}, suspended BIGINT NOT NULL, \
          created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, deletion_requested_at BIGINT, \
          deleted_at BIGINT)",
    ),
    step(
        4,
        "CREATE UNIQUE INDEX IF NOT EXISTS object_name ON object (origin, kind, name) WHERE deleted_at IS NULL",
    ),
    step(
        5,
        "CREATE UNIQUE INDEX IF NOT EXISTS object_slot ON object (origin, slot) \
          WHERE deleted_at IS NULL AND slot IS NOT NULL",
    ),
    step(
        6,
        "CREATE INDEX IF NOT EXISTS object_changed ON object (updated_at, id)",
    ),
    step(
        7,
        "CREATE INDEX IF NOT EXISTS object_tombstone ON object (deleted_at, id) WHERE deleted_at IS NOT NULL",
    ),
    step(
        8,
        "CREATE INDEX IF NOT EXISTS object_document ON object (document) WHERE document IS NOT NULL",
    ),
    step(
        9,
        "CREATE TABLE IF NOT EXISTS object_status (object_id {uuid} PRIMARY KEY REFERENCES object (id) \
          ON DELETE CASCADE, version BIGINT NOT NULL, status {text}, observed_generation BIGINT NOT NULL, \
          seen_definition BIGINT, revision_definition BIGINT, revision_instance BIGINT, ready {text} NOT NULL, \
          accepted {text} NOT NULL, connected BIGINT NOT NULL, reason {text} NOT NULL, message {text} NOT NULL, \
          epoch BIGINT NOT NULL, reconciled_at BIGINT NOT NULL, verify_at BIGINT, updated_at BIGINT NOT NULL)",
    ),
    step(
        10,
        "CREATE INDEX IF NOT EXISTS object_status_changed ON object_status (updated_at, object_id)",
    ),
    step(
        11,
        "CREATE INDEX IF NOT EXISTS object_status_verify ON object_status (verify_at, object_id) \
          WHERE verify_at IS NOT NULL",
    ),
    step(
        12,
        "CREATE TABLE IF NOT EXISTS label (object_id {uuid} NOT NULL REFERENCES object (id) ON DELETE CASCADE, \
          label_key {text} NOT NULL, label_value {text} NOT NULL, kind {text} NOT NULL, name {text} NOT NULL, \
          PRIMARY KEY (object_id, label_key))",
    ),
    step(
        13,
        "CREATE INDEX IF NOT EXISTS label_value ON label (kind, label_key, label_value, name, object_id)",
    ),
    step(
        14,
        "CREATE TABLE IF NOT EXISTS reference (from_id {uuid} NOT NULL REFERENCES object (id) ON DELETE CASCADE, \
          field {text} NOT NULL, to_id {uuid} NOT NULL REFERENCES object (id), to_kind {text} NOT NULL, \
          resolved_by {text} NOT NULL, PRIMARY KEY (from_id, field))",
    ),
    step(
        15,
        "CREATE INDEX IF NOT EXISTS reference_to ON reference (to_id, field, from_id)",
    ),
    step(
        38,
        "CREATE INDEX IF NOT EXISTS document_created ON document (created_at)",
    ),
];
