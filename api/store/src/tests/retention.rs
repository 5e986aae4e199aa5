//! What is kept for a while only.

use serde_json::json;
use threeport_model::{
    Code,
    kinds::event::{EventType, NewEvent},
    protocol::claim::CompleteRequest,
};

use super::{
    harness::{Bed, database_test, definition_spec, done, object},
    inventories::{intend, row},
};
use crate::{
    Cursor, Idempotency, Options, Request, Retention, Store,
    database::sql::{Fetch, Sql},
};

/// Moves everything that happened into the past.
async fn age(bed: &Bed, days: i64) {
    let back = days * 24 * 3600 * 1_000_000;
    for (table, column) in [
        ("object", "deleted_at"),
        ("revision", "created_at"),
        ("operation", "created_at"),
        ("event", "last_seen"),
        ("document", "created_at"),
    ] {
        let update = Sql::new(format!("UPDATE {table} SET {column} = {column} - $1")).values([back.into()]);
        bed.store.0.connections.writer.run(update).await.unwrap();
    }
}

async fn count(bed: &Bed, table: &str) -> i64 {
    let query = Sql::new(format!("SELECT COUNT(*) AS count FROM {table}"));
    bed.store
        .reader()
        .one(query)
        .await
        .unwrap()
        .unwrap()
        .get("count")
        .unwrap()
}

database_test!(what_is_past_its_time_goes_and_nothing_else, bed, {
    let large = |word: &str| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{v: {}}}\n",
            word.repeat(5000)
        );
        serde_json::json!({"yamlDocument": text})
    };
    bed.create("WorkloadDefinition", "gone", large("x")).await;
    let living = bed.create("WorkloadDefinition", "living", large("y")).await;
    for index in 0..14 {
        bed.update(
            "WorkloadDefinition",
            "living",
            definition_spec(&index.to_string()),
        )
        .await
        .unwrap();
    }
    let keyed = Request {
        idempotency: Some(Idempotency {
            key: "key".to_owned(),
            body_digest: "body".to_owned(),
        }),
        ..bed.request()
    };
    bed.store
        .object_create(
            &keyed,
            object("WorkloadDefinition", "keyed", definition_spec("one")),
        )
        .await
        .unwrap();
    let event = NewEvent {
        object_id: living.id(),
        kind: EventType::Normal,
        reason: "R".to_owned(),
        message: "m".to_owned(),
    };
    bed.store
        .event_record(&[event.clone(), event.clone()])
        .await
        .unwrap();
    bed.store.event_record(&[event]).await.unwrap();
    let events = bed
        .store
        .object_events("WorkloadDefinition", "living")
        .await
        .unwrap();
    assert_eq!(
        (events.len(), events[0].count),
        (1, 3),
        "equal events are counted"
    );
    bed.delete("WorkloadDefinition", "gone").await.unwrap();

    let nothing = bed.store.purge().await.unwrap();
    assert_eq!(
        (
            nothing.tombstones,
            nothing.revisions,
            nothing.operations,
            nothing.events,
            nothing.documents
        ),
        (0, 0, 0, 0, 0)
    );
    age(bed, 2).await;
    let events = bed.store.purge().await.unwrap();
    assert_eq!((events.events, events.answers, events.tombstones), (1, 1, 0));
    let again = bed
        .store
        .object_create(
            &keyed,
            object("WorkloadDefinition", "keyed", definition_spec("one")),
        )
        .await;
    assert!(
        again.is_err() || again.unwrap().replayed,
        "the operation itself is kept"
    );
    age(bed, 6).await;
    let tombstones = bed.store.purge().await.unwrap();
    assert_eq!(
        (tombstones.tombstones, tombstones.revisions, tombstones.documents),
        (1, 0, 1)
    );
    age(bed, 90).await;
    let revisions = bed.store.purge().await.unwrap();
    assert_eq!(
        revisions.revisions, 5,
        "the newest ten are kept however old they are"
    );
    assert!(revisions.operations > 0 && !revisions.more());
    assert_eq!(bed.store.purge().await.unwrap().documents, 0);
    assert_eq!(
        count(bed, "document").await,
        0,
        "a document goes with the last revision that has it"
    );
    assert_eq!(bed.history("WorkloadDefinition", "living").await.len(), 10);
});

