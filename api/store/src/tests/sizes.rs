//! The sizes that are promised, on every database: more than one statement takes parameters for.

use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;
use threeport_model::{
    Code, Object,
    kinds::event::{EventType, NewEvent},
    manifest::MAX_OBJECTS,
    protocol::{apply::Outcome, inventory::IntentRequest},
};

use super::{
    harness::{database_test, definition_spec, done, object},
    inventories::row,
};
use crate::{
    Error, ListQuery,
    database::sql::{Fetch, Sql},
};

/// As many as one apply takes.
const OBJECTS: usize = 1000;
const LABELS: usize = 14;
/// More than 65,535 parameters make rows of 22.
const ROWS: usize = 3100;
/// The same for events.
const EVENTS: usize = 9000;
/// Instances of one definition that go with it.
const REFERRERS: usize = 5000;

fn labelled(index: usize, value: &str) -> Object {
    let mut labelled = object("WorkloadDefinition", &format!("w{index}"), definition_spec(value));
    let labels = (0..LABELS).map(|label| (format!("label-{label}"), format!("{value}-{index}")));
    labelled.metadata.labels = labels.collect();
    labelled
}

database_test!(an_apply_of_the_largest_size, bed, {
    let store = bed.patient().await;
    for (value, outcome) in [("one", Outcome::Created), ("two", Outcome::Configured)] {
        let objects: Vec<Object> = (0..OBJECTS).map(|index| labelled(index, value)).collect();
        let written = store.object_apply(&bed.request(), objects, false).await.unwrap();
        assert!(written.results.iter().all(|result| result.outcome == outcome));
        let query = ListQuery {
            kind: "WorkloadDefinition".to_owned(),
            limit: 10,
            labels: format!("label-9={value}-{},label-3", OBJECTS - 1)
                .parse()
                .unwrap(),
            ..ListQuery::default()
        };
        let found = bed.store.object_list(&query).await.unwrap().items;
        assert_eq!(found.len(), 1, "{value}");
    }
    store.close().await;
});

database_test!(a_definition_of_the_largest_size, bed, {
    let manifests: Vec<_> = (0..MAX_OBJECTS)
        .map(|index| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{index}")}}))
        .collect();
    bed.create("WorkloadDefinition", "web", json!({"manifests": manifests}))
        .await;
    let store = bed.patient().await;
    let runtime = bed.runtime().await.id();
    let id = bed.instance("web", "web").await.id();
    let claim = bed.claim_one(id).await;
    // Former and leftover ones may be beside them.
    let rows: Vec<_> = (0..ROWS)
        .map(|index| row(&claim, runtime, &format!("c{index}")))
        .collect();
    let intent = IntentRequest {
        instance_id: id,
        epoch: claim.epoch,
        rows: rows.clone(),
    };
    assert!(
        store
            .inventory_intent(&intent)
            .await
            .unwrap()
            .conflicts
            .is_empty()
    );
    let mut applied = done(&claim);
    applied.inventory.clone_from(&rows);
    applied.events = (0..EVENTS)
        .map(|index| NewEvent {
            object_id: id,
            kind: EventType::Normal,
            reason: "Applied".to_owned(),
            message: format!("c{index}"),
        })
        .collect();
    store.claim_complete(&applied).await.unwrap();
    assert_eq!(
        bed.store
            .object_resources("WorkloadInstance", "web")
            .await
            .unwrap()
            .len(),
        ROWS
    );

    bed.delete("WorkloadInstance", "web").await.unwrap();
    let claim = bed.claim_one(id).await;
    assert_eq!(claim.inventory.len(), ROWS);
    let mut end = done(&claim);
    end.inventory_removed = claim.inventory.iter().map(|row| row.id).collect();
    end.finalize = true;
    store.claim_complete(&end).await.unwrap();
    assert_eq!(
        bed.store
            .object_get("WorkloadInstance", "web")
            .await
            .unwrap_err()
            .code(),
        Code::NotFound
    );
    store.close().await;
});

database_test!(a_definition_goes_with_its_thousands_of_instances, bed, {
    let definition = bed.definition("web").await;
    let store = bed.patient().await;
    let origin = bed.store.control_plane_id();
    let id = if bed.is_sqlite() {
        "CAST(printf('%016d', n) AS BLOB)"
    } else {
        "CAST(LPAD(CAST(n AS TEXT), 32, '0') AS UUID)"
    };
    let numbers = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {REFERRERS})"
    );
    let rows = [
        Sql::new(format!(
            "{numbers} INSERT INTO object (id, origin, kind, name, generation, resource_version, spec, labels, annotations, \
             managed_by, suspended, created_at, updated_at) SELECT {id}, $1, 'WorkloadInstance', 'w' || CAST(n AS TEXT), \
             1, 1, '{{\"definition\":\"web\"}}', '{{}}', '{{}}', 'api', 0, 1, 1 FROM numbers"
        ))
        .values([origin.into()]),
        Sql::new(
            "INSERT INTO object_status (object_id, version, observed_generation, ready, accepted, connected, reason, \
             message, epoch, reconciled_at, updated_at) SELECT id, 1, 0, '', '', 0, '', '', 0, 0, 1 FROM object \
             WHERE kind = 'WorkloadInstance'",
        ),
        Sql::new(
            "INSERT INTO reference (from_id, field, to_id, to_kind, resolved_by) SELECT id, 'spec.definition', $1, \
             'WorkloadDefinition', 'name' FROM object WHERE kind = 'WorkloadInstance'",
        )
        .values([definition.id().into()]),
    ];
    for sql in rows {
        store.0.connections.writer.run(sql).await.unwrap();
    }
    let refused = store
        .object_delete(&bed.request(), "WorkloadDefinition", "web", None, false)
        .await
        .unwrap_err();
    let Error::Referenced { referrers, .. } = &refused else {
        panic!("{refused}")
    };
    assert_eq!(referrers.len(), 100);
    store
        .object_delete(&bed.request(), "WorkloadDefinition", "web", None, true)
        .await
        .unwrap();
    let query = Sql::new("SELECT COUNT(*) AS count FROM object WHERE deletion_requested_at IS NOT NULL");
    let deleting: i64 = bed
        .store
        .reader()
        .one(query)
        .await
        .unwrap()
        .unwrap()
        .get("count")
        .unwrap();
    assert_eq!(usize::try_from(deleting).unwrap(), REFERRERS + 1);
    store.close().await;
});

