//! Every statement of a list, a sweep, the relay, the watch and the loading of claims walks an index. Asserted on seeded, analysed tables, by
//! what the database itself says it would do.

use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, Statement, Value,
    sqlx::{AssertSqlSafe, Executor, Row},
};
use threeport_model::{
    kinds::workload_instance::Health,
    protocol::{agent::Observation, claim::MAX_CLAIMS},
};
use uuid::Uuid;

use super::harness::{Bed, all_kinds, database_test, definition_spec, object as new_object, on_servers};
use crate::{
    ListQuery, Options, Store, claim,
    database::{
        connection::Dialect,
        sql::{Fetch, Sql},
    },
    object, pending, watch,
};

/// Fills the tables: forty thousand objects, as they would be after a while.
async fn seed(bed: &Bed) {
    let origin = bed.store.control_plane_id();
    let (hex, number) = if bed.is_sqlite() {
        ("CAST(printf('%016d', n) AS BLOB)", "n")
    } else {
        ("CAST(LPAD(CAST(n AS TEXT), 32, '0') AS UUID)", "n")
    };
    let bytes = if bed.is_sqlite() {
        "x'00'"
    } else {
        "CAST('x' AS BYTEA)"
    };
    let numbers =
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 40000)";
    let text = |value: &str| format!("{value} || CAST({number} AS TEXT)");
    let object = Sql::new(format!(
        "{numbers} INSERT INTO object (id, origin, kind, name, generation, resource_version, spec, labels, \
         annotations, managed_by, suspended, created_at, updated_at, deleted_at) SELECT {hex}, $1, \
         CASE WHEN n % 2 = 0 THEN 'WorkloadDefinition' ELSE 'WorkloadInstance' END, {}, 1, 1, '{{}}', '{{}}', '{{}}', \
         'api', 0, n, n, CASE WHEN n % 50 = 0 THEN n END FROM numbers",
        text("'w'")
    ));
    let document = Sql::new(format!(
        "{numbers} INSERT INTO document (digest, content, created_at) SELECT {}, 'x', n FROM numbers",
        text("'w'")
    ));
    let statements = [
        document,
        object.values([origin.into()]),
        Sql::new("UPDATE object SET document = name WHERE created_at % 10 = 0"),
        Sql::new(
            "INSERT INTO revision (object_id, generation, operation_id, actor, created_at, spec, document) \
             SELECT id, 1, id, 'a', created_at, '{}', document FROM object",
        ),
        Sql::new(
            "INSERT INTO object_status (object_id, version, observed_generation, ready, accepted, connected, reason, \
             message, epoch, reconciled_at, verify_at, updated_at) SELECT id, 1, 1, 'True', 'True', 0, '', '', 1, \
             updated_at, updated_at, updated_at FROM object",
        ),
        Sql::new(
            "INSERT INTO label (object_id, label_key, label_value, kind, name) SELECT id, 'app', name, kind, name FROM object",
        ),
        Sql::new(
            "INSERT INTO reference (from_id, field, to_id, to_kind, resolved_by) SELECT i.id, 'spec.definition', d.id, \
             d.kind, 'name' FROM object i JOIN object d ON d.created_at = i.created_at + 1 \
             WHERE i.kind = 'WorkloadInstance'",
        ),
        Sql::new(
            "INSERT INTO pending (object_id, kind, token, since, not_before, attempts, priority, claim_holder, \
             claim_until) SELECT id, kind, name, updated_at, updated_at, 0, generation % 4, '', 0 FROM object",
        ),
        Sql::new(
            "INSERT INTO operation (id, actor, route, created_at, changes) SELECT id, 'a', 'r', created_at, '[]' FROM object",
        ),
        Sql::new(
            "INSERT INTO event (id, object_id, object_kind, object_name, kind, reason, message, message_digest, count, \
             first_seen, last_seen) SELECT id, id, kind, name, 'Normal', 'r', 'm', name, 1, 1, created_at FROM object",
        ),
        Sql::new(
            "INSERT INTO inventory (id, runtime_id, instance_id, api_group, version, kind, plural, namespace, name, \
             leftover, healed_at, observed_health, observed_message, observed_images, observed_epoch, \
             observed_sequence, observed_managers) SELECT id, id, id, '', 'v1', 'ConfigMap', '', 'n', name, 0, '[]', '', \
             '', '[]', 1, 1, '[]' FROM object",
        ),
        Sql::new(
            "INSERT INTO former_resource (instance_id, runtime_id, api_group, kind, namespace, name, removed_at) \
             SELECT id, id, '', 'ConfigMap', 'n', name, 1 FROM object",
        ),
        Sql::new(
            "INSERT INTO agent (runtime_id, epoch, version, registered_at, last_seen) SELECT id, 1, '1', 1, 1 FROM object",
        ),
        Sql::new(
            "INSERT INTO watched_kind (runtime_id, api_group, kind, version, closed_epoch) \
             SELECT id, '', 'ConfigMap', 'v1', 1 FROM object",
        ),
        Sql::new(format!(
            "INSERT INTO secret_value (object_id, digest, key_id, nonce, ciphertext, generation) \
             SELECT id, name, 'k', {bytes}, {bytes}, 1 FROM object"
        )),
    ];
    let store = bed.patient().await;
    for statement in statements.into_iter().chain([Sql::new("ANALYZE")]) {
        store.0.connections.writer.run(statement).await.unwrap();
    }
    store.close().await;
}

