//! What the tailer of watches sees.

use std::{collections::BTreeMap, time::Duration};

use threeport_model::ConditionStatus;

use super::harness::{database_test, definition_spec, status};

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
            None,
        )
        .await
        .unwrap();
    bed.delete("WorkloadDefinition", "w7").await.unwrap();
    let mut cursor = start;
    let mut seen = BTreeMap::new();
    let mut order = Vec::new();
    let mut overlap = Duration::from_secs(15);
    loop {
        let changes = bed.store.changes_since(cursor, 6, overlap).await.unwrap();
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
    let nothing = bed.store.changes_since(cursor, 6, Duration::ZERO).await.unwrap();
    assert!(nothing.items.is_empty());
    assert_eq!(nothing.next, cursor);
    let again = bed
        .store
        .changes_since(cursor, 100, Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(
        again.items.len(),
        20,
        "the overlap shows what may have committed late"
    );
    assert_eq!(again.next, cursor);
});
