//! The sorts of damage: each with the statement that finds it and one that does it.
//!
//! Written against the tables, not with the store's own code: what the two have in common, no test would find.

/// A sort of damage.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    /// A text for each case.
    pub(crate) finds: &'static str,
    /// Makes a case of it, somewhere.
    pub(crate) plant: &'static str,
}

/// What checks select from. `$1` is a pattern for names, `$2` the age of operations. `expected` are the references of
/// living instances, by their specifications; `change` is what operations say that they did.
pub(crate) const WITH: &str = "WITH o AS MATERIALIZED (SELECT * FROM object WHERE name LIKE $1), \
    op AS MATERIALIZED (SELECT * FROM operation WHERE created_at >= $2), \
    change AS MATERIALIZED (SELECT op.id AS operation, (c->>'id')::UUID AS id, c->>'change' AS change, \
        (c->>'generation')::BIGINT AS generation \
        FROM op, jsonb_array_elements(op.changes::JSONB) AS c WHERE c->>'name' LIKE $1), \
    expected AS MATERIALIZED (SELECT id AS from_id, 'spec.definition' AS field, 'WorkloadDefinition' AS kind, \
        spec::JSONB->>'definition' AS name FROM o WHERE kind = 'WorkloadInstance' AND deleted_at IS NULL \
        UNION ALL SELECT o.id, 'spec.dependsOn[' || (d.place - 1) || ']', d.value->>'kind', d.value->>'name' \
        FROM o, jsonb_array_elements(COALESCE(o.spec::JSONB->'dependsOn', '[]')) WITH ORDINALITY AS d (value, place) \
        WHERE o.kind = 'WorkloadInstance' AND o.deleted_at IS NULL)";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        name: "a reference is missing",
        finds: "SELECT from_id || ' ' || field FROM expected e WHERE NOT EXISTS \
                (SELECT 1 FROM reference r WHERE r.from_id = e.from_id AND r.field = e.field)",
        plant: "DELETE FROM reference WHERE (from_id, field) IN (SELECT from_id, field FROM reference \
                WHERE field = 'spec.dependsOn[0]' LIMIT 1)",
    },
    Check {
        name: "a reference leads elsewhere",
        finds: "SELECT e.from_id || ' ' || e.field FROM expected e JOIN reference r USING (from_id, field) \
                JOIN object t ON t.id = r.to_id WHERE (t.kind, t.name, r.to_kind) <> (e.kind, e.name, e.kind) \
                OR t.deleted_at IS NOT NULL",
        plant: "UPDATE reference SET to_id = (SELECT id FROM object WHERE kind = 'ControlPlaneInstance') \
                WHERE field = 'spec.definition' AND from_id IN \
                (SELECT from_id FROM reference WHERE to_kind = 'WorkloadDefinition' LIMIT 1)",
    },
    Check {
        name: "a reference is too many",
        finds: "SELECT r.from_id || ' ' || r.field FROM reference r JOIN o ON o.id = r.from_id \
                WHERE o.kind LIKE 'Workload%' AND NOT EXISTS \
                (SELECT 1 FROM expected e WHERE e.from_id = r.from_id AND e.field = r.field)",
        plant: "INSERT INTO reference SELECT dead.id, 'spec.definition', living.id, living.kind, 'name' \
                FROM object dead, object living WHERE dead.kind = 'WorkloadInstance' AND dead.deleted_at IS NOT NULL \
                AND living.kind = 'WorkloadDefinition' AND living.deleted_at IS NULL LIMIT 1",
    },
    Check {
        name: "a revision is missing or too many",
        finds: "SELECT o.id || ' at generation ' || o.generation FROM o LEFT JOIN revision r ON r.object_id = o.id \
                GROUP BY o.id, o.generation HAVING COUNT(r.generation) <> o.generation \
                OR MIN(r.generation) <> 1 OR MAX(r.generation) <> o.generation",
        plant: "DELETE FROM revision WHERE (object_id, generation) IN \
                (SELECT object_id, generation FROM revision ORDER BY generation DESC LIMIT 1)",
    },
    Check {
        name: "the newest revision is not what is wanted",
        finds: "SELECT o.id || ' ' || o.name FROM o JOIN revision r ON r.object_id = o.id \
                AND r.generation = o.generation WHERE r.spec <> o.spec OR r.document IS DISTINCT FROM o.document",
        plant: "UPDATE object SET spec = '{\"manifests\":[]}' WHERE id IN \
                (SELECT id FROM object WHERE kind = 'WorkloadDefinition' AND deleted_at IS NULL LIMIT 1)",
    },
    Check {
        name: "no operation made a revision",
        finds: "SELECT r.object_id || ' ' || r.generation FROM o JOIN revision r ON r.object_id = o.id \
                WHERE NOT EXISTS (SELECT 1 FROM change c WHERE c.operation = r.operation_id \
                AND c.id = r.object_id AND c.generation = r.generation)",
        plant: "UPDATE revision SET operation_id = gen_random_uuid() WHERE (object_id, generation) IN \
                (SELECT object_id, generation FROM revision LIMIT 1)",
    },
    Check {
        name: "an operation did not do what it says",
        finds: "SELECT c.operation || ' ' || c.change || ' ' || c.id FROM change c WHERE NOT EXISTS \
                (SELECT 1 FROM revision r WHERE r.object_id = c.id AND r.generation = c.generation \
                AND r.operation_id = c.operation)",
        plant: "INSERT INTO operation (id, actor, route, created_at, changes) \
                SELECT gen_random_uuid(), actor, route, created_at, changes FROM operation LIMIT 1",
    },
    Check {
        name: "an operation has no end",
        finds: "SELECT id::TEXT FROM op WHERE (changes = '[]' AND idempotency_key IS NULL) \
                OR (answer IS NULL AND idempotency_key IS NOT NULL)",
        plant: "INSERT INTO operation (id, actor, route, created_at, changes) \
                SELECT gen_random_uuid(), actor, route, created_at, '[]' FROM operation LIMIT 1",
    },
    Check {
        name: "an object was not created once",
        finds: "SELECT o.id || ' ' || o.name FROM o LEFT JOIN change c ON c.id = o.id AND c.change = 'created' \
                GROUP BY o.id, o.name HAVING COUNT(c.id) <> 1",
        plant: "UPDATE operation SET changes = REPLACE(changes, 'created', 'updated') WHERE id IN \
                (SELECT id FROM operation WHERE changes LIKE '%created%' LIMIT 1)",
    },
    Check {
        name: "a deletion was not asked for once",
        finds: "SELECT o.id || ' ' || o.name FROM o LEFT JOIN change c ON c.id = o.id AND c.change = 'deleted' \
                GROUP BY o.id, o.name, o.deletion_requested_at \
                HAVING COUNT(c.id) <> CASE WHEN o.deletion_requested_at IS NULL THEN 0 ELSE 1 END",
        plant: "UPDATE object SET deletion_requested_at = updated_at WHERE id IN \
                (SELECT id FROM object WHERE deletion_requested_at IS NULL LIMIT 1)",
    },
    Check {
        name: "a tombstone was never deleted",
        finds: "SELECT id || ' ' || name FROM o WHERE deleted_at IS NOT NULL AND deletion_requested_at IS NULL",
        plant: "UPDATE object SET deletion_requested_at = NULL WHERE id IN \
                (SELECT id FROM object WHERE deleted_at IS NOT NULL LIMIT 1)",
    },
    Check {
        name: "a deletion waits for nothing",
        finds: "SELECT id || ' ' || name FROM o WHERE kind = 'WorkloadDefinition' AND deleted_at IS NULL \
                AND deletion_requested_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM reference WHERE to_id = o.id)",
        plant: "INSERT INTO object SELECT (jsonb_populate_record(o, jsonb_build_object('id', gen_random_uuid(), \
                'name', 'planted', 'deletion_requested_at', 1))).* FROM object o \
                WHERE kind = 'WorkloadDefinition' AND deleted_at IS NULL LIMIT 1",
    },
    Check {
        name: "a name is taken twice",
        finds: "SELECT kind || '/' || name FROM o WHERE deleted_at IS NULL GROUP BY origin, kind, name \
                HAVING COUNT(*) > 1",
        plant: "DROP INDEX object_name; \
                INSERT INTO object SELECT (jsonb_populate_record(o, jsonb_build_object('id', gen_random_uuid()))).* \
                FROM object o WHERE kind = 'WorkloadDefinition' AND deleted_at IS NULL LIMIT 1",
    },
    Check {
        name: "a change that nobody works on",
        finds: "SELECT o.id || ' ' || o.name FROM o JOIN object_status s ON s.object_id = o.id \
                WHERE o.deleted_at IS NULL AND s.observed_generation < o.generation \
                AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.object_id = o.id)",
        plant: "DELETE FROM pending WHERE object_id IN (SELECT object_id FROM object_status \
                WHERE observed_generation = 0)",
    },
    Check {
        name: "a change of its definition that nobody works on",
        finds: "SELECT i.id || ' ' || i.name FROM o i JOIN object_status s ON s.object_id = i.id \
                JOIN reference r ON r.from_id = i.id AND r.field = 'spec.definition' JOIN object d ON d.id = r.to_id \
                WHERE i.deleted_at IS NULL AND s.seen_definition IS DISTINCT FROM d.generation \
                AND NOT EXISTS (SELECT 1 FROM pending p WHERE p.object_id = i.id)",
        plant: "UPDATE object_status SET seen_definition = seen_definition - 1 WHERE object_id IN \
                (SELECT i.id FROM object i LEFT JOIN pending p ON p.object_id = i.id \
                WHERE i.kind = 'WorkloadInstance' AND i.deleted_at IS NULL AND p.object_id IS NULL LIMIT 1)",
    },
    Check {
        name: "work on what is gone",
        finds: "SELECT o.id || ' ' || o.name FROM o JOIN pending p ON p.object_id = o.id \
                WHERE o.deleted_at IS NOT NULL",
        plant: "INSERT INTO pending SELECT id, kind, 'planted', 0, 0, 0, 0, '', 0 FROM object \
                WHERE deleted_at IS NOT NULL LIMIT 1",
    },
    Check {
        name: "an object has no status",
        finds: "SELECT id || ' ' || name FROM o WHERE NOT EXISTS \
                (SELECT 1 FROM object_status s WHERE s.object_id = o.id)",
        plant: "DELETE FROM object_status WHERE object_id IN (SELECT id FROM object LIMIT 1)",
    },
    Check {
        name: "labels are not those of the object",
        finds: "SELECT COALESCE(l.object_id, e.id) || ' ' || COALESCE(l.label_key, e.key) FROM \
                (SELECT o.id, x.key, x.value FROM o, jsonb_each_text(o.labels::JSONB) AS x WHERE o.deleted_at IS NULL) e \
                FULL JOIN (SELECT l.* FROM label l JOIN o ON o.id = l.object_id) l \
                ON l.object_id = e.id AND l.label_key = e.key AND l.label_value = e.value \
                WHERE l.object_id IS NULL OR e.id IS NULL",
        plant: "UPDATE label SET label_value = 'planted' WHERE object_id IN (SELECT object_id FROM label LIMIT 1)",
    },
    Check {
        name: "a secret has no value",
        finds: "SELECT o.id || ' ' || o.name FROM o, regexp_matches(o.spec, 'threeport.io/secret:([0-9a-f]{64})', 'g') AS m \
                WHERE o.deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM secret_value s \
                WHERE s.object_id = o.id AND s.digest = m[1])",
        plant: "DELETE FROM secret_value",
    },
];