/// What the database would do, a line per step.
pub(super) async fn plan(bed: &Bed, connection: &DatabaseConnection, sql: Sql) -> Vec<String> {
    let (text, values) = sql.into_parts();
    match bed.store.dialect() {
        Dialect::Postgresql => planned_once(connection, &text, &values).await,
        Dialect::Sqlite => explain(connection, "EXPLAIN QUERY PLAN", "detail", text, values).await,
        Dialect::Cockroachdb => explain(connection, "EXPLAIN", "info", text, values).await,
    }
}

async fn explain(
    connection: &DatabaseConnection,
    words: &str,
    column: &str,
    text: String,
    values: Vec<Value>,
) -> Vec<String> {
    let text = format!("{words} {text}");
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), text, values);
    let rows = connection.query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get("", column).unwrap()).collect()
}

/// The plan for whatever values, which is the one that is used. EXPLAIN of a statement with values shows another.
async fn planned_once(connection: &DatabaseConnection, text: &str, values: &[Value]) -> Vec<String> {
    let types: Vec<&str> = values.iter().map(type_of).collect();
    let types = if types.is_empty() {
        String::new()
    } else {
        format!("({})", types.join(", "))
    };
    let nulls = types.split(", ").map(|_| "NULL").collect::<Vec<_>>().join(", ");
    let given = if types.is_empty() {
        String::new()
    } else {
        format!("({nulls})")
    };
    let mut session = connection.get_postgres_connection_pool().acquire().await.unwrap();
    session
        .execute(AssertSqlSafe(format!("PREPARE explained{types} AS {text}")))
        .await
        .unwrap();
    let rows = session
        .fetch_all(AssertSqlSafe(format!("EXPLAIN EXECUTE explained{given}")))
        .await
        .unwrap();
    session.execute("DEALLOCATE explained").await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What a value is sent as.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::BigInt(_) => "BIGINT",
        Value::Int(_) => "INTEGER",
        Value::Bool(_) => "BOOLEAN",
        Value::String(_) => "TEXT",
        Value::Uuid(_) => "UUID",
        Value::Bytes(_) => "BYTEA",
        other => panic!("a value of another type: {other:?}"),
    }
}

