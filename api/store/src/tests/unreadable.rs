//! What can't be read fails itself, and nothing beside it.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use threeport_model::{Object, condition};
use uuid::Uuid;

use super::{
    claims::expire,
    harness::{Bed, claim_request, database_test, definition_spec, done, ready},
    inventories::row,
};
use crate::{
    EncryptionKey, ListQuery, Options, Store,
    database::sql::{Fetch, Sql},
};

async fn damage(bed: &Bed, table: &str, column: &str, key: &str, id: Uuid) {
    let damage = Sql::new(format!("UPDATE {table} SET {column} = '{{' WHERE {key} = $1"));
    let writer = &bed.store.0.connections.writer;
    let changed = writer.run(damage.values([id.into()])).await.unwrap();
    assert!(changed > 0);
}

/// What a sweep gets, and is done with.
async fn given(store: &Store) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for claim in store
        .claim_take(&claim_request("holder", &[]))
        .await
        .unwrap()
        .0
        .claims
    {
        store.claim_complete(&done(&claim)).await.unwrap();
        names.insert(claim.object.metadata.name);
    }
    names
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn status_version(bed: &Bed, id: Uuid) -> i64 {
    let query = Sql::new("SELECT version FROM object_status WHERE object_id = $1").values([id.into()]);
    bed.store
        .reader()
        .one(query)
        .await
        .unwrap()
        .unwrap()
        .get("version")
        .unwrap()
}

/// Of an object that itself can't be read any more.
async fn ready_reason(bed: &Bed, id: Uuid) -> String {
    let query = Sql::new("SELECT reason FROM object_status WHERE object_id = $1").values([id.into()]);
    let row = bed.store.reader().one(query).await.unwrap().unwrap();
    row.get("reason").unwrap()
}

fn stalled(object: &Object) -> String {
    let conditions = serde_json::from_value::<Vec<condition::Condition>>(object.status["conditions"].clone());
    let conditions = conditions.unwrap();
    let stalled = condition::find(&conditions, condition::STALLED).unwrap();
    assert_eq!(stalled.reason, "Unreadable");
    stalled.message.clone()
}

database_test!(one_object_that_cannot_be_read_costs_no_other_its_claim, bed, {
    for name in ["bad", "good"] {
        bed.definition(name).await;
        bed.instance(&format!("{name}-instance"), name).await;
    }
    let bad = bed.get("WorkloadDefinition", "bad").await;
    damage(bed, "object", "spec", "id", bad.id()).await;
    assert_eq!(given(&bed.store).await, set(&["good", "good-instance"]));
    let waits = bed.store.pending_due(10, Duration::ZERO).await.unwrap();
    assert!(waits.is_empty(), "due again later, not at once: {waits:?}");
    let instance = bed.get("WorkloadInstance", "bad-instance").await;
    assert_eq!(ready(&instance), ("False".to_owned(), "Unreadable".to_owned()));
    let message = stalled(&instance);
    assert!(
        message.contains("(WorkloadDefinition/bad: failed to read spec: ")
            && message.contains("Apply it again"),
        "{message}"
    );

    let due = Sql::new("SELECT not_before FROM pending WHERE object_id = $1").values([instance.id().into()]);
    let due = bed.store.reader().one(due).await.unwrap().unwrap();
    let wait = due.get::<i64>("not_before").unwrap() - jiff::Timestamp::now().as_microsecond();
    assert!(
        (50_000_000..61_000_000).contains(&wait),
        "it is tried again in a minute: {wait}"
    );

    let written = status_version(bed, instance.id()).await;
    let again = Sql::new("UPDATE pending SET not_before = 0");
    bed.store.0.connections.writer.run(again).await.unwrap();
    assert!(
        given(&bed.store)
            .await
            .is_disjoint(&set(&["bad", "bad-instance"]))
    );
    assert_eq!(status_version(bed, instance.id()).await, written, "said once");

    bed.update("WorkloadDefinition", "bad", definition_spec("mended"))
        .await
        .unwrap();
    assert_eq!(given(&bed.store).await, set(&["bad", "bad-instance"]));
});