/// What is told of the instance of that name.
async fn told(bed: &Bed) -> crate::Result<Vec<String>> {
    let events = bed.store.object_events("WorkloadInstance", "web").await?;
    Ok(events.into_iter().map(|event| event.message).collect())
}

/// An instance whose cluster is given up.
async fn abandon(bed: &Bed, leaked: &str) {
    let id = bed.instance("web", "web").await.id();
    assert!(
        told(bed).await.unwrap().is_empty(),
        "what was before is not told of it"
    );
    bed.delete("WorkloadInstance", "web").await.unwrap();
    let claim = bed.claim_one(id).await;
    let event = NewEvent {
        object_id: id,
        kind: EventType::Warning,
        reason: "Abandoned".to_owned(),
        message: leaked.to_owned(),
    };
    let end = CompleteRequest {
        finalize: true,
        events: vec![event],
        ..done(&claim)
    };
    bed.store.claim_complete(&end).await.unwrap();
}

database_test!(
    what_was_left_behind_is_told_as_long_as_tombstones_are_kept,
    bed,
    {
        bed.definition("web").await;
        abandon(bed, "first").await;
        age(bed, 1).await;
        abandon(bed, "second").await;
        assert_eq!(told(bed).await.unwrap(), ["second"]);
        age(bed, 5).await;
        let purged = bed.store.purge().await.unwrap();
        assert_eq!((purged.tombstones, purged.events), (0, 0));
        assert_eq!(told(bed).await.unwrap(), ["second"]);
        age(bed, 3).await;
        let purged = bed.store.purge().await.unwrap();
        assert_eq!((purged.tombstones, purged.events), (2, 2));
        assert!(told(bed).await.unwrap_err().is_not_found());
    }
);

database_test!(a_table_that_cannot_be_purged_holds_up_no_other, bed, {
    bed.definition("gone").await;
    bed.delete("WorkloadDefinition", "gone").await.unwrap();
    let living = bed.definition("living").await;
    let event = |message: &str| NewEvent {
        object_id: living.id(),
        kind: EventType::Normal,
        reason: "R".to_owned(),
        message: message.to_owned(),
    };
    let events = [event("first"), event("second")];
    bed.store.event_record(&events).await.unwrap();
    age(bed, 8).await;
    let run = async |statement: &str| {
        let writer = &bed.store.0.connections.writer;
        writer.run(Sql::new(statement)).await.unwrap();
    };
    let (uuid, _, _) = bed.store.dialect().types();
    run(&format!(
        "CREATE TABLE holds (object_id {uuid} REFERENCES object (id))"
    ))
    .await;
    run("INSERT INTO holds (object_id) SELECT id FROM object WHERE deleted_at IS NOT NULL").await;
    let options = Options {
        retention: Retention {
            batch: 1,
            ..bed.options.retention
        },
        ..bed.options.clone()
    };
    let store = Store::open(options).await.unwrap();
    for left in [1, 0] {
        assert!(store.purge().await.unwrap().more());
        assert_eq!(count(bed, "event").await, left, "they come after tombstones");
    }
    store.purge().await.unwrap_err();
    run("DROP TABLE holds").await;
    assert_eq!(store.purge().await.unwrap().tombstones, 1);
    store.close().await;
});