/// Fails where a table is read from one end to the other.
async fn assert_indexed(bed: &Bed, name: &str, sql: Sql) {
    let pools = &bed.store.0.connections;
    // As it is run: what makes work pending is a write.
    let connection = if ["verification", "instances of a runtime"].contains(&name) {
        &pools.writer
    } else {
        &pools.reader
    };
    let plan = plan(bed, connection, sql).await;
    let whole = |line: &&String| {
        let line = line.trim_start();
        if bed.is_sqlite() {
            // Derived tables are no tables; ours are called by a letter, or a letter and a number.
            let Some(table) = line.strip_prefix("SCAN ") else {
                return false;
            };
            let derived = ["x", "y", "z", "v", "ranked"].contains(&table) || table.starts_with('(');
            let derived = derived || table.ends_with("CONSTANT ROW") || table.ends_with("CONSTANT ROWS");
            let numbered = table
                .strip_prefix('c')
                .is_some_and(|rest| rest.chars().all(|digit| digit.is_ascii_digit()));
            !line.contains("INDEX") && !derived && !numbered
        } else {
            line.contains("Seq Scan") || line.contains("FULL SCAN")
        }
    };
    let found: Vec<&String> = plan.iter().filter(whole).collect();
    assert!(
        found.is_empty(),
        "{name} reads whole tables: {found:?}\n{}",
        plan.join("\n")
    );
}

database_test!(lists_sweeps_relay_and_watch_walk_indexes, bed, {
    seed(bed).await;
    let control = plan(
        bed,
        &bed.store.0.connections.reader,
        Sql::new("SELECT id FROM object WHERE annotations = 'x'"),
    )
    .await
    .join("\n");
    assert!(
        control.contains("SCAN") || control.contains("Seq Scan"),
        "the control: {control}"
    );

    for (name, labels) in [
        ("list", ""),
        ("list by label", "app=w7"),
        ("list by two labels", "app=w7,tier!=db"),
    ] {
        let query = ListQuery {
            kind: "WorkloadDefinition".to_owned(),
            limit: 50,
            after: Some("dzEwMA".to_owned()),
            labels: labels.parse().unwrap(),
            ..ListQuery::default()
        };
        assert_indexed(bed, name, bed.store.list_statement(&query).unwrap()).await;
    }
    let get = crate::object::read::by_name(bed.store.control_plane_id(), "WorkloadDefinition", "w10");
    assert_indexed(bed, "get", get).await;
    assert_indexed(bed, "sweep", claim::sweep(&all_kinds()[..2], 100, 64)).await;
    assert_indexed(bed, "relay", pending::due(100, 64)).await;
    assert_indexed(bed, "verification", crate::verification::due(100, 64)).await;
    assert_indexed(
        bed,
        "watch",
        watch::statement(
            crate::Cursor {
                at: 39_000,
                ..crate::Cursor::default()
            },
            100,
            bed.store.dialect(),
        ),
    )
    .await;
    assert_indexed(
        bed,
        "operations",
        crate::operation::page(Some(crate::Cursor::default()), 50),
    )
    .await;
    let id = bed.store.control_plane_id();
    assert_indexed(bed, "sizes of a history", crate::revision::sizes(id, 9, 100)).await;
    assert_indexed(bed, "history", crate::revision::of(id, 9, 1)).await;
    assert_indexed(bed, "events", crate::event::of(id)).await;
    assert_indexed(bed, "resources", crate::inventory::of(id)).await;
    bed.store.pending_due(10, Duration::ZERO).await.unwrap();
    claims_are_loaded_by_indexes(bed).await;
    what_follows_from_a_change_is_found_by_indexes(bed).await;
});

/// On the same tables: to fill them takes its time.
async fn claims_are_loaded_by_indexes(bed: &Bed) {
    let origin = bed.store.control_plane_id();
    let ids: Vec<Uuid> = (0..MAX_CLAIMS).map(|_| bed.store.random().uuid()).collect();
    for (name, sql) in [
        ("objects", object::read::light_of_ids(&ids)),
        ("large objects", object::read::of_ids(&ids)),
        ("references", claim::world::references_of(&ids)),
        ("default runtime", claim::world::default_of(origin)),
        ("inventory", crate::inventory::rows_of(&ids)),
        ("agents", crate::agent::of_runtimes(&ids)),
        ("instance counts", claim::counts::of_definitions(&ids)),
        ("worst instances", claim::counts::worst_of(&ids)),
        ("secret values", crate::secret::table::of_objects(&ids)),
    ] {
        assert_indexed(bed, name, sql).await;
    }
}

/// The id of some object.
async fn some_id(bed: &Bed) -> Uuid {
    let query = Sql::new("SELECT id FROM object WHERE kind = 'WorkloadInstance' LIMIT 1");
    bed.store
        .reader()
        .one(query)
        .await
        .unwrap()
        .unwrap()
        .get("id")
        .unwrap()
}