database_test!(who_counts_what_cannot_be_read_is_told, bed, {
    let definition = bed.definition("web").await.id();
    let instance = bed.instance("web", "web").await.id();
    let counted = bed.claim_one(definition).await;
    bed.store.claim_complete(&done(&counted)).await.unwrap();
    damage(bed, "object", "spec", "id", instance).await;
    let wanted = claim_request("holder", &[instance]);
    let (response, notices) = bed.store.claim_take(&wanted).await.unwrap();
    assert!(response.claims.is_empty());
    assert_eq!(ready_reason(bed, instance).await, "Unreadable");
    let told: Vec<Uuid> = notices.iter().map(|notice| notice.id).collect();
    assert_eq!(told, [definition]);
    expire(bed).await;
    let (_, notices) = bed.store.claim_take(&wanted).await.unwrap();
    assert!(notices.is_empty(), "of what was said already: {notices:?}");
});

database_test!(
    one_object_that_cannot_be_read_hides_no_other_from_lists_and_watches,
    bed,
    {
        let start = bed.store.watch_start().await.unwrap();
        for name in ["a", "b", "c"] {
            bed.definition(name).await;
        }
        let bad = bed.get("WorkloadDefinition", "b").await;
        damage(bed, "object", "spec", "id", bad.id()).await;
        let mut query = ListQuery {
            kind: "WorkloadDefinition".to_owned(),
            limit: 2,
            ..ListQuery::default()
        };
        let mut listed = Vec::new();
        loop {
            let page = bed.store.object_list(&query).await.unwrap();
            listed.extend(page.items.into_iter().map(|object| object.metadata.name));
            query.after = page.continue_token;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(listed, ["a", "c"]);
        let mut since = start;
        let (mut seen, mut skipped) = (Vec::new(), Vec::new());
        loop {
            let changes = bed.store.watch_changes(since, 1, Duration::ZERO).await.unwrap();
            seen.extend(
                changes
                    .items
                    .into_iter()
                    .map(|change| change.object.metadata.name),
            );
            skipped.extend(changes.unreadable.into_iter().map(|unreadable| unreadable.what));
            if !changes.more {
                break;
            }
            since = changes.next;
        }
        seen.sort();
        assert_eq!(
            (seen, skipped),
            (
                vec!["a".to_owned(), "c".to_owned()],
                vec!["WorkloadDefinition/b".to_owned()]
            )
        );
    }
);

database_test!(damaged_inventory_and_status_cost_only_their_object, bed, {
    bed.definition("web").await;
    let runtime = bed.runtime().await;
    let (first, second) = (
        bed.instance("first", "web").await,
        bed.instance("second", "web").await,
    );
    bed.settle().await;
    for instance in [&first, &second] {
        let name = &instance.metadata.name;
        bed.update(
            "WorkloadInstance",
            name,
            json!({"definition": "web", "suspend": true}),
        )
        .await
        .unwrap();
        let claim = bed.claim_one(instance.id()).await;
        let mut applied = done(&claim);
        applied.inventory = vec![row(&claim, runtime.id(), name)];
        bed.store.claim_complete(&applied).await.unwrap();
        bed.update("WorkloadInstance", name, json!({"definition": "web"}))
            .await
            .unwrap();
    }
    damage(bed, "inventory", "healed_at", "instance_id", first.id()).await;
    let names = given(&bed.store).await;
    assert!(names.contains("second") && !names.contains("first"), "{names:?}");
    assert!(stalled(&bed.get("WorkloadInstance", "first").await).contains("its inventory"));

    bed.update(
        "WorkloadInstance",
        "second",
        json!({"definition": "web", "adopt": true}),
    )
    .await
    .unwrap();
    damage(bed, "object_status", "status", "object_id", second.id()).await;
    assert!(!given(&bed.store).await.contains("second"));
    let error = bed
        .store
        .object_get("WorkloadInstance", "second")
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("status"),
        "what is damaged is not overwritten: {error}"
    );
});

database_test!(without_their_key_only_secrets_are_lost, bed, {
    let secret = json!({"manifests": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"a": "hunter2"}}]});
    bed.create("WorkloadDefinition", "secret", secret).await;
    bed.definition("plain").await;
    let options = Options {
        encryption_key: Some(EncryptionKey::from_base64(&STANDARD.encode([8; 32])).unwrap()),
        ..bed.options.clone()
    };
    let store = Store::open(options).await.unwrap();
    assert_eq!(given(&store).await, set(&["plain"]));
    let message = stalled(&bed.get("WorkloadDefinition", "secret").await);
    assert!(message.contains("encrypted with key"), "{message}");
    store.close().await;
});