database_test!(a_kind_is_watched_as_long_as_tombstones_are_kept, bed, {
    let runtime = bed.runtime().await.id();
    bed.definition("web").await;
    let id = bed.instance("web", "web").await.id();
    let watched = async || count(bed, "watched_kind").await;
    let unused = async |days: i64| {
        let back = days * 24 * 3600 * 1_000_000;
        let update = Sql::new("UPDATE unused_kind SET since = since - $1").values([back.into()]);
        bed.store.0.connections.writer.run(update).await.unwrap();
        bed.store.purge().await.unwrap();
        watched().await
    };
    let claim = bed.claim_one(id).await;
    let row = row(&claim, runtime, "a");
    intend(bed, &claim, std::slice::from_ref(&row)).await;
    assert_eq!((unused(0).await, unused(8).await), (1, 1), "it is used");
    let removed = CompleteRequest {
        inventory_removed: vec![row.id],
        ..done(&claim)
    };
    bed.store.claim_complete(&removed).await.unwrap();
    assert_eq!((unused(0).await, unused(6).await), (1, 1));

    bed.update(
        "WorkloadInstance",
        "web",
        json!({"definition": "web", "suspend": true}),
    )
    .await
    .unwrap();
    let claim = bed.claim_one(id).await;
    intend(bed, &claim, std::slice::from_ref(&row)).await;
    assert_eq!(unused(2).await, 1, "it is used again");
    let removed = CompleteRequest {
        inventory_removed: vec![row.id],
        ..done(&claim)
    };
    bed.store.claim_complete(&removed).await.unwrap();
    assert_eq!(
        (unused(0).await, unused(2).await),
        (1, 1),
        "and unused from now on"
    );
    assert_eq!(unused(6).await, 0);
    assert_eq!(count(bed, "unused_kind").await, 0);
});

database_test!(kinds_that_are_used_no_longer_go_in_batches, bed, {
    let runtime = bed.runtime().await.id();
    for kind in ["A", "B", "C", "D", "E"] {
        let insert = Sql::new(
            "INSERT INTO watched_kind (runtime_id, api_group, kind, version, closed_epoch) VALUES ($1, 'x', $2, 'v1', 1)",
        );
        let insert = insert.values([runtime.into(), kind.into()]);
        bed.store.0.connections.writer.run(insert).await.unwrap();
    }
    let options = Options {
        retention: Retention {
            batch: 2,
            ..bed.options.retention
        },
        ..bed.options.clone()
    };
    let store = Store::open(options).await.unwrap();
    for (noted, more) in [(2, true), (4, true), (5, false)] {
        assert_eq!(store.purge().await.unwrap().more(), more);
        assert_eq!(count(bed, "unused_kind").await, noted);
    }
    let week = Sql::new("UPDATE unused_kind SET since = since - $1");
    let week = week.values([(8 * 24 * 3600 * 1_000_000_i64).into()]);
    bed.store.0.connections.writer.run(week).await.unwrap();
    for (removed, left, more) in [(2, 3, true), (2, 1, true), (1, 0, false)] {
        let purged = store.purge().await.unwrap();
        assert_eq!((purged.watched_kinds, purged.more()), (removed, more));
        let watched = count(bed, "watched_kind").await;
        assert_eq!((watched, count(bed, "unused_kind").await), (left, left));
    }
    store.close().await;
});

database_test!(a_watch_token_older_than_the_tombstones_is_gone, bed, {
    let start = bed.store.watch_start().await.unwrap();
    let days = |days: i64| Cursor {
        at: start.at - days * 24 * 3600 * 1_000_000,
        ..start
    };
    assert!(
        bed.store
            .watch_changes(days(6), 10, std::time::Duration::ZERO)
            .await
            .is_ok()
    );
    let error = bed
        .store
        .watch_changes(days(8), 10, std::time::Duration::ZERO)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Gone);
});

database_test!(a_watch_token_of_another_database_is_gone, bed, {
    let start = bed.store.watch_start().await.unwrap();
    let other = Cursor {
        incarnation: start.incarnation ^ 1,
        ..start
    };
    let changes = |from| bed.store.watch_changes(from, 10, std::time::Duration::ZERO);
    assert!(changes(start).await.is_ok());
    assert_eq!(changes(other).await.unwrap_err().code(), Code::Gone);
});