/// What deletions and the states of runtimes reach, on the same tables.
async fn what_follows_from_a_change_is_found_by_indexes(bed: &Bed) {
    use crate::object::{circle, remove};
    let ids: Vec<Uuid> = (0..3).map(|_| bed.store.random().uuid()).collect();
    assert_indexed(bed, "cascade", remove::referring(&ids)).await;
    assert_indexed(bed, "referrers", remove::living_referrers(&ids[..1])).await;
    assert_indexed(bed, "dependencies", circle::statement(&ids)).await;
    let seen = Observation {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: "n".to_owned(),
        name: "w1".to_owned(),
        uid: String::new(),
        instance_id: ids[0],
        resource_version: String::new(),
        ownership_digest: None,
        other_managers: Vec::new(),
        health: Health::Current,
        message: String::new(),
        images: Vec::new(),
        completed: None,
    };
    // All rows are of one runtime, as they mostly are: what narrows them down must be the instance and the object.
    let runtime = some_id(bed).await;
    let one = Sql::new("UPDATE inventory SET runtime_id = $1").values([runtime.into()]);
    let store = bed.patient().await;
    store.0.connections.writer.run(one).await.unwrap();
    store.0.connections.writer.run(Sql::new("ANALYZE")).await.unwrap();
    store.close().await;
    let sql = crate::observation::of_observed(runtime, (0..100).map(|_| &seen));
    let plan = plan(bed, &bed.store.0.connections.writer, sql).await.join("\n");
    assert!(plan.contains("inventory_instance"), "observations:\n{plan}");
    let found = crate::observation::identities(runtime, (0..100).map(|_| &seen));
    assert_indexed(bed, "what was had", crate::inventory::former::of(found, 0)).await;
    // Of the default runtime are most instances: whatever finds them reads most of them.
    let mut sql = Sql::new("SELECT DISTINCT o.id, o.kind ");
    pending::in_runtime(&mut sql, ids[0], false);
    assert_indexed(bed, "instances of a runtime", sql.clone()).await;
    // An index that is read from one end to the other is no better than the table.
    let plan = self::plan(bed, &bed.store.0.connections.writer, sql)
        .await
        .join("\n");
    assert!(!plan.contains("SubPlan"), "each object is looked at:\n{plan}");
}

/// Planning takes longer than running what is planned: it is done once per statement and connection. Compiling would take
/// longer still, and is never done.
#[test]
fn statements_are_planned_once() {
    on_servers(&async |bed| {
        if bed.store.dialect() != Dialect::Postgresql {
            println!("{} plans in its own way", bed.store.database());
            return;
        }
        let options = Options {
            readers: 1,
            writers: 1,
            ..bed.options.clone()
        };
        let store = Store::open(options).await.unwrap();
        // More than the five times after which PostgreSQL itself begins to compare.
        for number in 0..8 {
            let one = new_object(
                "WorkloadDefinition",
                &format!("w{number}"),
                definition_spec("one"),
            );
            store.object_create(&bed.request(), one).await.unwrap();
            store
                .object_get("WorkloadDefinition", &format!("w{number}"))
                .await
                .unwrap();
        }
        let plans = "SELECT CAST(SUM(generic_plans) AS BIGINT) AS once, CAST(SUM(custom_plans) AS BIGINT) AS again \
                     FROM pg_prepared_statements WHERE statement NOT LIKE '%pg_prepared_statements%'";
        for connection in [&store.0.connections.writer, &store.0.connections.reader] {
            let row = connection.one(Sql::new(plans)).await.unwrap().unwrap();
            let (once, again): (i64, i64) = (row.get("once").unwrap(), row.get("again").unwrap());
            assert!(
                once >= 8 && again == 0,
                "{once} by a plan that was there, {again} planned anew"
            );
            let compiles = Sql::new("SELECT current_setting('jit') AS compiles");
            let row = connection.one(compiles).await.unwrap().unwrap();
            assert_eq!(row.get::<String>("compiles").unwrap(), "off");
        }
        store.close().await;
    });
}
