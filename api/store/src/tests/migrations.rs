//! The schema.

use super::harness::database_test;
use crate::{
    Error, Store,
    database::sql::{Fetch, Sql},
};

database_test!(migrating_again_changes_nothing, bed, {
    let (id, incarnation) = (bed.store.control_plane_id(), bed.store.incarnation());
    assert_eq!(
        Store::migrate(&bed.options).await.unwrap(),
        bed.store.schema_version()
    );
    let again = bed.another().await;
    assert_eq!((again.control_plane_id(), again.incarnation()), (id, incarnation));
    again.close().await;
});

database_test!(any_number_may_migrate_at_once, bed, {
    if bed.is_sqlite() {
        std::fs::remove_file(bed.options.url.trim_start_matches("sqlite://")).unwrap();
    } else {
        let drop = "DROP TABLE IF EXISTS secret_value, event, revision, operation, watched_kind, unused_kind, agent, former_resource, \
                    inventory, pending, reference, label, object_status, object, document, control_plane, schema_version";
        bed.store.0.connections.writer.run(Sql::new(drop)).await.unwrap();
    }
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let options = bed.options.clone();
        tasks.push(tokio::spawn(async move { Store::migrate(&options).await }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), bed.store.schema_version());
    }
    bed.another().await.check().await.unwrap();
});

database_test!(an_unknown_newer_schema_is_refused, bed, {
    let known = bed.store.schema_version();
    let set = |version: i64, minimum: i64| {
        Sql::new("UPDATE schema_version SET version = $1, minimum = $2")
            .values([version.into(), minimum.into()])
    };
    bed.store
        .0
        .connections
        .writer
        .run(set(known + 3, known))
        .await
        .unwrap();
    assert_eq!(
        Store::migrate(&bed.options).await.unwrap(),
        known + 3,
        "it is marked compatible"
    );
    bed.another().await.close().await;
    bed.store.check().await.unwrap();
    bed.store
        .0
        .connections
        .writer
        .run(set(known + 3, known + 1))
        .await
        .unwrap();
    let unready = bed.store.check().await.err();
    assert!(
        matches!(unready, Some(Error::SchemaNewer { .. })),
        "a running server says so: {unready:?}"
    );
    for refused in [
        Store::migrate(&bed.options).await.err(),
        Store::open(bed.options.clone()).await.err(),
    ] {
        assert!(matches!(refused, Some(Error::SchemaNewer { .. })), "{refused:?}");
    }
    bed.store
        .0
        .connections
        .writer
        .run(set(known - 1, 0))
        .await
        .unwrap();
    let older = Store::open(bed.options.clone()).await.err();
    assert!(matches!(older, Some(Error::SchemaOlder { .. })), "{older:?}");
});
