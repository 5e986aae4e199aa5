//! What the tailer of watches sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::json;
use threeport_model::{Code, ConditionStatus};

use super::harness::{claim_request, database_test, definition_spec, done, object, ready, status};
use crate::{
    Cursor, StatusFence,
    database::sql::{Fetch, Sql},
};

database_test!(every_change_is_seen_in_order, bed, {
    let start = bed.store.watch_start().await.unwrap();
    for index in 0..20 {
        bed.definition(&format!("w{index}")).await;
    }
    bed.update("WorkloadDefinition", "w3", definition_spec("two"))
        .await
        .unwrap();
    bed.store
        .status_put(
            "WorkloadDefinition",
            "w5",
            &status(ConditionStatus::True, 1, None),
            StatusFence::default(),
        )
        .await
        .unwrap();
    bed.delete("WorkloadDefinition", "w7").await.unwrap();
    let mut cursor = start;
    let mut seen = BTreeMap::new();
    let mut order = Vec::new();
    let mut overlap = Duration::from_secs(15);
    loop {
        let changes = bed.store.watch_changes(cursor, 6, overlap).await.unwrap();
        overlap = Duration::ZERO;
        for change in changes.items {
            order.push(change.cursor);
            seen.insert(change.object.metadata.name.clone(), change);
        }
        cursor = changes.next;
        if !changes.more {
            break;
        }
    }
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(seen.len(), 20);
    assert_eq!(seen["w3"].version, (2, 1));
    assert_eq!(seen["w3"].object.generation(), 2);
    assert_eq!(seen["w5"].version, (1, 2), "a status has a version of its own");
    assert!(seen["w7"].deleted);
    let nothing = bed.store.watch_changes(cursor, 6, Duration::ZERO).await.unwrap();
    assert!(nothing.items.is_empty());
    assert_eq!(nothing.next, cursor);
    let again = bed
        .store
        .watch_changes(cursor, 100, Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(
        again.items.len(),
        20,
        "the overlap shows what may have committed late"
    );
    assert_eq!(again.next, cursor);
});

// A page that ends among the status changes must not go on behind those that had no room in it, though objects of the
// page were relabelled later.
database_test!(pages_lose_no_change_of_status, bed, {
    let store = bed.patient().await;
    let objects =
        (0..300).map(|index| object("KubernetesRuntimeDefinition", &format!("r{index:03}"), json!({})));
    store
        .object_apply(&bed.request(), objects.collect(), false)
        .await
        .unwrap();
    let start = store.watch_start().await.unwrap();
    let writer = &store.0.connections.writer;
    // Statuses change one after the other, in the order of names; then the second hundred objects are relabelled.
    let placed = "CAST(SUBSTR(name, 2) AS BIGINT)";
    let statuses = Sql::new(format!(
        "UPDATE object_status SET version = 2, updated_at = $1 + (SELECT {placed} FROM object WHERE id = object_id) \
         WHERE object_id IN (SELECT id FROM object WHERE kind = 'KubernetesRuntimeDefinition' AND name LIKE 'r%')"
    ));
    writer
        .run(statuses.values([(start.at + 1).into()]))
        .await
        .unwrap();
    let labels = Sql::new(format!(
        "UPDATE object SET resource_version = 2, updated_at = $1 + {placed} WHERE name BETWEEN 'r100' AND 'r199'"
    ));
    writer
        .run(labels.values([(start.at + 1000).into()]))
        .await
        .unwrap();
    let mut cursor = start;
    let mut seen = BTreeSet::new();
    loop {
        let changes = store.watch_changes(cursor, 200, Duration::ZERO).await.unwrap();
        assert!(changes.items.iter().all(|change| change.version.1 == 2));
        seen.extend(
            changes
                .items
                .into_iter()
                .map(|change| change.object.metadata.name),
        );
        cursor = changes.next;
        if !changes.more {
            break;
        }
    }
    assert_eq!(seen.len(), 300, "the last is {:?}", seen.last());
    store.close().await;
});

// What is served of an instance changes with its definition, before its controller says a word: so watchers hear of it.
database_test!(a_change_of_a_definition_is_one_of_its_instances, bed, {
    bed.definition("web").await;
    bed.instance("web", "web").await;
    for claim in bed
        .store
        .claim_take(&claim_request("holder", &[]))
        .await
        .unwrap()
        .0
        .claims
    {
        let mut end = done(&claim);
        end.status = Some(status(ConditionStatus::True, 1, Some((1, 1))));
        bed.store.claim_complete(&end).await.unwrap();
    }
    let heard = async |since| {
        let changes = bed.store.watch_changes(since, 100, Duration::ZERO).await.unwrap();
        let of_instance = |change: &crate::Change| change.object.kind == "WorkloadInstance";
        changes
            .items
            .into_iter()
            .find(of_instance)
            .map(|change| ready(&change.object).0)
    };
    // A watch hears all of the moment in which it begins.
    bed.tick().await;
    let start = bed.store.watch_start().await.unwrap();
    assert_eq!(heard(start).await, None);
    assert_eq!(ready(&bed.get("WorkloadInstance", "web").await).0, "True");
    bed.update("WorkloadDefinition", "web", definition_spec("two"))
        .await
        .unwrap();
    assert_eq!(ready(&bed.get("WorkloadInstance", "web").await).0, "False");
    assert_eq!(heard(start).await.as_deref(), Some("False"));
});

database_test!(a_clock_that_was_set_back_hides_no_change, bed, {
    const HOUR: i64 = 3_600_000_000;
    let before = bed.definition("before").await;
    let start = bed.store.watch_start().await.unwrap();
    let at = |at: i64| Cursor {
        at: start.at + at,
        ..start
    };
    for text in [
        "UPDATE object SET updated_at = $1 WHERE id = $2",
        "UPDATE object_status SET updated_at = $1 WHERE object_id = $2",
    ] {
        let written = Sql::new(text).values([at(HOUR).at.into(), before.id().into()]);
        bed.store.0.connections.writer.run(written).await.unwrap();
    }
    bed.definition("after").await;
    let names = |changes: &crate::Changes| -> Vec<String> {
        let names = changes.items.iter().map(|change| &change.object.metadata.name);
        names.cloned().collect()
    };
    let changes = bed.store.watch_changes(start, 10, Duration::ZERO).await.unwrap();
    assert_eq!(names(&changes), ["after"]);
    assert!(
        !changes.more && !changes.next.is_ahead(changes.now),
        "{:?}",
        changes.next
    );
    let look_back = Duration::from_secs(15);
    let changes = bed
        .store
        .watch_changes(at(5_000_000), 10, look_back)
        .await
        .unwrap();
    assert_eq!(names(&changes), ["after"], "a little ahead is nothing");
    let ahead = at(HOUR - 1_000_000);
    let gone = bed.store.watch_changes(ahead, 10, look_back).await.unwrap_err();
    assert_eq!(gone.code(), Code::Gone);
    let last = bed.store.watch_news(ahead, 10, Duration::ZERO, |_, _| true).await;
    let last = last.unwrap();
    assert_eq!(names(&last), ["before"], "what was written before is not lost");
    assert!(last.next.is_ahead(last.now));
});