database_test!(more_than_a_statement_takes_is_the_requests_fault, bed, {
    let parameters: Vec<String> = (1..=70_000).map(|number| format!("${number}")).collect();
    let connection = &bed.store.0.connections.reader;
    let statement = Statement::from_sql_and_values(
        connection.get_database_backend(),
        format!("SELECT 1 WHERE 1 IN ({})", parameters.join(", ")),
        (1..=70_000_i64).map(Into::into),
    );
    let error = Error::from(connection.query_all_raw(statement).await.unwrap_err());
    assert_eq!(
        (error.code(), error.is_transient()),
        (Code::TooLarge, false),
        "{error:?}"
    );
});

database_test!(what_is_large_makes_short_pages_and_light_changes, bed, {
    let start = bed.store.watch_start().await.unwrap();
    let manifest = |bytes: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"v": "v".repeat(bytes)}});
    let manifests = |mebibytes: usize| json!({"manifests": [manifest(mebibytes << 20)]});
    let document = |kibibytes: usize| json!({"yamlDocument": manifest(kibibytes << 10).to_string()});
    let specs = [
        ("a", manifests(3), false),
        ("b", document(64), false),
        ("c", manifests(6), false),
        ("d", document(16), true),
        ("e", manifests(9), false),
    ];
    for (name, spec, _) in &specs {
        bed.create("WorkloadDefinition", name, spec.clone()).await;
    }
    let mut query = ListQuery {
        kind: "WorkloadDefinition".to_owned(),
        limit: 4,
        ..ListQuery::default()
    };
    let mut listed = Vec::new();
    for expected in [["a", "b"].as_slice(), &["c", "d"], &["e"]] {
        let page = bed.store.object_list(&query).await.unwrap();
        let names: Vec<_> = page.items.iter().map(|object| &object.metadata.name).collect();
        assert_eq!(names, expected);
        listed.extend(page.items);
        query.after = page.continue_token;
    }
    assert_eq!(query.after, None);

    let changes = bed.store.watch_changes(start, 10, std::time::Duration::ZERO);
    let changes = changes.await.unwrap().items;
    for (((name, spec, is_whole), object), change) in specs.iter().zip(&listed).zip(&changes) {
        assert!(object.spec == *spec, "{name} is listed with something else");
        assert_eq!(
            (&change.object.metadata.name[..], change.is_whole),
            (*name, *is_whole)
        );
        assert_eq!(change.object.spec == *spec, *is_whole, "{name}");
    }
});

database_test!(annotations_are_counted_and_left_out_as_specifications_are, bed, {
    const BYTES: usize = 250 << 10;
    let store = bed.patient().await;
    let start = store.watch_start().await.unwrap();
    let annotated = |index: usize| {
        let mut one = object("KubernetesRuntimeDefinition", &format!("r{index:02}"), json!({}));
        let annotations = &mut one.metadata.annotations;
        annotations.insert("note".to_owned(), "n".repeat(BYTES));
        one
    };
    let objects = (0..40).map(annotated).collect();
    store.object_apply(&bed.request(), objects, false).await.unwrap();
    let query = ListQuery {
        kind: "KubernetesRuntimeDefinition".to_owned(),
        limit: 40,
        ..ListQuery::default()
    };
    let page = store.object_list(&query).await.unwrap();
    assert_eq!(page.items.len(), 32, "as many as 8 MiB are");
    assert!(page.continue_token.is_some());
    let note = |object: &Object| object.metadata.annotations.get("note").map(String::len);
    assert!(page.items.iter().all(|object| note(object) == Some(BYTES)));
    let changes = store.watch_changes(start, 40, std::time::Duration::ZERO);
    let changes = changes.await.unwrap().items;
    assert_eq!(changes.len(), 40);
    assert!(
        changes
            .iter()
            .all(|change| !change.is_whole && note(&change.object).is_none())
    );
    store.close().await;
});

database_test!(labels_are_counted_as_specifications_are, bed, {
    for name in ["a", "b", "c"] {
        bed.create("KubernetesRuntimeDefinition", name, json!({})).await;
    }
    let labels = json!({"note": "n".repeat(3 << 20)}).to_string();
    let update = Sql::new("UPDATE object SET labels = $1").values([labels.into()]);
    bed.store.0.connections.writer.run(update).await.unwrap();
    let query = ListQuery {
        kind: "KubernetesRuntimeDefinition".to_owned(),
        limit: 3,
        ..ListQuery::default()
    };
    let page = bed.store.object_list(&query).await.unwrap();
    assert_eq!(page.items.len(), 2, "as many as 8 MiB are");
});
